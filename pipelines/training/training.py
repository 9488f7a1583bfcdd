"""Trains one configuration: reports each epoch and keeps the weights of the best one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from pipelines.config import Hyperparameters, layer_sizes
from pipelines.objectives import OBJECTIVES
from pipelines.training.epoch import build_epoch, fused_epoch
from pipelines.training.history import Checkpoint, EpochReport
from pipelines.training.model import glorot_weights
from pipelines.training.optimizers import FUSED, Tensor, Tensors, keras_optimizer, state_variables
from pipelines.training.rows import TrainingRows
from pipelines.training.streams import dropout_seed, order_generator
from pipelines.training.validation import Answers, Validation


class Training:
    """One configuration in training; iterate over it for a report an epoch.

    Initial weights, row order and dropout depend on the seed and the epoch's number alone, so training that resumes
    from a checkpoint gives the same weights as training without interruption.

    Args:
        rows: The training and validation rows.
        hyperparameters: The configuration; ``epochs`` is the epoch to train up to.
        seed: Seed of the initial weights, the order of the rows and the dropout.
        start: The checkpoint to resume from; None starts with fresh weights.
        objective: Name of the validation metric that picks the best epoch.

    Attributes:
        best: Weights of the epoch with the best objective so far, the earliest of equals.
        best_epoch: Number of that epoch, 0 before the first.
        best_value: Its objective; before the first, a value that every value beats.

    Raises:
        TrainingError: Keras has no optimizer of that name.
    """

    def __init__(
        self,
        rows: TrainingRows,
        hyperparameters: Hyperparameters,
        seed: int,
        start: Checkpoint | None = None,
        objective: str = "val_accuracy",
    ) -> None:
        if start is None:
            sizes = layer_sizes(hyperparameters, rows.n_features, rows.n_outputs)
            start = Checkpoint(glorot_weights(sizes, seed))
        self._training = rows.weighted(hyperparameters.class_weight).training
        self._hp, self._seed = hyperparameters, seed
        self._loss = hyperparameters.loss or ("mse" if rows.target else "cross_entropy")
        self._objective = OBJECTIVES[objective]
        self._validation = Validation(rows, self._loss, self._objective)
        self._epoch, self._steps = start.epochs, start.steps
        self.best = start.weights
        self.best_epoch = 0
        self.best_value = self._objective.worst
        if hyperparameters.optimizer in FUSED:
            self._start_fused(start)
        else:
            self._start_keras(start)

    def _start_fused(self, start: Checkpoint) -> None:
        """Creates variables of open shape, so that one traced function serves all sizes."""
        hp = self._hp
        rule = FUSED[hp.optimizer]
        self._train = fused_epoch(hp.optimizer, hp.depth, with_dropout=hp.dropout > 0, loss=self._loss)
        self._weights = [_variable(weight) for weight in start.weights]
        self._state, self._slots = [], []
        for i, weight in enumerate(start.weights):
            saved = start.state[i * rule.n_state : (i + 1) * rule.n_state] or [np.zeros_like(weight)] * rule.n_state
            variables = [_variable(array) for array in saved]
            self._state += variables
            self._slots += variables + [_variable(np.zeros_like(weight)) for _ in range(rule.n_scratch)]

    def _start_keras(self, start: Checkpoint) -> None:
        """Creates Keras's own optimizer, for optimizers without a fused kernel; it is traced for this trial alone."""
        import keras

        optimizer = keras_optimizer(self._hp.optimizer, self._hp.learning_rate)
        wrapped = [keras.Variable(weight, name=f"w{i}") for i, weight in enumerate(start.weights)]
        optimizer.build(wrapped)
        optimizer.iterations.assign(start.steps)
        state = state_variables(optimizer)
        for variable, array in zip(state, start.state, strict=False):  # a fresh start has no state
            variable.assign(array)

        def apply(weights: Tensors, state: Tensors, gradients: Tensors, rate: Tensor, step: Tensor) -> None:  # noqa: ARG001
            optimizer.learning_rate.assign(rate)
            optimizer.apply(gradients, wrapped)

        self._train = build_epoch(apply, with_dropout=self._hp.dropout > 0, loss=self._loss)
        self._weights = [variable.value for variable in wrapped]
        self._state, self._slots = [variable.value for variable in state], []

    def __iter__(self) -> Iterator[EpochReport]:
        """Trains to the last epoch, or until the loss is not finite."""
        while self._epoch < self._hp.epochs:
            report = self._train_epoch()
            value = report.metrics[self._objective.name]
            if report.is_finite and self._objective.is_better(value, self.best_value):
                self.best_epoch, self.best_value = report.epoch, value
                self.best = tuple(weight.numpy() for weight in self._weights)
            yield report
            if not report.is_finite:
                return

    def _train_epoch(self) -> EpochReport:
        started = time.perf_counter()
        hp = self._hp
        order = row_order(len(self._training.y), self._seed, self._epoch)
        rates = learning_rates(hp, len(order), self._epoch)
        loss, accuracy = self._train(
            self._training, tf.constant(order), tf.constant(hp.batch_size), self._weights,
            self._slots, _variable(rates), tf.constant(self._steps + 1), tf.constant(hp.dropout, tf.float32),
            tf.constant(dropout_seed(self._seed, self._epoch), tf.int64),
        )  # fmt: skip
        self._epoch += 1
        self._steps += len(rates)
        trained = {"loss": float(loss)} | ({"accuracy": float(accuracy)} if self._loss == "cross_entropy" else {})
        return EpochReport(
            epoch=self._epoch,
            metrics=trained | self._validation.scores(self._weights),
            learning_rate=float(rates[0]),
            duration_s=time.perf_counter() - started,
        )

    def answers(self, weights: Tensors) -> Answers:
        """Returns the predictions of the validation rows with some weights, such as ``best``."""
        return self._validation.answers(weights)

    def checkpoint(self) -> Checkpoint:
        """Returns all that resuming after the current epoch needs."""
        weights = tuple(weight.numpy() for weight in self._weights)
        return Checkpoint(weights, tuple(v.numpy() for v in self._state), self._steps, self._epoch)


def _variable(array: np.ndarray) -> tf.Variable:
    """Creates a variable of open shape: a function traced for one takes those of every size."""
    return tf.Variable(array, shape=tf.TensorShape([None] * array.ndim))


def row_order(n_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the training rows, (n_rows,) int32, in an epoch counted from 0."""
    return order_generator(seed, epoch).permutation(n_rows).astype(np.int32)


def learning_rates(hp: Hyperparameters, n_rows: int, epoch: int) -> np.ndarray:
    """Returns the learning rate of each step of an epoch.

    Args:
        hp: The configuration: rate, schedule, batch size, and the epochs that a decay spans.
        n_rows: Number of training rows.
        epoch: Counted from 0.

    Returns:
        (n_steps,) float32; for ``cosine`` Keras's ``CosineDecay`` over all steps of the trial.
    """
    n_steps = -(-n_rows // hp.batch_size)
    if hp.schedule == "constant":
        return np.full(n_steps, hp.learning_rate, np.float32)
    done = (epoch * n_steps + np.arange(n_steps)) / (hp.epochs * n_steps)
    return (hp.learning_rate * 0.5 * (1 + np.cos(np.pi * done))).astype(np.float32)
