"""Tasks of slots, and their outcomes. Plain values: any process can pickle and read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.config import Hyperparameters, Precision
from pipelines.training.history import EpochReport

StopReason = Literal["finished", "pruned", "timeout", "interrupted", "diverged"]


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint file; the worker reads it, because only the worker has TensorFlow.

    Attributes:
        content: The bytes of the ``.h5``.
        sha256: Their recorded hash.
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
        time_left_s: Seconds from its arrival in the slot; no epoch is started that would end later.
        start: The checkpoint to continue from; None starts with fresh weights.
        objective: The validation metric that picks the best epoch.
        keep_state: Whether the outcome has the last epoch's weights and the optimizer's state too. They are copied
            after each epoch.
        keep_last: Whether the outcome's model has the last epoch's weights, not the best one's. For trainings on the
            validation rows too, which then cannot pick an epoch.
        keep_rows: Whether the outcome says what each validation row contributes to the model's objective.
        more_seeds: Seeds that the configuration is trained with too, side by side where that is faster.
        exclusive: Whether it has its slot's device for itself: other slots there hold no memory while it trains.
        precision: Of the operands of each matrix product in training; weights, sums and evaluation are float32.
    """

    number: int
    hyperparameters: Hyperparameters
    seed: int
    time_left_s: float = math.inf
    start: SavedCheckpoint | None = None
    objective: str = "val_accuracy"
    keep_state: bool = False
    keep_last: bool = False
    keep_rows: bool = False
    more_seeds: tuple[int, ...] = ()
    exclusive: bool = False
    precision: Precision = "float32"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of training one configuration.

    Attributes:
        history: The reports of the epochs that count.
        best_epoch: The epoch whose weights ``model`` has; 0 where no epoch ended with a finite loss.
        best_value: The objective of that epoch.
        model: The bytes of its ``.h5``; empty where no epoch ended with a finite loss.
        model_sha256: Their hash.
        checkpoint: The ``.h5`` of the last epoch that counts, with the optimizer's state; empty unless ``keep_state``.
        n_parameters: The number of trained weights.
        stop_reason: Why training ended.
        duration_s: From the task's arrival in the slot to this outcome.
        memory_mb: Resident memory of the worker at the end.
        device_metrics: Its use of its device, by the names of MLflow's system metrics.
        row_scores: The contribution of each validation row to the objective of ``model``, encoded by
            ``pipelines.evaluation.row_scores``; "" unless ``keep_rows``. With folds, of all rows.
        others: The outcomes of ``more_seeds``, in their order. Their duration and their use of the device are the same:
            those of the program that trained all of them.
    """

    history: tuple[EpochReport, ...]
    best_epoch: int
    best_value: float
    model: bytes
    model_sha256: str
    checkpoint: bytes
    n_parameters: int
    stop_reason: StopReason
    duration_s: float
    memory_mb: int
    device_metrics: Mapping[str, float] = field(default_factory=dict)
    row_scores: str = ""
    others: tuple[Outcome, ...] = ()

    @property
    def was_interrupted(self) -> bool:
        """Whether an interruption ended the training of a seed; the loss of another one may have ended before."""
        return "interrupted" in {each.stop_reason for each in (self, *self.others)}
