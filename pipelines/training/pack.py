"""Networks of one shape that train in one program: one alone, or the networks of folds and seeds side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.config import Hyperparameters, Precision, layer_sizes
from pipelines.network.architecture import Architecture, Program
from pipelines.network.epoch import Function, build_epoch, fused_epoch
from pipelines.network.layers import uses_gpu, variable
from pipelines.network.optimizers import FUSED, Tensors, fused_name, keras_optimizer, state_variables, weight_decay
from pipelines.network.steps.updates import Extras, Update
from pipelines.network.streams import dropout_seed, fold_seed, order_generator
from pipelines.network.taped import Amounts
from pipelines.training.history import Checkpoint
from pipelines.training.model import initial_weights
from pipelines.training.packing import pays_in_one_pass
from pipelines.training.rows import TrainingRows


class Network(NamedTuple):
    """One network.

    Attributes:
        seed: Of its initial weights, the order of its rows and its dropout.
        fold: Number of the fold that it is validated on; None for one split.
    """

    seed: int
    fold: int | None = None


def networks(rows: TrainingRows, seed: int) -> list[Network]:
    """Returns the networks of a training: one for each fold, with a seed of its own."""
    if not rows.folds:
        return [Network(seed)]
    return [Network(fold_seed(seed, fold), fold) for fold in range(len(rows.folds))]


class Pack:
    """The weights of networks, and the functions that train and evaluate all of them at once.

    Args:
        rows: With the training rows weighted as the configuration says.
        hyperparameters: The configuration.
        members: The networks. Several have arrays with a first axis of networks.
        loss: One of ``LOSSES``.
        precision: Type of the operands of the products in training.
        start: The checkpoint to resume from; of a single network only.

    Attributes:
        network: Their architecture.
        weights: All arrays in the order of ``network.architecture``, as TensorFlow's variables: what is validated and
            kept, which are averages where the configuration has them.
    """

    def __init__(
        self,
        rows: TrainingRows,
        hyperparameters: Hyperparameters,
        members: Sequence[Network],
        loss: str,
        precision: Precision,
        start: Checkpoint | None = None,
    ) -> None:
        self.members = members
        self._hp, self._rows = hyperparameters, rows
        self._sizes = layer_sizes(hyperparameters, *rows.sizes)
        self.network = Architecture.of(hyperparameters, self._sizes)
        limits, one_pass = bool(hyperparameters.max_norm), self._updates_in_one_pass()
        self._program = Program(self.network, loss, precision, max_norm=limits, one_pass=one_pass)
        start = start or Checkpoint(self._initial_weights())
        self._index_type = tf.int64 if uses_gpu() else tf.int32
        self._arrays: list[np.ndarray] | None = None  # a copy of the weights, until they change
        self._extras = Extras.of(hyperparameters, rows.input_shape)
        self._amounts = Amounts.of(hyperparameters)
        start, averages = self._without_averages(start)
        build = self._fused if fused_name(hyperparameters) else self._keras
        self._train, trained, self._state, self._slots = build(start)
        self._traced: Callable[..., Tensors] | None = None
        fixed = [variable(array) for array in start.weights[self.network.n_trained :]]
        self._trained, self._averages = [*trained, *fixed], [variable(array) for array in averages]
        self.weights = [*(self._averages or trained), *fixed]

    def _updates_in_one_pass(self) -> bool:
        hp = self._hp
        if uses_gpu() or fused_name(hp) != "adam" or hp.max_norm:  # norms are limited before the average
            return False
        return bool(hp.ema or weight_decay(hp)) and pays_in_one_pass(self._sizes)

    def _without_averages(self, start: Checkpoint) -> tuple[Checkpoint, Sequence[np.ndarray]]:
        """Takes the averages of the trained weights out of a state; they are the weights where it has none yet."""
        if not self._hp.ema:
            return start, ()
        n_trained = self.network.n_trained
        averages = start.state[:n_trained] or start.weights[:n_trained]
        return replace(start, state=start.state[n_trained:]), averages

    def _initial_weights(self) -> tuple[np.ndarray, ...]:
        drawn = [initial_weights(self._hp, self._sizes, member.seed, self._rows.pieces) for member in self.members]
        return drawn[0] if len(drawn) == 1 else tuple(np.stack(arrays) for arrays in zip(*drawn, strict=True))

    def _fused(self, start: Checkpoint) -> tuple[Function, Tensors, Tensors, Tensors]:
        """Creates variables of open shape, so that one traced function serves all sizes."""
        name, trained = str(fused_name(self._hp)), start.weights[: self.network.n_trained]
        rule, n_state = FUSED[name], len(FUSED[name].state)
        kept, slots = [], []
        for i, weight in enumerate(trained):
            saved = start.state[i * n_state : (i + 1) * n_state] or [np.zeros_like(weight)] * n_state
            variables = [variable(array) for array in saved]
            kept += variables
            slots += variables + [variable(np.zeros_like(weight)) for _ in rule.scratch]
        function = fused_epoch(name, self._program, len(self.members))
        return function, [variable(weight) for weight in trained], kept, slots

    def _keras(self, start: Checkpoint) -> tuple[Function, Tensors, Tensors, Tensors]:
        """Creates Keras's own optimizer, for optimizers without a fused kernel; it is traced for this trial alone."""
        import keras

        optimizer = keras_optimizer(self._hp, with_average=False)
        trained = start.weights[: self.network.n_trained]
        wrapped = [keras.Variable(weight, name=f"w{i}") for i, weight in enumerate(trained)]
        optimizer.build(wrapped)
        optimizer.iterations.assign(start.steps)
        state = state_variables(optimizer)
        for held, array in zip(state, start.state, strict=False):  # a fresh start has no state
            held.assign(array)

        def apply(update: Update) -> None:
            optimizer.learning_rate.assign(update.rate)
            optimizer.apply(update.gradients, wrapped)

        return build_epoch(apply, self._program), [held.value for held in wrapped], [held.value for held in state], []

    def train(self, epoch: int, rates: np.ndarray, first_step: int) -> tuple[np.ndarray, np.ndarray]:
        """Trains an epoch.

        Args:
            epoch: Counted from 0.
            rates: (n_steps,) float32 learning rates.
            first_step: Number of the first step, from 1.

        Returns:
            (n_networks,) mean losses and accuracies over the batches.
        """
        self._arrays = None
        orders = [_order(self._rows, member, epoch) for member in self.members]
        seeds = [dropout_seed(member.seed, epoch) for member in self.members]
        order, seed = (orders[0], seeds[0]) if len(orders) == 1 else (np.stack(orders), seeds)
        arguments = (
            self._rows.training, tf.constant(order, self._index_type), tf.constant(self._hp.batch_size),
            self._trained, self._slots, variable(rates), tf.constant(first_step), self._amounts,
            tf.constant(seed, tf.int64), self._averages, self._extras,
        )  # fmt: skip
        if self._traced is None:  # choosing among what was traced would take half a millisecond in each epoch
            self._traced = self._train.get_concrete_function(*arguments)
        losses, accuracies = (np.atleast_1d(means.numpy()) for means in self._traced(*arguments))
        return losses, accuracies

    def arrays_of(self, members: Sequence[Network]) -> list[np.ndarray]:
        """Returns copies of the weights of those of some networks that are here, with a first axis of networks."""
        places = [place for place, member in enumerate(self.members) if member in members]
        if not places:
            return []
        if self._arrays is None:
            self._arrays = [weight.numpy() for weight in self.weights]
        return [array[None] if len(self.members) == 1 else array[places] for array in self._arrays]

    def checkpoint(self, steps: int, epochs: int) -> Checkpoint:
        """Returns what resuming needs."""
        weights = tuple(weight.numpy() for weight in self._trained)
        state = tuple(held.numpy() for held in (*self._averages, *self._state))
        return Checkpoint(weights, state, steps, epochs)


def rows_per_epoch(rows: TrainingRows) -> int:
    """Returns how many rows a network sees in an epoch: those of the smallest training fold."""
    return min(len(fold.training) for fold in rows.folds) if rows.folds else int(rows.training.y.shape[0])


def row_order(n_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the training rows, (n_rows,) int32, in an epoch counted from 0."""
    return order_generator(seed, epoch).permutation(n_rows).astype(np.int32)


def _order(rows: TrainingRows, network: Network, epoch: int) -> np.ndarray:
    """Returns the numbers of the rows of an epoch in their order.

    The networks of folds train in step, so each sees as many rows as the smallest training fold has: of a larger
    one, others in each epoch.
    """
    n_rows = rows_per_epoch(rows)
    if network.fold is None:
        return row_order(n_rows, network.seed, epoch)
    own = rows.folds[network.fold].training
    return np.asarray(own[row_order(len(own), network.seed, epoch)[:n_rows]])
