"""Forward and backward pass of one network, or of several of one shape at once.

Several networks have weights with a first axis of networks, and their products are batched: one program computes what
small networks would otherwise spend on the start of operations. The gradient is written by hand: for a dense layer it
is two matrix products, so a step needs neither a tape nor a Keras call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.network.optimizers import Tensor, Tensors

_PHILOX = 1  # tf.random.Algorithm.PHILOX
_GOLDEN = 0.6180339887  # the multiples of this fraction fill 0 to 1 evenly


def uses_gpu() -> bool:
    """Whether this process trains on a GPU.

    There an operation without a kernel for GPUs runs on the host, and its operands are copied to it in each step.
    TensorFlow also holds int32 tensors in the host's memory; those of int64 stay on the GPU.
    """
    return bool(tf.config.list_physical_devices("GPU"))


def variable(array: np.ndarray) -> tf.Variable:
    """Creates a variable of open shape: a function traced for one takes those of every size."""
    return tf.Variable(array, shape=tf.TensorShape([None] * array.ndim))


class Seeds(NamedTuple):
    """The random numbers of an epoch.

    Attributes:
        keys: The (1,) uint64 key of each network.
        first: The counter's high half in step 0, an int64 scalar; (n_networks,) of several networks.
    """

    keys: Tensors
    first: Tensor

    @classmethod
    def of(cls, seed: Tensor) -> Seeds:
        """Takes them from a (2,) int64 ``dropout_seed`` of the training and the epoch, or (n_networks, 2) of several.

        Their parts are the same in each step, so that they are taken before the first one.
        """
        if seed.shape.rank == 1:
            return cls([tf.cast(seed[:1], tf.uint64)], seed[1])
        return cls([tf.cast(seed[number, :1], tf.uint64) for number in range(seed.shape[0])], seed[:, 1])

    @property
    def lead(self) -> list[int]:
        """The first axis of arrays of several networks, ``[n_networks]``; of one there is none."""
        return [len(self.keys)] if self.first.shape.rank else []


class Dropout(NamedTuple):
    """Dropout of one step.

    Attributes:
        factors: Of each hidden layer, (..., n_rows, width) float32: 0 for a dropped unit, else ``scale``.
        scale: Factor of the kept units that preserves the expected sum.
    """

    factors: Tensors
    scale: Tensor

    @classmethod
    def draw(cls, rate: Tensor, seeds: Seeds, step: Tensor, n_layers: int, n_rows: Tensor, width: Tensor) -> Dropout:
        """Draws the masks of a step.

        Random bits are most of the cost of dropout, so a unit has eight. They set the rate of a step to 1/256; steps
        alternate between the two nearest such rates, so that their mean over the steps is the given one.

        Args:
            rate: Share of units that are dropped; above 255/256 it is that.
            seeds: Of the epoch.
            step: Scalar int32, from 0 in each epoch; each draws its own masks.
            n_layers: Number of hidden layers.
            n_rows: Scalar int32.
            width: Units of a layer, a scalar int32.
        """
        factors, scale = keep_factors(rate, seeds, step, n_layers * n_rows * width)
        factors = tf.reshape(factors, [*seeds.lead, n_layers, n_rows, width])
        return cls(tf.unstack(factors, n_layers, axis=len(seeds.lead)), scale)

    def __call__(self, hidden: Tensor, layer: int) -> Tensor:
        """Zeroes a share of ``hidden`` (..., n_rows, width) and scales up the rest."""
        return hidden * self.factors[layer]


def keep_factors(rate: Tensor, seeds: Seeds, step: Tensor, count: Tensor, use: int = 0) -> tuple[Tensor, Tensor]:
    """Draws what the units of a step are multiplied by.

    Args:
        rate: As for ``Dropout.draw``.
        seeds: Of the epoch.
        step: As for ``Dropout.draw``.
        count: Number of units of each network.
        use: Of the random numbers of a step, from 0 to 127; uses never share numbers.

    Returns:
        The (n_networks, count) factors, 0 or the second value, which preserves the expected sum.
    """
    shift = tf.math.mod(tf.cast(step, tf.float32) * _GOLDEN, 1.0)
    n_dropped = tf.minimum(tf.floor(rate * 256.0 + shift), 255.0)
    scale = 256.0 / (256.0 - n_dropped)
    # Of int32, the bits would go through the host of a GPU.
    draws = _draw(tf.raw_ops.StatelessRandomUniformFullIntV2, (count + 7) // 8, seeds, step, use, tf.int64)
    numbers = tf.reshape(tf.bitcast(tf.stack(draws), tf.uint8), (len(draws), -1))[:, :count]
    return tf.cast(numbers >= tf.cast(n_dropped, tf.uint8), tf.float32) * scale, scale


def random_bits(seeds: Seeds, step: Tensor, count: Tensor, use: int) -> Tensor:
    """Draws (n_networks, count) int32 numbers of which each bit is random, arguments as ``keep_factors``."""
    return tf.stack(_draw(tf.raw_ops.StatelessRandomUniformFullIntV2, count, seeds, step, use, tf.int32))


def normal_numbers(seeds: Seeds, step: Tensor, count: Tensor, use: int) -> Tensor:
    """Draws (n_networks, count) float32 numbers of a standard normal distribution, arguments as ``keep_factors``."""
    return tf.stack(_draw(tf.raw_ops.StatelessRandomNormalV2, count, seeds, step, use, tf.float32))


def _draw(
    operation: Callable[..., Tensor], count: Tensor, seeds: Seeds, step: Tensor, use: int, dtype: tf.DType
) -> list[Tensor]:
    """Draws (count,) numbers of each network: Philox with a seed as its key, epoch and step in the counter's high half.

    Different uses of one step begin so far apart in the counter's lower half that they never share numbers.
    """
    shape = tf.expand_dims(count, 0)
    above = seeds.first + tf.cast(step, tf.int64)
    below = tf.constant(use << 56, tf.int64, seeds.lead)
    both = tf.stack([below, above], -1)
    counters = tf.unstack(both) if seeds.lead else [both]
    return [
        operation(shape=shape, key=key, counter=tf.cast(counter, tf.uint64), alg=_PHILOX, dtype=dtype)
        for key, counter in zip(seeds.keys, counters, strict=True)
    ]


class Passed(NamedTuple):
    """The intermediate values of a forward pass for the backward pass.

    Attributes:
        inputs: The input of each layer, (..., n_rows, n_in) float32.
        operands: The same in the type of the products.
        kernels: The kernels in the type of the products.
    """

    inputs: Tensors
    operands: Tensors
    kernels: Tensors


def forward(
    x: Tensor, weights: Tensors, dropout: Dropout | None = None, precision: str = "float32"
) -> tuple[Passed, Tensor]:
    """Runs the network.

    Args:
        x: (..., n_rows, n_features) float32, scaled.
        weights: A kernel (..., n_in, n_out) and a bias (..., n_out) for each layer, input to output.
        dropout: Applied after each hidden layer.
        precision: Type of the operands of the products; everything else is float32.

    Returns:
        What ``backward`` needs, and the outputs (..., n_rows, n_outputs): logits, or one standardized value.
    """
    # Each kernel is read once, for the forward and the backward pass.
    kernels, biases = [tf.cast(tf.convert_to_tensor(kernel), precision) for kernel in weights[::2]], weights[1::2]
    inputs, operands = [x], [tf.cast(x, precision)]
    for layer, (kernel, bias) in enumerate(zip(kernels[:-1], biases[:-1], strict=True)):
        hidden = tf.nn.relu(add_bias(product(operands[-1], kernel), bias))
        inputs.append(dropout(hidden, layer) if dropout else hidden)
        operands.append(tf.cast(inputs[-1], precision))
    return Passed(inputs, operands, kernels), add_bias(product(operands[-1], kernels[-1]), biases[-1])


def backward(error: Tensor, passed: Passed, dropout: Dropout | None = None) -> list[Tensor]:
    """Computes the gradient of the loss by each weight.

    Args:
        error: (..., n_rows, n_outputs), gradient of the loss by the outputs.
        passed: As ``forward`` returned it.
        dropout: As in ``forward``.

    Returns:
        One gradient per weight, kernels and biases in turn, input to output.
    """
    inputs, operands, kernels = passed
    gradients: list[Tensor] = []
    for layer in reversed(range(len(inputs))):
        operand = tf.cast(error, operands[layer].dtype)
        gradients[:0] = [product(operands[layer], operand, transpose_a=True), _bias_gradient(error)]
        if layer:
            error = product(operand, kernels[layer], transpose_b=True)
            # A dropped unit is zero, like a unit that ReLU closed: ReluGrad stops the gradient of both.
            error = tf.raw_ops.ReluGrad(gradients=error, features=inputs[layer])
            error = error * dropout.scale if dropout else error
    return gradients


def product(a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiplies (..., n, m) by (..., m, k); the result is float32, whatever the operands are."""
    return tf.cast(tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b), tf.float32)


def add_bias(values: Tensor, bias: Tensor) -> Tensor:
    """Adds (..., n_out) biases to (..., n_rows, n_out) values."""
    return tf.nn.bias_add(values, bias) if bias.shape.rank == 1 else values + tf.expand_dims(bias, -2)


def _bias_gradient(error: Tensor) -> Tensor:
    if error.shape.rank == 2:
        return tf.raw_ops.BiasAddGrad(out_backprop=error)
    return tf.reduce_sum(error, -2)
