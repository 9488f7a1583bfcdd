"""One step's outputs and gradients, of plain networks by hand, of others by a tape; and outputs without training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from pipelines.network import taped
from pipelines.network.architecture import Architecture, Program
from pipelines.network.layers import Dropout, Seeds, backward, forward
from pipelines.network.losses import row_losses
from pipelines.network.normalization import move_moments
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
        seeds: Of the epoch.
        step: Scalar int32, from 0 in each epoch.
        number: Of the step in the whole training, a float32 from 1.
        n_rows: Of the batch, an int32 scalar.
        full: Rows of a full batch, an int32 scalar.
    """

    seeds: Seeds
    step: Tensor
    number: Tensor
    n_rows: Tensor
    full: Tensor


class Passed(NamedTuple):
    """The results of a step before the weights are updated.

    Attributes:
        losses: (..., n_rows) losses of the rows.
        outputs: (..., n_rows, n_outputs).
        gradients: Of the mean loss by each trained array, float32; those of kernels may have the type of the products.
    """

    losses: Tensor
    outputs: Tensor
    gradients: list[Tensor]


def outputs_of(network: Architecture, x: Tensor, weights: Tensors) -> Tensor:
    """Returns the (..., n_rows, n_outputs) outputs of scaled rows (..., n_rows, n_features), in float32."""
    if network.is_plain:
        return forward(x, weights)[1]
    return taped.forward(network, embedded(network, x, weights), weights)[0]


def widths_of(network: Architecture, weights: Tensors) -> list[Tensor]:
    """Returns the values at the input, an embedding's with them, and after each hidden layer, int32 scalars.

    Only draws need them: there are none if nothing is drawn.
    """
    if network == network.predicting:
        return []
    first, *others = network.kernels if network.narrows else (network.kernels[0], network.kernels[-1])
    hidden = [tf.shape(weights[place])[-2] for place in others]
    return [tf.shape(weights[first])[-2], *(hidden if network.narrows else hidden * network.depth)]


def train_pass(
    program: Program, batch: Batch, weights: Tensors, widths: Tensors, amounts: Amounts, moment: Moment
) -> Passed:
    """Computes losses and gradients of a batch; batch normalization moves its mean and variance in place."""
    run = _plain if program.network.is_plain else _taped
    return run(program, batch, weights, widths, amounts, moment)


def _plain(
    program: Program, batch: Batch, weights: Tensors, widths: Tensors, amounts: Amounts, moment: Moment
) -> Passed:
    dropout = None
    if program.network.dropout:
        n_layers = program.network.depth
        dropout = Dropout.draw(amounts.dropout, moment.seeds, moment.step, n_layers, moment.n_rows, widths[1])
    passed, outputs = forward(batch.x, weights, dropout, program.precision)
    losses, error = _mean_loss(program, outputs, batch, moment)
    return Passed(losses, outputs, backward(error, passed, dropout))


def _taped(
    program: Program, batch: Batch, weights: Tensors, widths: Tensors, amounts: Amounts, moment: Moment
) -> Passed:
    network = program.network
    trained, fixed = weights[: network.n_trained], list(weights[network.n_trained :])
    x = embedded(network, batch.x, weights)
    draws = draw(network, amounts, moment.seeds, moment.step, widths, moment.n_rows)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        # Each is read once: a tape would add up the gradients of several reads.
        values = [tf.convert_to_tensor(weight) for weight in trained]
        if program.one_pass:  # it casts the gradients of kernels itself
            values = [tf.cast(v, program.precision) if i in network.kernels else v for i, v in enumerate(values)]
        tape.watch(values)
        outputs, moments = taped.forward(network, x, [*values, *fixed], draws, program.precision)
    losses, error = _mean_loss(program, outputs, batch, moment)
    gradients = tape.gradient(outputs, values, error)
    if moments:
        share = tf.cast(moment.n_rows / moment.full, tf.float32)
        move_moments(fixed[: len(moments)], moments, moment.number, share)  # after the moving ones come the pieces
    return Passed(losses, outputs, gradients)


def _mean_loss(program: Program, outputs: Tensor, batch: Batch, moment: Moment) -> tuple[Tensor, Tensor]:
    """Returns the losses of the rows, and the gradient of their mean by the outputs."""
    losses, error = row_losses(program.loss, outputs, batch.targets, batch.weight, batch.smoothing)
    return losses, error / tf.cast(moment.n_rows, tf.float32)
