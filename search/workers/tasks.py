"""What goes into a slot and what comes out of it. Plain values: any process can pickle and read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import Hyperparameters
from pipelines.training.history import Checkpoint, EpochReport

StopReason = Literal["finished", "pruned", "timeout", "interrupted", "diverged"]


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint as it lies on disk; the worker reads it, because only it has TensorFlow.

    Attributes:
        content: The bytes of the ``.h5``.
        sha256: What they must hash to.
        epochs: Epochs trained so far.
    """

    content: bytes
    sha256: str
    epochs: int


@dataclass(frozen=True, slots=True)
class Task:
    """One configuration to train.

    Attributes:
        number: The trial's number; events carry it back.
        hyperparameters: The configuration.
        seed: Seed of the weights, the shuffling and the dropout.
        time_left_s: Counted from its arrival in the slot; no epoch is started that would end later.
        start: What to go on from; None starts afresh.
        keep_state: Whether the outcome carries the last epoch's weights and the optimizer's state too: a copy of
            them is made after each epoch.
        keep_last: Whether the outcome's model has the last epoch's weights, not the best one's: so where the
            validation rows were trained on, and cannot choose.
        alone: Whether it is to have all of its slot's device: other slots there hold no memory while it trains.
    """

    number: int
    hyperparameters: Hyperparameters
    seed: int
    time_left_s: float = math.inf
    start: Checkpoint | SavedCheckpoint | None = None
    keep_state: bool = False
    keep_last: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training one configuration came to.

    Attributes:
        history: The reports of the epochs that count.
        best_epoch: The epoch whose weights ``model`` holds; 0 where no epoch ended with a finite loss.
        best_val_accuracy: Its validation accuracy.
        model: The bytes of its ``.h5``; empty where there is none.
        model_sha256: Their hash.
        checkpoint: The ``.h5`` of the last epoch that counts with the optimizer's state, where it was asked for.
        n_parameters: Weights that training changed.
        stop_reason: Why training ended.
        duration_s: From the task's arrival in the slot to this outcome.
        memory_mb: Resident memory of the worker at the end.
        usage: Metrics of the device that trained it, by MLflow's names.
    """

    history: tuple[EpochReport, ...]
    best_epoch: int
    best_val_accuracy: float
    model: bytes
    model_sha256: str
    checkpoint: bytes
    n_parameters: int
    stop_reason: StopReason
    duration_s: float
    memory_mb: int
    usage: Mapping[str, float] = field(default_factory=dict)
