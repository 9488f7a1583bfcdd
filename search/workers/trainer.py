"""Trains a task: a configuration in, epoch reports and a ``.h5`` out. Imports TensorFlow and NumPy only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import psutil

from pipelines.keras_settings import fix_keras
from pipelines.native_output import quiet
from search.home.startup import importing_without

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or it is too late

with quiet(), importing_without("matplotlib", "pandas", "pyarrow", "scipy", "sklearn"):
    fix_keras()
    import keras  # noqa: F401  (needed by the first model that is saved; imported once in a fork server)
    import tensorflow as tf

from pipelines.data.datasets import Dataset
from pipelines.data.preprocessing import Preprocessing
from pipelines.evaluation.row_scores import encode, over_folds, over_groups
from pipelines.training.history import Checkpoint, EpochReport, sha256
from pipelines.training.model import build_model, load_h5, read_checkpoint, restore_model, to_h5
from pipelines.training.rows import TrainingRows
from pipelines.training.scores import contributions
from pipelines.training.training import Training
from search.workers.tasks import Outcome, SavedCheckpoint, StopReason, Task

StopDecision = Callable[[int], StopReason | None]
"""``decide(epoch)`` waits for the scheduler's answer to that epoch and returns why training stops; None lets it
continue. For epoch 0 it does not wait, and returns a stop that has arrived by now."""


def configure_device(threads: int | None, memory_limit_mb: int | None = None) -> bool:
    """Sets how TensorFlow uses this process's device; call it before the first operation.

    Args:
        threads: Threads on a CPU; None leaves the number to TensorFlow, as for a GPU.
        memory_limit_mb: This process's share of its GPU's memory; None lets it allocate as it needs.

    Returns:
        Whether TensorFlow has a GPU.
    """
    tf.get_logger().setLevel("ERROR")  # it warns of one traced function for each depth and optimizer
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        # It takes a fifth of each first call, and makes no step faster.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with quiet():  # TensorFlow prints what it finds
        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            if memory_limit_mb is None:
                tf.config.experimental.set_memory_growth(gpu, True)
            else:
                share = tf.config.LogicalDeviceConfiguration(memory_limit=memory_limit_mb)
                tf.config.set_logical_device_configuration(gpu, [share])
        if gpus:
            tf.config.experimental.enable_op_determinism()
        tf.zeros(())  # sets up the devices now
    return bool(gpus)


def is_out_of_memory(error: Exception) -> bool:
    """Whether TensorFlow's device had too little memory."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    # TensorFlow 2.21 raises this where a copy to the GPU finds no memory.
    return isinstance(error, tf.errors.InternalError) and "Dst tensor is not initialized" in str(error)


class Trainer:
    """Trains one task after the other on the training and validation rows of a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._rows = TrainingRows.of(dataset)
        self._preprocessing = dataset.preprocessing
        self._groups = None if dataset.validation.group is None else dataset.scored.group  # which may copy all rows

    def train(self, task: Task, decide: StopDecision) -> Iterator[EpochReport | Outcome]:
        """Trains one configuration: yields a report after each epoch with a finite loss, and the outcome at last.

        The next epoch trains while the scheduler decides on the one before, and none after it: a slot does not wait
        for its scheduler, and the epoch at which a trial ends does not depend on how quickly the scheduler answers.

        Args:
            task: The configuration.
            decide: Called for each epoch before the next one counts.

        Yields:
            The reports, and the outcome. It ends with the epoch at which a decision, the time or a loss that is not
            finite stopped training.
        """
        started = time.monotonic()
        start = _read(task.start) if task.start else None
        seeds = (task.seed, *task.more_seeds)
        training = Training(self._rows, task.hyperparameters, seeds, start, task.objective, task.precision)
        kept = _Kept(task, training, self._groups)
        stop: StopReason | None = None
        for report in training:
            stop = decide(kept.epoch) if kept.epoch else None
            if not stop and not report.is_finite:
                stop = "diverged"
            if stop:
                break
            kept.add()
            yield report
            if report.epoch == task.hyperparameters.epochs:
                break  # it is finished, even where this epoch ended too late or a stop has arrived
            late = time.monotonic() - started + report.duration_s > task.time_left_s
            stop = decide(0) or ("timeout" if late else None)
            if stop:
                break
        yield kept.outcome(self._preprocessing, stop or "finished", started)


def _read(saved: SavedCheckpoint) -> Checkpoint:
    return read_checkpoint(load_h5(saved.content, saved.sha256, "checkpoint.h5"), saved.epochs)


@dataclass(slots=True)
class _KeptSeed:
    """The reports of one seed's epochs that count, and the best weights of them."""

    index: int
    best_value: float
    weights: tuple[np.ndarray, ...]
    history: list[EpochReport] = field(default_factory=list)
    best_epoch: int = 0
    diverged: bool = False


class _Kept:
    """The reports and weights of the epochs that count: training itself is one epoch ahead of the decisions."""

    def __init__(self, task: Task, training: Training, groups: np.ndarray | None) -> None:
        self._task = task
        self._groups = groups
        self._training = training
        results = training.results
        self._seeds = [_KeptSeed(i, result.best_value, training.weights(i)) for i, result in enumerate(results)]
        self._checkpoint = training.checkpoint() if task.keep_state else None
        self.epoch = 0

    def add(self) -> None:
        for seed, result in zip(self._seeds, self._training.results, strict=True):
            report = result.report
            if report is None or not report.is_finite or seed.diverged:
                seed.diverged = True
                continue
            self.epoch = report.epoch
            seed.history.append(report)
            seed.best_epoch, seed.best_value, seed.weights = result.best_epoch, result.best_value, result.best
            if self._task.keep_last:
                seed.best_epoch, seed.best_value = report.epoch, report.metrics[self._task.objective]
                seed.weights = self._training.weights(seed.index)
        if self._task.keep_state:
            self._checkpoint = self._training.checkpoint()

    def outcome(self, preprocessing: Preprocessing, stop: StopReason, started: float) -> Outcome:
        models = [self._model(seed, preprocessing) for seed in self._seeds]
        first, *others = [
            Outcome(
                history=tuple(seed.history),
                best_epoch=seed.best_epoch,
                best_value=seed.best_value,
                model=model,
                model_sha256=sha256(model) if model else "",
                checkpoint=self._saved_checkpoint(preprocessing),
                n_parameters=self._training.n_parameters,
                stop_reason="diverged" if seed.diverged else stop,
                duration_s=time.monotonic() - started,
                memory_mb=psutil.Process().memory_info().rss >> 20,
                row_scores=self._row_scores(seed),
            )
            for seed, model in zip(self._seeds, models, strict=True)
        ]
        return replace(first, others=tuple(others))

    def _model(self, seed: _KeptSeed, preprocessing: Preprocessing) -> bytes:
        if not seed.best_epoch:
            return b""
        return to_h5(build_model(self._task.hyperparameters, preprocessing, seed.weights))

    def _saved_checkpoint(self, preprocessing: Preprocessing) -> bytes:
        if self._checkpoint is None:
            return b""
        return to_h5(restore_model(self._task.hyperparameters, preprocessing, self._checkpoint))

    def _row_scores(self, seed: _KeptSeed) -> str:
        """The contribution of each validation row, or of each group of rows, to the objective; rows in their order."""
        if not self._task.keep_rows or not seed.best_epoch:
            return ""
        answers = self._training.answers(seed.index, seed.weights)
        scores = [contributions(*answer[1:]) for answer in answers]
        # Without groups the sizes of folds differ by a row at most: whether a row is right stays a bit.
        if self._groups is not None or scores[0].dtype != np.bool_:
            scores = over_folds([fold.astype(np.float64) for fold in scores])
        found = np.concatenate(scores)[np.argsort(np.concatenate([answer.rows for answer in answers]))]
        return encode(found if self._groups is None else over_groups(found, self._groups))
