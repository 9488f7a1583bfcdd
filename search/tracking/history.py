"""Reads the metrics of a run's epochs from MLflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from search.tracking.entries import METRICS, Epoch

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read_history(client: MlflowClient, run_id: str, metrics: Iterable[str] = METRICS) -> tuple[Epoch, ...]:
    """Reads the epochs of a run in order.

    Args:
        client: MLflow's client.
        run_id: The run.
        metrics: Names of the metrics to read.

    Returns:
        One entry per step that has a value; an epoch lacks the metrics that were not logged at its step.

    Raises:
        MlflowException: MLflow does not have the run, or does not answer.
    """
    values: dict[int, dict[str, float]] = {}
    times_ms: dict[int, int] = {}
    for name in metrics:
        for point in client.get_metric_history(run_id, name):
            values.setdefault(point.step, {})[name] = point.value
            times_ms.setdefault(point.step, point.timestamp)
    return tuple(Epoch(step, times_ms[step], values[step]) for step in sorted(values))
