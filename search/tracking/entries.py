"""A finished run as the spool and MLflow get it: plain values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.training.history import EpochReport

MODEL_FILE = "model.h5"


CHECKPOINT_FILE = "checkpoint.h5"


METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
"""What is logged of each epoch."""


def now_ms() -> int:
    """The time as runs have it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when it begins.

    Attributes:
        study: The study's name, which is the experiment's too.
        run_name: Unique in the study: ``trial-0007``.
        started_ms: Unix time in milliseconds.
        params: MLflow's params.
        tags: MLflow's tags.
    """

    study: str
    run_name: str
    started_ms: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch: step from 1, Unix time in milliseconds, values by name."""

    step: int
    at_ms: int
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, report: EpochReport, names: Sequence[str] = METRICS) -> Epoch:
        """What is logged of an epoch that has just ended."""
        metrics = {name: getattr(report, name) for name in names}
        return cls(report.epoch, now_ms(), metrics)


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished run.

    Attributes:
        start: What was known when it began.
        ended_ms: Unix time in milliseconds.
        state: Optuna's state: COMPLETE, PRUNED or FAIL; INTERRUPTED for a run that is no trial.
        value: What Optuna is told for COMPLETE.
        result: What Optuna's trial keeps besides.
        history: Every epoch that counts.
        metrics: Once-per-run metrics.
        tags: Tags that are known at the end.
        number: The trial's number; None for a run that is no trial.
        run_id: MLflow's run, where it was open already.
    """

    start: RunStart
    ended_ms: int
    state: str
    value: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    number: int | None = None
    run_id: str | None = None
