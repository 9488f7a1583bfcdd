"""The trials of a study as rows, the best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import optuna

from pipelines.errors import NotFoundError
from pipelines.objectives import OBJECTIVES, Objective, epoch_metrics
from search.home.html import HtmlResult
from search.optimization.baselines import Comparison, compare
from search.storage.attributes import COLUMNS, ENQUEUED, FACTS, ORIGIN, RESULT, RUN_ID, SPEC, STD, run_id_key

if TYPE_CHECKING:
    import pandas as pd

Origin: TypeAlias = Literal["start", "enqueued", "sampled"]
Columns: TypeAlias = dict[str, object]
SHORT_NAMES = {"lr": "learning_rate", "batch": "batch_size"}
"""Names that the leaderboard shows, of hyperparameters that have other names."""


@dataclass(frozen=True, slots=True)
class TrialRow(HtmlResult):
    """One line of a leaderboard.

    Attributes:
        number: From 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING, or WAITING to be trained.
        value: The best objective of the trial; None before its first epoch.
        params: The whole configuration, fixed values included.
        best_epoch: The epoch whose weights were kept, from 1.
        epochs_trained: Number of epochs.
        duration_s: Seconds from its start in the slot to its model file.
        device: The device it trained on.
        run_id: Its run in MLflow.
        majority: Accuracy of always predicting the validation rows' most frequent class; None if unknown.
        objective: The validation metric that ``value`` is.
        baselines: Metrics on the validation rows, by name, of each baseline that the study knows: ``majority`` or
            ``mean``, and ``linear``.
        is_start: Whether its configuration is one of the study's ``[[start]]``.
        is_enqueued: Whether a user enqueued its configuration.
        stop_reason: Why its training ended: ``finished``, ``pruned``, ``timeout``, ``diverged``, ``failed``; None while
            it trains.
        folds: Number of folds that the value is the mean of; 1 with one split.
        std: The standard deviation of the value over folds; None with one split.
        precision: Of the matrix products of its training; None until it has ended.
        waited_s: Seconds that its slot waited for results of other trials, before it began and while it trained; None
            until it has ended, and in a study that is not deterministic.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any] = field(hash=False)
    best_epoch: int | None
    epochs_trained: int
    duration_s: float | None
    device: str | None
    run_id: str | None
    majority: float | None = None
    objective: str = "val_accuracy"
    baselines: dict[str, dict[str, float]] = field(default_factory=dict, hash=False)
    is_start: bool = False
    is_enqueued: bool = False
    stop_reason: str | None = None
    folds: int = 1
    std: float | None = None
    precision: str | None = None
    waited_s: float | None = None

    @property
    def comparison(self) -> Comparison:
        """The value beside the baselines of its metric."""
        return compare(self.value, OBJECTIVES[self.objective], self.baselines, self.majority)


def row_of(rows: Sequence[TrialRow], number: int, study: str) -> TrialRow:
    """The row of a trial.

    Raises:
        NotFoundError: The study has no such trial.
    """
    row = next((row for row in rows if row.number == number), None)
    if row is None:
        there = f"the trials are 0 to {len(rows) - 1}" if rows else "it has none yet"
        raise NotFoundError(f"trial {number}: must be one of study {study!r}; {there}")
    return row


def objective_of(attributes: Mapping[str, Any]) -> Objective:
    """The objective of a study, from the study's attributes."""
    return OBJECTIVES[attributes.get(SPEC, {}).get("search", {}).get("objective", "val_accuracy")]


def metrics_of_epochs(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the metrics that a study logs of each epoch, from the study's attributes."""
    task = attributes.get(SPEC, {}).get("data", {}).get("task", "classification")
    return epoch_metrics(task, objective_of(attributes).name, with_folds=folds_of(attributes) > 1)


def folds_of(attributes: Mapping[str, Any]) -> int:
    """The number of folds of a study, from the study's attributes; 1 means one split, as in earlier versions."""
    return int(attributes.get(SPEC, {}).get("data", {}).get("folds", 1))


def baselines_of(attributes: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The scores of a study's baselines on the validation rows; none if unknown, as in studies of earlier versions."""
    return dict(attributes.get(FACTS, {}).get("dataset", {}).get("baselines", {}))


def best_value(result: Mapping[str, Any]) -> float | None:
    """The best objective in the record of a training; None where no epoch ended with a finite loss."""
    values = (value for key, value in result.items() if key.startswith("best_val_") and not key.endswith("_std"))
    return next(values, None)


def trial_row(trial: optuna.trial.FrozenTrial, attributes: Mapping[str, Any]) -> TrialRow:
    """The row of a trial.

    Args:
        trial: The trial.
        attributes: Of the study: the runs of trials that had ended before their run was opened, and facts on the data.
    """
    objective, reported = objective_of(attributes), trial.intermediate_values
    known = {
        objective.best_key: max(reported.values(), key=objective.gain, default=None),
        "epochs_trained": len(reported),
    }
    space = attributes.get(SPEC, {}).get("space", {})
    fixed = {name: value for name, value in space.items() if not isinstance(value, list | dict)}
    result = {
        "params": fixed | trial.system_attrs.get(ENQUEUED, {}) | trial.params,
        **known,
        **trial.user_attrs.get(RESULT, {}),
    }
    run_id = attributes.get(run_id_key(trial.number), trial.user_attrs.get(RUN_ID)) or None
    majority = attributes.get(FACTS, {}).get("dataset", {}).get("majority")
    row = result_row(trial.number, trial.state.name, result, objective)
    origin = origin_of(trial, attributes)
    row = replace(row, is_start=origin == "start", is_enqueued=origin == "enqueued")
    row = replace(row, run_id=run_id, majority=majority, baselines=baselines_of(attributes))
    return replace(row, folds=folds_of(attributes))


def origin_of(trial: optuna.trial.FrozenTrial, attributes: Mapping[str, Any]) -> Origin:
    """The origin of a trial's configuration, by the study's attributes: its starts have the first numbers."""
    if trial.number < len(attributes.get(SPEC, {}).get("start", ())):
        return "start"
    return "enqueued" if trial.system_attrs.get(ENQUEUED) else "sampled"


def columns_of(trial: optuna.trial.FrozenTrial, result: Mapping[str, Any], attributes: Mapping[str, Any]) -> Columns:
    """The attributes of a trial that are columns of Optuna's dashboard, with the record of its training."""
    found = {key: result.get(key) for key in COLUMNS}
    found |= {STD: result.get(f"best_{objective_of(attributes).spread_key}"), ORIGIN: origin_of(trial, attributes)}
    return {key: value for key, value in found.items() if value is not None}


def result_row(number: int, state: str, result: Mapping[str, Any], objective: Objective) -> TrialRow:
    """The row of a training by its record; see ``search.optimization.run_records.result_of``."""
    return TrialRow(
        number=number,
        state=state,
        value=result[objective.best_key],
        params=result["params"],
        best_epoch=result.get("best_epoch"),
        epochs_trained=result["epochs_trained"],
        duration_s=result.get("duration_s"),
        device=result.get("device"),
        run_id=None,
        objective=objective.name,
        stop_reason=result.get("stop_reason"),
        std=result.get(f"best_{objective.spread_key}"),
        precision=result.get("precision", "float32" if "device" in result else None),
        waited_s=result.get("waited_s"),
    )


def leaderboard(study: optuna.Study) -> list[TrialRow]:
    """The study's trials, the best first: complete ones, then pruned ones, then the others."""
    attributes = study.user_attrs
    gain = objective_of(attributes).gain
    rows = [trial_row(trial, attributes) for trial in study.get_trials(deepcopy=False)]
    order = {"COMPLETE": 0, "PRUNED": 1}
    return sorted(rows, key=lambda r: (order.get(r.state, 2), r.value is None, -gain(r.value or 0.0), r.number))


def frame(rows: tuple[TrialRow, ...] | list[TrialRow]) -> pd.DataFrame:
    """Trials as a pandas frame, indexed by their number, one column a hyperparameter."""
    import pandas as pd

    left_out = ("params", "baselines")
    if not rows:
        names = [name for name in TrialRow.__dataclass_fields__ if name not in left_out]
        return pd.DataFrame(columns=names).set_index("number")
    return pd.DataFrame.from_records([row.params | asdict(row) for row in rows], index="number", exclude=left_out)
