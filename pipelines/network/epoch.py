"""One epoch as one compiled function: shuffled batches, forward, backward and update without a return to Python.

Shapes are left open, so one traced function serves every width, batch size and learning rate of its depth: a worker
traces a few functions instead of one per trial, and its memory does not grow with its trials, but for the
updates of large kernels (``steps.one_pass``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from pipelines.network.architecture import EVALUATION_ROWS, Architecture, Program
from pipelines.network.layers import Seeds
from pipelines.network.losses import count_right, row_losses
from pipelines.network.optimizers import Tensor, Tensors
from pipelines.network.passes import Batch, Moment, outputs_of, train_pass, widths_of
from pipelines.network.steps.one_pass import adam_in_one_pass
from pipelines.network.steps.updates import Extras, Update, apply_fused, update_averages
from pipelines.network.taped import Amounts

Function: TypeAlias = "tf.types.experimental.PolymorphicFunction"


class Rows(NamedTuple):
    """Inputs and targets as TensorFlow holds them, and the affine map that scales the inputs.

    Attributes:
        x: (n_rows, n_features) uint8 or float32, as the source holds them; on a GPU float16 instead of uint8.
        y: (n_rows,) int32 class numbers, on a GPU int64; or float32 standardized targets.
        slope: float32 scalar, or (n_features,).
        offset: float32 scalar, or (n_features,); a network sees ``x * slope + offset``.
        weight: (n_rows,) float32 factors of the rows' losses; None leaves them out of the function.
    """

    x: Tensor
    y: Tensor
    slope: Tensor
    offset: Tensor
    weight: Tensor | None = None

    def batch(self, index: Tensor, move: Callable[[Tensor], Tensor] | None = None) -> Batch:
        """Returns the scaled inputs, the targets and the weights of the rows at ``index``, in its shape.

        Args:
            index: Numbers of the rows.
            move: Changes the inputs before they are scaled.
        """
        values = tf.gather(self.x, index)
        values = tf.cast(move(values) if move else values, tf.float32)
        x = values * self.slope + self.offset
        x.set_shape(values.shape)  # a function that has seen both kinds of slopes does not know its rank
        return Batch(x, tf.gather(self.y, index), None if self.weight is None else tf.gather(self.weight, index))


Apply = Callable[[Update], None]
"""Updates all trained weights, and their averages too where the program says ``one_pass``."""


def build_epoch(apply: Apply, program: Program) -> Function:
    """Builds the function that trains one epoch.

    Args:
        apply: Updates the weights.
        program: The network, its loss and what else the function depends on.

    Returns:
        ``epoch(rows, order, batch_size, weights, state, rates, first_step, amounts, seed, averages, extras)``, which
        changes weights, state and averages in place and returns mean loss and accuracy over the epoch's batches.
        Several networks have an ``order`` (n_networks, n_rows) and ``seed`` (n_networks, 2), and get (n_networks,)
        means. It stops after the first batch in which no loss is finite.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def epoch(
        rows: Rows, order: Tensor, batch_size: Tensor, weights: Tensors, state: Tensors,
        rates: Tensor, first_step: Tensor, amounts: Amounts, seed: Tensor, averages: Tensors, extras: Extras,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        # An operation in the loop costs about a microsecond in each step, so that it has none whose result stays equal.
        n_rows, n_steps = tf.shape(order)[-1], tf.size(rates)
        full = tf.minimum(batch_size, n_rows)
        seeds, widths = Seeds.of(seed), widths_of(program.network, weights)

        def step(i: Tensor, total: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            start = i * batch_size
            end = tf.minimum(start + batch_size, n_rows)
            move = extras.pictures and partial(extras.pictures.move, seeds=seeds, step=i)
            batch = rows.batch(order[..., start:end], move)._replace(smoothing=extras.smoothing)
            number = tf.cast(first_step + i, tf.float32)
            moment = Moment(seeds, i, number, end - start, full)
            losses, outputs, gradients = train_pass(program, batch, weights, widths, amounts, moment)
            update = Update(weights, state, gradients, averages, rates[i], number, extras)
            apply(update)
            _finish(program, update, amounts)
            return i + 1, total + tf.reduce_sum(losses, -1), right + count_right(program.loss, outputs, batch.targets)

        zeros = tf.zeros(order.shape[:-1])
        _, total, right = tf.while_loop(
            lambda i, total, _: (i < n_steps) & _any_finite(total),
            step, (0, zeros, zeros), parallel_iterations=1,
        )  # fmt: skip
        return total / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32)

    return epoch


def _any_finite(values: Tensor) -> Tensor:
    is_finite = tf.math.is_finite(values)
    return tf.reduce_any(is_finite) if values.shape.rank else is_finite


def _finish(program: Program, update: Update, amounts: Amounts) -> None:
    """Does what follows on the update of the weights."""
    if program.max_norm:
        limit_norms(program.network, update.weights, amounts.max_norm)
    if not program.one_pass:
        update_averages(update)


def limit_norms(network: Architecture, weights: Tensors, limit: Tensor) -> None:
    """Shortens in place the weights into each unit to a norm of ``limit``, as Keras's ``MaxNorm(axis=0)`` does."""
    for place in network.kernels:
        kernel = weights[place]
        norms = tf.sqrt(tf.reduce_sum(tf.square(kernel), -2, keepdims=True))
        kernel.assign(kernel * (tf.minimum(norms, limit) / (1e-7 + norms)))


@cache
def fused_epoch(rule: str, program: Program, n_networks: int) -> Function:
    """Returns the epoch function of one of ``FUSED``'s rules, built once per process, program and networks."""
    # A function of its own for each number of networks: one for several would be traced without knowing it.
    del n_networks
    if program.one_pass:
        return build_epoch(partial(adam_in_one_pass, program.network.kernels), program)
    return build_epoch(partial(apply_fused, rule), program)


@cache
def build_evaluation(network: Architecture, loss: str, *, keep_outputs: bool) -> Function:
    """Builds the function that evaluates a network in float32, once per process, network and loss.

    Args:
        network: The network.
        loss: One of ``LOSSES``.
        keep_outputs: Whether it returns the outputs too.

    Returns:
        ``evaluate(rows, weights)``, which returns mean loss and accuracy over all rows, without dropout, and the
        (n_rows, n_outputs) outputs; no rows of them unless they are kept.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def evaluate(rows: Rows, weights: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        n_rows = tf.size(rows.y)

        def step(start: Tensor, total: Tensor, right: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            x, targets, weight, _ = rows.batch(tf.range(start, tf.minimum(start + EVALUATION_ROWS, n_rows)))
            outputs = outputs_of(network, x, weights)
            losses, _ = row_losses(loss, outputs, targets, weight)
            kept = kept.write(start // EVALUATION_ROWS, outputs) if keep_outputs else kept
            right += count_right(loss, outputs, targets)
            return start + EVALUATION_ROWS, total + tf.reduce_sum(losses), right, kept

        kept = _blocks() if keep_outputs else tf.constant(0.0)
        _, total, right, kept = tf.while_loop(
            lambda start, *_: start < n_rows, step, (0, 0.0, 0.0, kept), parallel_iterations=1
        )
        outputs = kept.concat() if keep_outputs else tf.zeros((0, 1))
        return total / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32), outputs

    return evaluate


@cache
def build_packed_evaluation(network: Architecture, loss: str, n_networks: int) -> Function:
    """Builds the function that evaluates several networks in float32, each on rows of its own.

    Args:
        network: The network.
        loss: One of ``LOSSES``.
        n_networks: Their number.

    Returns:
        ``evaluate(rows, index, weights)`` for an ``index`` (n_networks, n_rows) of each network's rows, which returns
        the (n_rows, n_networks) losses without the rows' weights and the (n_rows, n_networks, n_outputs) outputs.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def evaluate(rows: Rows, index: Tensor, weights: Tensors) -> tuple[Tensor, Tensor]:
        n_rows = tf.shape(index)[-1]
        size = max(1, EVALUATION_ROWS // n_networks)

        def step(start: Tensor, losses: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x, targets, *_ = rows.batch(index[:, start : tf.minimum(start + size, n_rows)])
            outputs = outputs_of(network, x, weights)
            losses = losses.write(start // size, tf.transpose(row_losses(loss, outputs, targets, None)[0]))
            return start + size, losses, kept.write(start // size, tf.transpose(outputs, (1, 0, 2)))

        start = (0, _blocks(2), _blocks(3))
        _, losses, kept = tf.while_loop(lambda start, *_: start < n_rows, step, start, parallel_iterations=1)
        return losses.concat(), kept.concat()

    return evaluate


def evaluate_at_once(network: Architecture, loss: str, batch: Batch, weights: Tensors) -> tuple[Tensor, Tensor]:
    """Evaluates a network, or several, in one step that is not compiled: a first call would take a tenth of a second.

    Returns:
        The (..., n_rows) losses without the rows' weights and the (..., n_rows, n_outputs) outputs.
    """
    outputs = outputs_of(network, batch.x, weights)
    return row_losses(loss, outputs, batch.targets, None)[0], outputs


def _blocks(rank: int = 2) -> tf.TensorArray:
    """An array of blocks of rows, which differ in their number of rows: the last is shorter."""
    return tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=(None,) * rank)
