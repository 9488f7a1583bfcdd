"""A study as one HTML page that opens without a network: its search, results, pruning and held-out test."""

from __future__ import annotations

import base64
import gzip
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipelines.errors import DataError, InputError, MlpSearchError, UnavailableError
from pipelines.evaluation.predictions import Predictions
from pipelines.objectives import OBJECTIVES, Objective
from search.devices.precision import AS_ASKED
from search.finals.finalist import candidate_of, make_finalist
from search.finals.readings import facts_of, latest_reading, reading_of, seal_opened
from search.finals.sealed_test import read_class_names, read_confusion, read_predictions
from search.finals.winner import find_winner
from search.home.settings import Settings, read_settings
from search.home.text import times
from search.optimization.explanations import explain
from search.optimization.leaderboard import TrialRow, folds_of, leaderboard, objective_of
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_own_study, precision_rule
from search.reporting.charts import best_curves, confusion, residuals, study_charts
from search.reporting.configurations import short
from search.reporting.display import interval, score, seconds
from search.reporting.histories import histories
from search.reporting.trial_table import legend, mark
from search.spec.reading import spec_from_dict
from search.storage.attributes import ELAPSED, FACTS, GATE, PRUNED_AT, RESULT, SPEC, VERDICT
from search.storage.stored_study import StoredStudy
from search.tracking.connection import connect

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Facts: TypeAlias = dict[str, Any]
"""Values of the template by name."""

_CURVES = 3


def write_report(name: str, output: Path | None = None, *, home: Path | None = None) -> Path:
    """Writes the page of a study, completely or not at all.

    Args:
        name: The study.
        output: The file; by default ``NAME.html`` in the working directory.
        home: The home folder; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.

    Returns:
        The file's absolute path.

    Raises:
        NotFoundError: There is no study of that name.
        InputError: The name of the file does not end in ``.html``.
        UnavailableError: The database cannot be read, or the file cannot be written.
    """
    if output and output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--output {output}: must end in .html: choose such a name")
    settings = read_settings(home)
    study = load_own_study(settings, name)
    try:
        path = (output.expanduser() if output else Path(f"{name}.html")).absolute()
    except RuntimeError as error:  # no such user
        raise UnavailableError(f"--output {output}: must be a file's path ({error}); choose another") from error
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    page = render(study, settings)
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):  # what is wrong with the path is wrong for this call too
            unfinished.unlink()
        raise UnavailableError(f"--output {path}: cannot be written ({error.strerror}); choose another") from error
    return path


def render(study: StoredStudy, settings: Settings) -> str:
    """The page as HTML; all values from data are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("search.reporting"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"asdict": asdict, "score": score, "seconds": seconds, "short": short, "times": times}
    environment.filters |= {"interval": interval, "mark": mark, "legend": legend}
    rows = leaderboard(study)
    drawn = study_charts(study)
    epochs = histories(study, settings, _CURVES)
    drawn.add("curves", lambda: best_curves(objective_of(study.user_attrs), epochs))
    for name, figure in _test_charts(_reading(study), settings).items():
        drawn.add(name, lambda figure=figure: figure)  # type: ignore[misc]
    page = environment.get_template("report.html.j2")
    plotly = _packed_plotly() if drawn.documents else ""
    facts = _facts(study, rows)
    return page.render(facts, charts=drawn.documents, notes=drawn.notes, missing=drawn.missing, plotly=plotly)


def _reading(study: StoredStudy) -> Facts | None:
    """The last held-out test of the winner of the finals; of another model where it was not tested."""
    latest = latest_reading(study)
    if not latest or VERDICT not in study.user_attrs:
        return latest
    with suppress(MlpSearchError):  # MLflow does not have the winner's run yet
        return reading_of(study, find_winner(study).model_sha256) or latest
    return latest


def _packed_plotly() -> str:
    """Plotly's program, compressed to a third of its five megabytes, in characters of base 64."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _facts(study: StoredStudy, rows: Sequence[TrialRow]) -> Facts:
    attributes, test = study.user_attrs, _reading(study)
    objective = objective_of(attributes)
    complete, ended, failed = ([row for row in rows if row.state == s] for s in ("COMPLETE", "PRUNED", "FAIL"))
    pruned = [row for row in ended if row.stop_reason != "diverged"]
    return {
        "name": study.study_name,
        "objective": objective,
        "n_folds": folds_of(attributes),
        "spec": spec_from_dict(attributes[SPEC], "recorded study"),
        "facts": attributes.get(FACTS, {}),
        "precision": AS_ASKED[precision_rule(attributes)],
        "elapsed_s": attributes.get(ELAPSED, 0.0),
        "trained_s": sum(row.duration_s or 0.0 for row in rows) + _failed_s(study, failed),
        "waited_s": sum(row.waited_s or 0.0 for row in rows),
        "rows": rows,
        "baselines": _baselines(rows),
        "complete": complete,
        "pruned": pruned,
        "failed": failed,
        "n_diverged": len(ended) - len(pruned),
        "why": explain(study, complete[0].number).text if complete else "",
        "planned": sum(int(row.params.get("epochs", row.epochs_trained)) for row in pruned),
        "audit": _audit(study, rows),
        "finals": _finals(study, rows),
        "n_tests": seal_opened(attributes),
        "test": test,
        "measure": _measure(test, objective, seal_opened(attributes)),
        "gate": attributes.get(GATE),
    }


def _measure(test: Facts | None, objective: Objective, n_tests: int) -> Facts:
    """The objective's metric on the held-out rows, and the test in words."""
    shown = objective if test is None or f"test_{objective.metric}" in test else OBJECTIVES["val_accuracy"]
    label = shown.metric.replace("_", " ")
    if test is None:
        return {"label": label, "value": None}
    facts = facts_of(test | {"seal_opened": n_tests}, test["run_name"])
    return {"label": label, "value": test[f"test_{shown.metric}"], "facts": facts}


def _test_charts(test: Facts | None, settings: Settings) -> dict[str, Figure]:
    """The figures of a held-out test; none if MLflow does not have the predictions."""
    if test is None:
        return {}
    from mlflow.exceptions import MlflowException

    try:
        client, run_id = connect(settings), test["run_id"]
        if "test_rmse" not in test:
            matrix, names = read_confusion(client, run_id), read_class_names(client, run_id)
            return {"confusion": confusion(matrix, names, "held-out rows")}
        content = read_predictions(client, run_id)
        if content is None:
            return {}
        found = Predictions.from_npz(content, f"predictions of run {run_id}")
        return residuals(found.predicted.astype(np.float64), found.truth.astype(np.float64))
    except (UnavailableError, DataError, MlflowException):
        return {}


def _baselines(rows: Sequence[TrialRow]) -> Facts:
    """Names and metrics of the study's baselines."""
    known = rows[0].baselines if rows else {}
    metrics = dict.fromkeys(metric for scores in known.values() for metric in scores)
    labels = {"majority": "the most frequent class", "mean": "the mean", "median": "the median"}
    labels |= {"linear": "a linear model"}
    return {"names": list(known), "metrics": list(metrics), "labels": labels}


def _audit(study: StoredStudy, rows: Sequence[TrialRow]) -> Facts:
    """The audited trials with the epochs at which they would have been pruned, and those that pruning would miss."""
    results = [trial.user_attrs.get(RESULT, {}) for trial in study.get_trials(deepcopy=False)]
    audited = [(row, results[row.number][PRUNED_AT]) for row in rows if PRUNED_AT in results[row.number]]
    others = [row for row in rows if row.state == "COMPLETE" and PRUNED_AT not in results[row.number]]
    objective = objective_of(study.user_attrs)
    best = max((row.value for row in others if row.value is not None), key=objective.gain, default=objective.worst)
    rivals = [row for row, _ in audited if others and row.value is not None]
    missed = [row for row in rivals if objective.is_better(row.value or 0.0, best)]
    found = max((row.value for row in missed if row.value is not None), key=objective.gain, default=best)
    loss = abs(found - best) if missed else 0.0
    return {"trials": audited, "best_other": best if others else None, "missed": missed, "loss": loss}


def _failed_s(study: StoredStudy, failed: Sequence[TrialRow]) -> float:
    """Seconds of the trials that failed in training, whose results have no duration."""
    trials = study.get_trials(deepcopy=False)
    spans = (trials[row.number].duration for row in failed if row.device)
    return float(sum(span.total_seconds() for span in spans if span))


def _finals(study: StoredStudy, rows: Sequence[TrialRow]) -> Facts | None:
    """The verdict and its finalists, the winner first."""
    verdict = study.user_attrs.get(VERDICT)
    if not verdict:
        return None
    recorded, trials = recorded_results(study), study.get_trials(deepcopy=False)
    objective = objective_of(study.user_attrs)
    data = study.user_attrs.get(FACTS, {}).get("dataset", {})
    n_rows = data.get("validation_rows", 0)
    if folds_of(study.user_attrs) > 1:  # each row is a validation row once
        n_rows += data.get("training_rows", 0)
    n_rows = verdict.get("rows") or n_rows  # weighted ones are worth fewer
    wanted = [candidate_of(trials[number]) for number in verdict["trials"]]
    known = n_rows, objective, verdict.get("class_rows", ())
    found = [make_finalist(candidate, verdict["seeds"], recorded, *known) for candidate in wanted]
    compared = " ".join(replace(rows[0].comparison, value=found[0].mean).sentences("the winner"))
    return {**verdict, "finalists": found, "compared": compared}
