"""The epochs of the best trials, read from MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import UnavailableError
from search.home.settings import Settings
from search.optimization.leaderboard import TrialRow, metrics_of_epochs
from search.tracking.connection import connect
from search.tracking.entries import Epoch
from search.tracking.history import read_history


def histories(
    rows: Sequence[TrialRow], settings: Settings, attributes: Mapping[str, Any], top: int
) -> dict[int, tuple[Epoch, ...]]:
    """The epochs of the best trials by trial number; none if MLflow does not have them.

    Args:
        rows: The trials, the best first.
        settings: Of the home.
        attributes: Of the study.
        top: How many complete trials.
    """
    complete = [row for row in rows if row.state == "COMPLETE"]
    tracked = {row.number: row.run_id for row in complete[:top] if row.run_id}
    if not tracked:  # connecting would create an MLflow database
        return {}
    from mlflow.exceptions import MlflowException

    try:
        client, names = connect(settings), metrics_of_epochs(attributes)
        return {number: read_history(client, run_id, names) for number, run_id in tracked.items()}
    except (UnavailableError, MlflowException):
        return {}
