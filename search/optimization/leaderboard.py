"""The trials of a study as rows, the best first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna

from search.storage.attributes import FACTS, RESULT, RUN_ID, run_id_key


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One line of a leaderboard.

    Attributes:
        number: From 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING, or WAITING to be trained again.
        value: The best validation accuracy of the trial; None before its first epoch.
        params: The whole configuration, fixed values included.
        best_epoch: The epoch whose weights were kept, from 1.
        epochs_trained: Number of epochs.
        duration_s: Seconds from its start in the slot to its model file.
        device: The device it trained on.
        run_id: Its run in MLflow.
        majority: Accuracy of always answering with the validation rows' most frequent class; None if unknown.
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
    majority: float | None = None


def trial_row(trial: optuna.trial.FrozenTrial, attributes: Mapping[str, Any]) -> TrialRow:
    """The row of a trial.

    Args:
        trial: The trial.
        attributes: Of the study: the runs of trials that had ended before their run was opened, and facts on the data.
    """
    reported = trial.intermediate_values
    known = {"best_val_accuracy": max(reported.values(), default=None), "epochs_trained": len(reported)}
    result = {"params": trial.params, **known, **trial.user_attrs.get(RESULT, {})}
    run_id = attributes.get(run_id_key(trial.number), trial.user_attrs.get(RUN_ID)) or None
    majority = attributes.get(FACTS, {}).get("dataset", {}).get("majority")
    return replace(result_row(trial.number, trial.state.name, result), run_id=run_id, majority=majority)


def result_row(number: int, state: str, result: Mapping[str, Any]) -> TrialRow:
    """The row of a training by its record; see ``search.optimization.run_records.result_of``."""
    return TrialRow(
        number=number,
        state=state,
        value=result["best_val_accuracy"],
        params=result["params"],
        best_epoch=result.get("best_epoch"),
        epochs_trained=result["epochs_trained"],
        duration_s=result.get("duration_s"),
        device=result.get("device"),
        run_id=None,
    )


def leaderboard(study: optuna.Study) -> list[TrialRow]:
    """The study's trials, the best first: complete ones, then pruned ones, then the others."""
    attributes = study.user_attrs
    rows = [trial_row(trial, attributes) for trial in study.get_trials(deepcopy=False)]
    order = {"COMPLETE": 0, "PRUNED": 1}
    return sorted(rows, key=lambda r: (order.get(r.state, 2), -(r.value if r.value is not None else -1), r.number))
