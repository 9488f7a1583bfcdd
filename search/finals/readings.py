"""The result of a held-out test, and the record of every reading of a study's test rows, which the study keeps."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna

from pipelines.data.datasets import Dataset, Split
from pipelines.errors import RefusedError, UnavailableError
from pipelines.evaluation.metrics import Estimate, Evaluation, RegressionEvaluation, evaluate, evaluate_regression
from pipelines.evaluation.predictions import Predictions
from pipelines.evaluation.predictor import Predictor
from pipelines.objectives import OBJECTIVES, Objective
from search.finals.winner import Winner, find_winner
from search.home.html import HtmlResult
from search.home.settings import read_settings
from search.home.text import ordinal, times, value_text
from search.optimization.baselines import Baselines, compare, constant_prediction
from search.optimization.studies import load_own_study
from search.storage.attributes import SEAL


@dataclass(frozen=True, slots=True)
class SealedResult(HtmlResult):
    """The result of a held-out test.

    Attributes:
        winner: The model that was tested.
        evaluation: Every metric of the task with its interval; of a classification the per-class table and the
            confusion matrix too.
        untrained_accuracy: Of the same network before training; None for a regression.
        seal_opened: How often the test rows of the study were read, this time included.
        test_rows: Hash of the test rows and their labels.
        ordinal: 7 for the 7th model tested on these rows, over all studies of the home or tracking server.
        baseline: The objective's metric of a model that knows no inputs, on the same rows.
        baselines: Every metric of the constant prediction and of a linear model on the same rows.
        n_groups: Groups of the test rows, which the intervals count instead of rows; None without groups.
    """

    winner: Winner
    evaluation: Evaluation | RegressionEvaluation
    untrained_accuracy: float | None
    seal_opened: int
    test_rows: str
    ordinal: int
    baseline: float
    baselines: Baselines = field(default_factory=dict)
    n_groups: int | None = None

    @property
    def estimate(self) -> Estimate:
        """The objective's metric on the test rows."""
        return self.evaluation.metrics[self.winner.objective.metric]

    @property
    def gap(self) -> float:
        """The leaderboard's value minus the test's: above 0 where the leaderboard was too good."""
        gain = self.winner.objective.gain
        return gain(self.winner.candidate.value) - gain(self.estimate.value)

    @property
    def figures(self) -> dict[str, object]:
        """The figures that are kept and shown, in plain values."""
        evaluation, metrics, estimate = self.evaluation, self.evaluation.metrics, self.estimate
        figures: dict[str, object] = {f"test_{name}": found.value for name, found in metrics.items()}
        if isinstance(evaluation, Evaluation):
            figures |= {"right": evaluation.n_right, "wrong": evaluation.n_wrong, "majority": evaluation.majority}
            figures["untrained_accuracy"] = self.untrained_accuracy
        return figures | {
            "interval": [estimate.low, estimate.high],
            "intervals": {f"test_{name}": [found.low, found.high] for name, found in metrics.items()},
            "objective": self.winner.objective.name,
            "value": estimate.value,
            "baseline": self.baseline,
            "baselines": {name: dict(scores) for name, scores in self.baselines.items()},
            "test_rows": self.test_rows,
            "ordinal": self.ordinal,
            "groups": self.n_groups,
        }

    @property
    def _shown(self) -> Mapping[str, object]:
        return facts_of(self.record | {"seal_opened": self.seal_opened}, self.winner.run_name)

    @property
    def record(self) -> dict[str, object]:
        """The figures, the model and the value that was expected of it, as the study keeps them."""
        winner = self.winner
        return {"model_sha256": winner.model_sha256, **self.figures, "promised": winner.candidate.value}


def facts_of(test: Mapping[str, Any], model: str) -> dict[str, str]:
    """A held-out test in words.

    Args:
        test: The test as its study records it; earlier versions recorded less.
        model: What was tested.
    """
    objective = OBJECTIVES[test.get("objective", "val_accuracy")]
    first, facts = f"test_{objective.metric}", {"model": model}
    metrics = [key for key in test if key.startswith("test_") and key != "test_rows"]
    for key in dict.fromkeys((first, *metrics)):
        interval = test.get("intervals", {}).get(key) or (test.get("interval") if key == first else None)
        ends = f", 95% interval {value_text(interval[0])} to {value_text(interval[1])}" if interval else ""
        facts[key.replace("_", " ")] = f"{value_text(test[key])}{ends}"
        if key == "test_accuracy" != first and test.get("majority") is not None:
            facts["test accuracy"] += f"; the most frequent class has {value_text(test['majority'])}"
    beside = compare(test[first], objective, test.get("baselines", {}), test.get("majority"))
    if sentences := beside.sentences("the model"):
        facts["baselines"] = " ".join(sentences)
    if "right" in test:
        facts["right and wrong"] = f"{test['right']:,} and {test['wrong']:,}"
    if test.get("untrained_accuracy") is not None:
        facts["before training"] = f"accuracy {value_text(test['untrained_accuracy'])}"
    if test.get("groups") is not None:
        one = "are unknown: the test rows are one group, whose rows are not independent"
        many = f"count the {test['groups']:,} groups of the test rows, whose rows are not independent"
        facts["intervals"] = one if test["groups"] == 1 else many
    return facts | _occasion(test, objective)


def _occasion(test: Mapping[str, Any], objective: Objective) -> dict[str, str]:
    """The distance of a test to the leaderboard, and how often its rows were read."""
    facts = {}
    if "promised" in test:
        gap = objective.gain(test["promised"]) - objective.gain(test[f"test_{objective.metric}"])
        side = f"{value_text(abs(gap))} {'better' if gap > 0 else 'worse'} than on the test rows"
        side = side if gap else "the same as on the test rows"
        facts["on the leaderboard"] = f"{objective.name} {value_text(test['promised'])}, {side}"
    at = f", this result on {test['at']}" if "at" in test else ""
    facts["test read"] = f"{times(test['seal_opened'])} for this study{at}"
    if test.get("ordinal"):
        facts["tested on these rows"] = f"the {ordinal(test['ordinal'])} model, over all studies"
    return facts


def seal_opened(attributes: Mapping[str, Any]) -> int:
    """The number of readings of a study's held-out test, from the study's attributes."""
    return len(attributes.get(SEAL, ()))


def recorded_test(name: str, *, home: Path | None = None) -> dict[str, Any] | None:
    """The record of a study's held-out test, which opens neither the test rows nor MLflow.

    Args:
        name: The study.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Returns:
        What ``evaluate`` found last for today's winner, with ``at``, ``by``, ``run_name`` and ``seal_opened``; where
        it was not tested, what it found last, with ``winner``, the run of today's winner. None where no reading was
        completed.

    Raises:
        NotFoundError: There is no such study.
        UnavailableError: The database cannot be used.
    """
    study = load_own_study(read_settings(home), name)
    readings = study.user_attrs.get(SEAL, ())
    found = latest_reading(study)
    if found is None:
        return None
    with suppress(UnavailableError):  # MLflow does not have the winner's run yet
        winner = find_winner(study)
        found = reading_of(study, winner.model_sha256) or {**found, "winner": winner.run_name}
    return {**found, "seal_opened": len(readings)}


def reading_of(study: optuna.Study, model_sha256: str) -> dict[str, Any] | None:
    """The record of the last completed reading for a model."""
    readings = reversed(study.user_attrs.get(SEAL, ()))
    return next((found for found in readings if _is_complete(found) and found["model_sha256"] == model_sha256), None)


def latest_reading(study: optuna.Study) -> dict[str, Any] | None:
    """The record of the last reading that was completed."""
    readings = reversed(study.user_attrs.get(SEAL, ()))
    return next((reading for reading in readings if _is_complete(reading)), None)


def _is_complete(reading: Mapping[str, Any]) -> bool:
    """Whether there is a result; earlier versions recorded no objective, and had accuracies alone."""
    return "test_accuracy" in reading or "objective" in reading


def _result_of(reading: Mapping[str, Any]) -> str:
    """The result of a reading in words: ``test accuracy 0.9876``."""
    metric = OBJECTIVES[reading.get("objective", "val_accuracy")].metric
    return f"test {metric} {value_text(reading[f'test_{metric}'])}"


def previous_readings(study: optuna.Study, *, again: bool) -> list[dict[str, Any]]:
    """The records of the readings before a new one.

    A last reading that was cut off is left out: nobody saw its result, so the new one takes its place.

    Raises:
        RefusedError: The test was read before and is not to be read ``again``.
    """
    readings = list(study.user_attrs.get(SEAL, ()))
    last = latest_reading(study)
    if last is None or again:
        return readings if readings and _is_complete(readings[-1]) else readings[:-1]
    raise RefusedError(
        f"study {study.study_name!r}: the held-out test may be read once; it was read {times(len(readings))},"
        f" last on {last['at']} for {last['run_name']} with {_result_of(last)}: a test that is"
        " read again to choose a model is no longer a test; --again reads it anyway and records that"
    )


def authorship() -> dict[str, str]:
    """The time and the user, as ``at`` and ``by``; the latter is "" if the system does not know the user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": user}


def predict_rows(model: Predictor, rows: Split, dataset: Dataset) -> Predictions:
    """The model's predictions of rows of a dataset, and those of a model that knows no inputs."""
    outputs, target, constant = model.probabilities(rows.x), dataset.preprocessing.target, constant_prediction(dataset)
    if target is None:
        return Predictions(outputs, rows.y, constant, rows.weight, rows.group)
    return Predictions(outputs.reshape(-1), target.decode(rows.y), constant, rows.weight, rows.group)


def score_predictions(found: Predictions, dataset: Dataset, loss: str) -> Evaluation | RegressionEvaluation:
    """Scores predictions of rows of a dataset, of a regression with the loss that its network was trained with."""
    target = dataset.preprocessing.target
    if target is None:
        return evaluate(found.predicted, found.truth, dataset.class_names, found.weight, found.group)
    return evaluate_regression(found, target.encode, loss)
