"""One step's outputs and gradients, of plain networks by hand, of others by a tape; and outputs without training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from pipelines.network import taped
from pipelines.network.architecture import Architecture, Program
from pipelines.network.layers import Dropout, backward, forward
from pipelines.network.losses import row_losses
from pipelines.network.normalization import moved
from pipelines.network.optimizers import Tensor, Tensors
from pipelines.network.taped import Amounts, draw, embedded


class Batch(NamedTuple):
    """The rows of one step.

    Attributes:
        x: (..., n_rows, n_features) float32, scaled.
        targets: (..., n_rows).
        weight: (..., n_rows) float32 factors of the losses; None for 1.
        smoothing: Share of a target that is spread over all classes; None for 0.
    """

    x: Tensor
    targets: Tensor
    weight: Tensor | None
    smoothing: Tensor | None = None


class Moment(NamedTuple):
    """The position of a step in the training.

    Attributes:
        seed: (2,) int64, ``dropout_seed`` of the training and the epoch; (n_networks, 2) of several networks.
        step: Scalar int32, from 0 in each epoch.
        number: Of the step in the whole training, a float32 from 1.
        share: The batch's rows as a share of those of a full batch, a float32.
    """

    seed: Tensor
    step: Tensor
    number: Tensor
    share: Tensor


class Passed(NamedTuple):
    """The results of a step before the weights are updated.

    Attributes:
        losses: (..., n_rows) losses of the rows.
        outputs: (..., n_rows, n_outputs).
        gradients: Of the mean loss by each trained array.
    """

    losses: Tensor
    outputs: Tensor
    gradients: list[Tensor]


def outputs_of(network: Architecture, x: Tensor, weights: Tensors) -> Tensor:
    """Returns the (..., n_rows, n_outputs) outputs of scaled rows (..., n_rows, n_features), in float32."""
    if network.is_plain:
        return forward(x, weights)[1]
    return taped.forward(network, embedded(network, x, weights), weights)[0]


def train_pass(program: Program, batch: Batch, weights: Tensors, amounts: Amounts, moment: Moment) -> Passed:
    """Computes losses and gradients of a batch; batch normalization moves its mean and variance in place."""
    run = _plain if program.network.is_plain else _taped
    return run(program, batch, weights, amounts, moment)


def _plain(program: Program, batch: Batch, weights: Tensors, amounts: Amounts, moment: Moment) -> Passed:
    dropout = None
    if program.network.dropout:
        shape = tf.stack([program.network.depth, tf.shape(batch.targets)[-1], tf.shape(weights[0])[-1]])
        dropout = Dropout.draw(amounts.dropout, moment.seed, moment.step, shape)
    passed, outputs = forward(batch.x, weights, dropout, program.precision)
    losses, error = _mean_loss(program, outputs, batch)
    return Passed(losses, outputs, backward(error, passed, dropout))


def _taped(program: Program, batch: Batch, weights: Tensors, amounts: Amounts, moment: Moment) -> Passed:
    network, n_rows = program.network, tf.shape(batch.targets)[-1]
    trained, fixed = weights[: network.n_trained], list(weights[network.n_trained :])
    x = embedded(network, batch.x, weights)
    kernels = [weights[place] for place in network.kernels]
    sizes = [tf.shape(kernel)[-2] for kernel in kernels]
    draws = draw(network, amounts, moment.seed, moment.step, sizes, n_rows)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        # Each is read once: a tape would add up the gradients of several reads.
        values = [tf.convert_to_tensor(weight) for weight in trained]
        tape.watch(values)
        outputs, moments = taped.forward(network, x, [*values, *fixed], draws, program.precision)
    losses, error = _mean_loss(program, outputs, batch)
    gradients = tape.gradient(outputs, values, error)
    for held, of_batch in zip(fixed, moments, strict=False):  # after the moving ones come the pieces
        held.assign(moved(held, of_batch, moment.number, moment.share))
    return Passed(losses, outputs, gradients)


def _mean_loss(program: Program, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns the losses of the rows, and the gradient of their mean by the outputs."""
    losses, error = row_losses(program.loss, outputs, batch.targets, batch.weight, batch.smoothing)
    return losses, error / tf.cast(tf.shape(batch.targets)[-1], tf.float32)
