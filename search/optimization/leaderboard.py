"""The trials of a study as rows, the best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from search.storage.attributes import RESULT, RUN_ID, run_id_key
from search.storage.stored_study import StoredStudy


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One line of a leaderboard.

    Attributes:
        number: From 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING, or WAITING to be trained again.
        value: The best validation accuracy that the trial reached; None before its first epoch.
        params: The whole configuration, fixed values included.
        best_epoch: The epoch whose weights were kept.
        epochs_trained: How many there were.
        duration_s: From its start in the slot to its model file.
        device: Where it trained.
        run_id: Its run in MLflow.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    best_epoch: int | None
    epochs_trained: int
    duration_s: float | None
    device: str | None
    run_id: str | None


def trial_row(trial: FrozenTrial, late_run_ids: dict[str, Any]) -> TrialRow:
    """Reads a trial; ``late_run_ids`` are the study's attributes, where a run opened after its trial's end stands."""
    result = trial.user_attrs.get(RESULT, {})
    return TrialRow(
        number=trial.number,
        state=trial.state.name,
        value=result.get("best_val_accuracy", max(trial.intermediate_values.values(), default=None)),
        params=result.get("params", trial.params),
        best_epoch=result.get("best_epoch"),
        epochs_trained=result.get("epochs_trained", len(trial.intermediate_values)),
        duration_s=result.get("duration_s"),
        device=result.get("device"),
        run_id=late_run_ids.get(run_id_key(trial.number), trial.user_attrs.get(RUN_ID)) or None,
    )


def leaderboard(study: optuna.Study) -> list[TrialRow]:
    """The study's trials, the best first; pruned ones after complete ones, those without a value last."""
    attributes = study.user_attrs
    rows = [trial_row(trial, attributes) for trial in study.get_trials(deepcopy=False)]
    order = {"COMPLETE": 0, "PRUNED": 1}
    return sorted(rows, key=lambda r: (order.get(r.state, 2), -(r.value if r.value is not None else -1), r.number))


def set_run_id(study: StoredStudy, number: int, run_id: str) -> None:
    """Notes a trial's run; Optuna takes no attribute of a trial that has ended, so then the study keeps it."""
    try:
        study.set_trial_attr(number, RUN_ID, run_id)
    except optuna.exceptions.UpdateFinishedTrialError:
        study.set_user_attr(run_id_key(number), run_id)
