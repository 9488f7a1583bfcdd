"""Forward pass of networks that are more than dense layers, ReLU and dropout; a tape gives their gradient.

As in ``layers``, several networks have weights with a first axis of networks. A hidden layer is: product,
normalization, noise, activation, dropout, and the sum with its input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from pipelines.config import Hyperparameters
from pipelines.network.architecture import Architecture
from pipelines.network.layers import Seeds, add_bias, keep_factors, normal_numbers, product, uses_gpu
from pipelines.network.normalization import batch_normalized, layer_normalized, with_moments
from pipelines.network.optimizers import Tensor, Tensors

_INPUT, _NOISE = 1, 2
"""Uses of a step's random numbers; masks of hidden layers are use 0."""
_ROOT_HALF, _ROOT_OF_2_PI = 0.7071067811865476, 2.5066282746310002


class Amounts(NamedTuple):
    """Values of a configuration that are no part of the graph, float32 scalars.

    Attributes:
        dropout: Share of units dropped.
        input_dropout: Share of inputs dropped.
        noise: Standard deviation of the noise.
        max_norm: Largest norm of the weights into a unit.
    """

    dropout: Tensor
    input_dropout: Tensor
    noise: Tensor
    max_norm: Tensor

    @classmethod
    def of(cls, hyperparameters: Hyperparameters) -> Amounts:
        """Returns those of a configuration."""
        hp = hyperparameters.filled()
        return cls(*(tf.constant(getattr(hp, name), tf.float32) for name in cls._fields))


class Draws(NamedTuple):
    """Random parts of one step; None where a network has none.

    Attributes:
        inputs: (..., n_rows, n_inputs) factors of the inputs.
        units: (..., n_rows, width) factors of the units of each hidden layer.
        noise: (..., n_rows, width) added before the activation of each hidden layer.
    """

    inputs: Tensor | None = None
    units: Tensors | None = None
    noise: Tensors | None = None


def draw(network: Architecture, amounts: Amounts, seeds: Seeds, step: Tensor, sizes: Tensors, n_rows: Tensor) -> Draws:
    """Draws the random parts of a step.

    Args:
        network: The network.
        amounts: Of dropout and noise.
        seeds: Of the epoch.
        step: Scalar int32, from 0 in each epoch.
        sizes: Values at the input and after each hidden layer, int32 scalars.
        n_rows: Rows of the step.
    """
    hidden = sizes[1:]
    inputs = units = noise = None
    if network.input_dropout:
        factors, _ = keep_factors(amounts.input_dropout, seeds, step, n_rows * sizes[0], _INPUT)
        [inputs] = _by_layer(factors, seeds, n_rows, sizes[:1])
    if network.dropout:
        factors, _ = keep_factors(amounts.dropout, seeds, step, n_rows * tf.add_n(hidden))
        units = _by_layer(factors, seeds, n_rows, hidden)
    if network.noise:
        numbers = normal_numbers(seeds, step, n_rows * tf.add_n(hidden), _NOISE) * amounts.noise
        noise = _by_layer(numbers, seeds, n_rows, hidden)
    return Draws(inputs, units, noise)


def _by_layer(numbers: Tensor, seeds: Seeds, n_rows: Tensor, widths: Tensors) -> list[Tensor]:
    """Splits (n_networks, n_rows * sum of widths) numbers into (..., n_rows, width) for each width."""
    parts = tf.split(numbers, [n_rows * width for width in widths], 1, num=len(widths))
    return [tf.reshape(part, [*seeds.lead, n_rows, width]) for part, width in zip(parts, widths, strict=True)]


def forward(
    network: Architecture, x: Tensor, weights: Tensors, draws: Draws | None = None, precision: str = "float32"
) -> tuple[Tensor, list[Tensor]]:
    """Runs the network.

    Args:
        network: The network.
        x: (..., n_rows, n_inputs) float32: scaled, with the pieces of an embedding.
        weights: All arrays, as ``architecture`` orders them.
        draws: Random parts of a training step; None predicts.
        precision: Type of the operands of the products; everything else is float32.

    Returns:
        The outputs (..., n_rows, n_outputs): logits, or one standardized value; and in a training step mean and
        variance of each batch normalization, in the order of the moving ones.
    """
    moments: list[Tensor] = []
    if draws and draws.inputs is not None:
        x = x * draws.inputs
    for number in range(network.depth):
        layer, hidden = network.layer(weights, number), _dense(x, network.layer(weights, number), precision)
        if network.normalization == "layer":
            hidden = layer_normalized(hidden, layer.gamma, layer.beta)
        elif network.normalization == "batch" and draws:
            hidden, *of_batch = batch_normalized(hidden, layer.gamma, layer.beta)
            moments += of_batch
        elif network.normalization == "batch":
            hidden = with_moments(hidden, layer.gamma, layer.beta, *network.moving(weights, number))
        if draws and draws.noise:
            hidden = hidden + draws.noise[number]
        hidden = ACTIVATIONS[network.activation](hidden)
        if draws and draws.units:
            hidden = hidden * draws.units[number]
        x = hidden + x if network.residual and network.residual[number] else hidden
    return _dense(x, network.layer(weights, network.depth), precision), moments


def embedded(network: Architecture, x: Tensor, weights: Tensors) -> Tensor:
    """Adds to (..., n_rows, n_features) scaled inputs the pieces of their embedding, if there is one.

    A piece is how far a number has come in a range: 0 below it, 1 above it, straight between.
    """
    if not network.embedding:
        return x
    kernel, bias = network.pieces(weights)
    pieces = add_bias(_slopes(x, kernel), bias)
    return tf.concat([x, tf.clip_by_value(pieces, 0.0, 1.0)], -1)


def _slopes(x: Tensor, kernel: Tensor) -> Tensor:
    """Multiplies (..., n_rows, n_features) by a kernel of pieces, each of which is of one feature.

    A GPU would round the operands of a product of matrices to TF32, and a narrow range has a large slope and bias.
    """
    if not uses_gpu():
        return product(x, kernel)
    feature = tf.argmax(tf.abs(kernel), -2)
    values = tf.gather(x, feature, axis=-1, batch_dims=kernel.shape.rank - 2)
    return values * tf.reduce_sum(kernel, -2, keepdims=True)


def _dense(x: Tensor, layer: tuple[Tensor, ...], precision: str) -> Tensor:
    kernel, bias, *_ = layer
    values = product(tf.cast(x, precision), tf.cast(kernel, precision))
    return values if bias is None else add_bias(values, bias)


@tf.custom_gradient
def _gelu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    below = 0.5 * (1.0 + tf.math.erf(x * _ROOT_HALF))

    def gradient(error: Tensor) -> Tensor:
        return error * (below + x * tf.exp(-0.5 * x * x) * (1.0 / _ROOT_OF_2_PI))

    return x * below, gradient


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tf.nn.relu,
    "gelu": _gelu,
    "silu": tf.nn.silu,
    "tanh": tf.tanh,
    "selu": tf.nn.selu,
}
"""By name, as Keras has them; gelu is the exact one."""
