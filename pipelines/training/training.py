"""Trains one configuration: a report an epoch, and the weights of the best one kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.config import Hyperparameters, layer_sizes
from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import TrainingError
from pipelines.training.epoch import Rows, build_epoch, evaluate, fused_epoch
from pipelines.training.history import Checkpoint, EpochReport
from pipelines.training.model import glorot_weights, scaling_map
from pipelines.training.optimizers import FUSED, keras_optimizer, state_variables

_ALIGNMENT = 64  # bytes; TensorFlow aborts the process on memory that is less aligned


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows of a dataset as TensorFlow holds them, for every trial of a process."""

    training: Rows
    validation: Rows
    n_classes: int

    @classmethod
    def of(cls, dataset: Dataset) -> TrainingRows:
        """Takes over the arrays of a dataset, without a copy where the system allows."""
        preprocessing = dataset.preprocessing
        return cls(
            _rows(dataset.training, preprocessing),
            _rows(dataset.validation, preprocessing),
            len(preprocessing.class_names),
        )

    @property
    def n_features(self) -> int:
        """Values of one flattened input row."""
        return int(self.training.x.shape[1])


def _rows(split: Split, preprocessing: Preprocessing) -> Rows:
    slope, offset = scaling_map(preprocessing)
    x = split.x.reshape(len(split.x), -1)
    return Rows(_tensor(x), _tensor(split.y), tf.constant(slope), tf.constant(offset))


def _tensor(array: np.ndarray) -> Any:
    """Uses an array's memory in place on a CPU, where it may: processes that map the same rows hold them once."""
    usable = array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0
    if usable and not tf.config.list_logical_devices("GPU"):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)


class Training:
    """One configuration in training; iterate over it for a report an epoch.

    The initial weights, the order of the rows and the dropout follow from the seed and the number of the epoch
    alone, so training that goes on from a checkpoint is the training that was never interrupted.

    Args:
        rows: The training and validation rows.
        hyperparameters: The configuration; ``epochs`` is the epoch to train up to.
        seed: Seed of the initial weights, the order of the rows and the dropout.
        start: Where to go on from; None starts with fresh weights.

    Attributes:
        best: The weights of the epoch with the best validation accuracy so far, the earliest of equals.
        best_epoch: That epoch, 0 before the first.
        best_val_accuracy: Its validation accuracy, -1 before the first.

    Raises:
        TrainingError: Keras has no optimizer of that name.
    """

    def __init__(
        self,
        rows: TrainingRows,
        hyperparameters: Hyperparameters,
        seed: int,
        start: Checkpoint | None = None,
    ) -> None:
        self._rows, self._hp, self._seed = rows, hyperparameters, seed
        self._epoch, self._steps = (start.epochs, start.steps) if start else (0, 0)
        initial = start.weights if start else _initial_weights(rows, hyperparameters, seed)
        self.best: tuple[np.ndarray, ...] = tuple(initial)
        self.best_epoch, self.best_val_accuracy = 0, -1.0
        if hyperparameters.optimizer in FUSED:
            self._start_fused(initial, start.state if start else ())
        else:
            self._start_keras(initial, start.state if start else ())

    def _start_fused(self, initial: Sequence[np.ndarray], state: Sequence[np.ndarray]) -> None:
        """Variables of open shape, so that one traced function serves them all."""
        hp = self._hp
        rule = FUSED[hp.optimizer]
        self._train = fused_epoch(hp.optimizer, hp.depth, with_dropout=hp.dropout > 0)
        self._weights = [_variable(weight) for weight in initial]
        self._state, self._slots = [], []
        for i, weight in enumerate(initial):
            kept = state[i * rule.n_state : (i + 1) * rule.n_state] or [np.zeros_like(weight)] * rule.n_state
            variables = [_variable(array) for array in kept]
            self._state += variables
            self._slots += variables + [_variable(np.zeros_like(weight)) for _ in range(rule.n_scratch)]

    def _start_keras(self, initial: Sequence[np.ndarray], state: Sequence[np.ndarray]) -> None:
        """Keras's own optimizer object, for the optimizers without a fused kernel; traced for this trial."""
        import keras

        optimizer = keras_optimizer(self._hp.optimizer, self._hp.learning_rate)
        wrapped = [keras.Variable(weight, name=f"w{i}") for i, weight in enumerate(initial)]
        optimizer.build(wrapped)
        optimizer.iterations.assign(self._steps)
        kept = state_variables(optimizer)
        for variable, array in zip(kept, state, strict=False):
            variable.assign(array)

        def apply(weights: Any, state: Any, gradients: Any, rate: Any, step: Any) -> None:  # noqa: ARG001
            optimizer.learning_rate.assign(rate)
            optimizer.apply(gradients, wrapped)

        self._train = build_epoch(apply, with_dropout=self._hp.dropout > 0)
        self._weights = [variable.value for variable in wrapped]
        self._state, self._slots = [variable.value for variable in kept], []

    def __iter__(self) -> Iterator[EpochReport]:
        """Trains up to the last epoch, or until the loss is no longer finite."""
        while self._epoch < self._hp.epochs:
            report = self._train_epoch()
            if report.is_finite and report.val_accuracy > self.best_val_accuracy:
                self.best_epoch, self.best_val_accuracy = report.epoch, report.val_accuracy
                self.best = tuple(weight.numpy() for weight in self._weights)
            yield report
            if not report.is_finite:
                return

    def _train_epoch(self) -> EpochReport:
        started = time.perf_counter()
        rows, hp = self._rows, self._hp
        order = row_order(len(rows.training.y), self._seed, self._epoch)
        rates = learning_rates(hp, len(order), self._epoch)
        # The second number of the seed leaves 2**32 values to the steps and layers of each epoch.
        loss, accuracy = self._train(
            rows.training, tf.constant(order), tf.constant(hp.batch_size), self._weights,
            self._slots, _variable(rates), tf.constant(self._steps + 1), tf.constant(hp.dropout, tf.float32),
            tf.constant([self._seed, self._epoch << 32], tf.int64),
        )  # fmt: skip
        self._epoch += 1
        self._steps += len(rates)
        val_loss, val_accuracy = evaluate(rows.validation, self._weights)
        return EpochReport(
            epoch=self._epoch,
            loss=float(loss),
            accuracy=float(accuracy),
            val_loss=float(val_loss),
            val_accuracy=float(val_accuracy),
            learning_rate=float(rates[0]),
            duration_s=time.perf_counter() - started,
        )

    def checkpoint(self) -> Checkpoint:
        """Where training stands now."""
        weights = tuple(weight.numpy() for weight in self._weights)
        return Checkpoint(weights, tuple(v.numpy() for v in self._state), self._steps, self._epoch)


def _initial_weights(rows: TrainingRows, hp: Hyperparameters, seed: int) -> tuple[np.ndarray, ...]:
    return glorot_weights(layer_sizes(hp, rows.n_features, rows.n_classes), seed)


def _variable(array: np.ndarray) -> Any:
    """A variable of open shape: a function that was traced for one takes those of every size."""
    return tf.Variable(array, shape=tf.TensorShape([None] * array.ndim))


def row_order(n_rows: int, seed: int, epoch: int) -> np.ndarray:
    """The order, (n_rows,) int32, in which an epoch, counted from 0, goes through the training rows."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows).astype(np.int32)


def learning_rates(hp: Hyperparameters, n_rows: int, epoch: int) -> np.ndarray:
    """The learning rate of each step of an epoch.

    Args:
        hp: Gives the rate, the schedule, the batch size and the epochs that a decay spans.
        n_rows: Training rows.
        epoch: From 0.

    Returns:
        (n_steps,) float32; for ``cosine`` Keras's ``CosineDecay`` over all steps of the trial.
    """
    n_steps = -(-n_rows // hp.batch_size)
    if hp.schedule == "constant":
        return np.full(n_steps, hp.learning_rate, np.float32)
    done = (epoch * n_steps + np.arange(n_steps)) / (hp.epochs * n_steps)
    return (hp.learning_rate * 0.5 * (1 + np.cos(np.pi * done))).astype(np.float32)


def train(dataset: Dataset, hyperparameters: Hyperparameters, seed: int = 0) -> Training:
    """Sets up the training of one configuration; iterating over the result trains it.

    Args:
        dataset: What to train on; its test rows are not in it.
        hyperparameters: The configuration.
        seed: As for ``Training``.

    Raises:
        TrainingError: The network does not fit into memory, or Keras has no optimizer of that name.
    """
    try:
        return Training(TrainingRows.of(dataset), hyperparameters, seed)
    except tf.errors.ResourceExhaustedError as error:
        raise TrainingError(f"the network does not fit into memory: {error.message}") from error
