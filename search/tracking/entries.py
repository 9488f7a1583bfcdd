"""Records of runs, as the spool stores them and MLflow gets them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.training.history import EpochReport

MODEL_FILE = "model.h5"
CHECKPOINT_FILE = "checkpoint.h5"
PREPROCESSING_FILE = "preprocessing.json"
LOST = "lost."
"""Prefix of the tags that record what of a run cannot be restored: ``lost.model.h5``, ``lost.history``."""


SILENT_MS = 3_600_000
"""A training or a promotion without a sign for an hour is dead, where no lock tells whether it runs."""


def now_ms() -> int:
    """Unix time in milliseconds, MLflow's unit."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run at its start.

    Attributes:
        study: The name of the study and of the experiment.
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
    def of(cls, report: EpochReport, names: Sequence[str] | None = None) -> Epoch:
        """The record of an epoch that ends now, with the named metrics or with all."""
        metrics = {name: value for name, value in report.metrics.items() if names is None or name in names}
        return cls(report.epoch, now_ms(), metrics)


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished run.

    Attributes:
        start: Its name, parameters and tags.
        ended_ms: Unix time in milliseconds.
        state: Optuna's state: COMPLETE, PRUNED or FAIL; INTERRUPTED for a run that is no trial.
        value: The objective value of a COMPLETE trial.
        result: The trial's result, which Optuna stores as an attribute.
        history: The epochs up to the end or the pruner's decision.
        metrics: Once-per-run metrics.
        tags: Tags that are known at the end.
        number: The trial's number; None for a run that is no trial.
        run_id: The run in MLflow, where it was open already.
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

    def to_json(self) -> str:
        """The entry as a JSON document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """Reads a document of ``to_json``."""
        document = json.loads(text)
        document["start"] = RunStart(**document["start"])
        document["history"] = tuple(Epoch(**epoch) for epoch in document["history"])
        return cls(**document)
