"""The epochs of the best trials: from MLflow, with the training rows, else from Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping

import optuna

from pipelines.errors import UnavailableError
from search.home.settings import Settings
from search.optimization.leaderboard import leaderboard, metrics_of_epochs, objective_of
from search.tracking.connection import connect
from search.tracking.entries import Epoch
from search.tracking.history import read_history


def histories(study: optuna.Study, settings: Settings, top: int) -> dict[int, tuple[Epoch, ...]]:
    """The epochs of the best complete trials by trial number.

    Args:
        study: The study.
        settings: Of the home.
        top: How many trials.
    """
    complete = [row for row in leaderboard(study) if row.state == "COMPLETE"][:top]
    tracked = _tracked({row.number: row.run_id for row in complete if row.run_id}, settings, study)
    return {row.number: tracked.get(row.number) or _reported(study, row.number) for row in complete}


def _tracked(runs: Mapping[int, str], settings: Settings, study: optuna.Study) -> dict[int, tuple[Epoch, ...]]:
    """The epochs of runs; none if MLflow does not have them."""
    if not runs:  # connecting would create an MLflow database
        return {}
    from mlflow.exceptions import MlflowException

    try:
        client, names = connect(settings), metrics_of_epochs(study.user_attrs)
        return {number: read_history(client, run_id, names) for number, run_id in runs.items()}
    except (UnavailableError, MlflowException):
        return {}


def _reported(study: optuna.Study, number: int) -> tuple[Epoch, ...]:
    """The objective of the epochs that the pruner was told of."""
    name = objective_of(study.user_attrs).name
    values = study.get_trials(deepcopy=False)[number].intermediate_values
    return tuple(Epoch(epoch, 0, {name: value}) for epoch, value in sorted(values.items()) if math.isfinite(value))
