"""One epoch as one compiled function: shuffled batches, forward, backward and update without a return to Python.

The gradient is written by hand: for a dense layer it is two matrix products, so a step needs neither a tape nor a
Keras call. Shapes are left open, so one traced function serves every width, batch size and learning rate of its
depth: a worker traces a few functions instead of one per trial, and its memory does not grow with its trials.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.training.optimizers import FUSED, Tensor, Tensors
from pipelines.training.streams import dropout_seed

EVALUATION_ROWS = 2048
"""Rows of one evaluation step: large enough for the matrix product, small enough for the cache."""


class Rows(NamedTuple):
    """Inputs and labels as TensorFlow holds them, and the affine map that scales the inputs.

    Attributes:
        x: (n_rows, n_features) uint8 or float32, as the source holds them.
        y: (n_rows,) int32.
        slope: float32 scalar, or (n_features,).
        offset: float32 scalar, or (n_features,); a network sees ``x * slope + offset``.
    """

    x: Tensor
    y: Tensor
    slope: Tensor
    offset: Tensor

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scaled inputs and the labels of the rows at ``index``."""
        x = tf.cast(tf.gather(self.x, index), tf.float32) * self.slope + self.offset
        return x, tf.gather(self.y, index)


class Dropout(NamedTuple):
    """Dropout of one step.

    Attributes:
        rate: Share of units that are dropped; None leaves dropout out of the function.
        seed: (2,) int64, ``dropout_seed`` of the training and the epoch.
        step: Scalar int32, from 0 in each epoch; each step and layer draws its own mask.
    """

    rate: Tensor
    seed: Tensor
    step: Tensor

    def __call__(self, hidden: Tensor, layer: int) -> Tensor:
        """Zeroes a share of ``hidden`` (n_rows, width) and scales up the rest."""
        count = tf.size(hidden)
        of_layer, _ = dropout_seed(0, 0, layer=layer)
        seed = self.seed + tf.stack([tf.constant(of_layer, tf.int64), tf.cast(self.step, tf.int64)])
        # 16 random bits per unit set the rate to 1/65,536, in half the time of float32 draws.
        bits = tf.random.stateless_uniform([(count + 1) // 2], seed, None, None, tf.int32)
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count]
        kept = tf.reshape(bits >= tf.cast(self.rate * 65536.0, tf.uint16), tf.shape(hidden))
        return hidden * (tf.cast(kept, tf.float32) * self.scale)

    @property
    def scale(self) -> Tensor:
        """Factor of the kept units that preserves the expected sum."""
        return 1.0 / (1.0 - self.rate)


def forward(x: Tensor, weights: Tensors, dropout: Dropout | None = None) -> tuple[list[Tensor], Tensor]:
    """Runs the network.

    Args:
        x: (n_rows, n_features) float32, scaled.
        weights: A kernel (n_in, n_out) and a bias (n_out,) for each layer, input to output.
        dropout: Applied after each hidden layer.

    Returns:
        The input of each layer, and the logits (n_rows, n_classes).
    """
    inputs = [x]
    for layer in range(len(weights) // 2 - 1):
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(inputs[-1], weights[2 * layer]), weights[2 * layer + 1]))
        inputs.append(dropout(hidden, layer) if dropout else hidden)
    return inputs, tf.nn.bias_add(tf.matmul(inputs[-1], weights[-2]), weights[-1])


def backward(error: Tensor, inputs: Tensors, weights: Tensors, dropout: Dropout | None = None) -> list[Tensor]:
    """Computes the gradient of the loss by each weight.

    Args:
        error: (n_rows, n_classes), gradient of the loss by the logits.
        inputs: As ``forward`` returned them.
        weights: As in ``forward``.
        dropout: As in ``forward``.

    Returns:
        One gradient per weight, in the order of ``weights``.
    """
    gradients: list[Tensor] = []
    for layer in reversed(range(len(inputs))):
        bias = tf.raw_ops.BiasAddGrad(out_backprop=error)
        gradients[:0] = [tf.matmul(inputs[layer], error, transpose_a=True), bias]
        if layer:
            error = tf.matmul(error, weights[2 * layer], transpose_b=True)
            # A dropped unit is zero, like a unit that ReLU closed: ReluGrad stops the gradient of both.
            error = tf.raw_ops.ReluGrad(gradients=error, features=inputs[layer])
            error = error * dropout.scale if dropout else error
    return gradients


def _scores(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns summed cross-entropy, number of right rows, and the gradient of the loss by the logits."""
    if tf.config.list_physical_devices("GPU"):  # the fused kernel has no deterministic version on a GPU
        truth, shares = tf.one_hot(labels, tf.shape(logits)[1]), tf.nn.log_softmax(logits)
        losses, error = -tf.reduce_sum(truth * shares, -1), tf.exp(shares) - truth
    else:
        losses, error = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=labels)
    right = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32)), error


Apply = Callable[[Tensors, Tensors, Tensors, Tensor, Tensor], None]
"""apply(weights, state, gradients, rate, step): one update of all weights."""


def build_epoch(apply: Apply, *, with_dropout: bool) -> tf.types.experimental.PolymorphicFunction:
    """Builds the function that trains one epoch.

    Args:
        apply: Updates the weights.
        with_dropout: Whether masks are drawn.

    Returns:
        ``epoch(rows, order, batch_size, weights, state, rates, first_step, dropout_rate, seed)``, which changes
        weights and state in place and returns mean loss and accuracy over the epoch's batches. It stops after the
        first batch whose loss is not finite.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def epoch(
        rows: Rows, order: Tensor, batch_size: Tensor, weights: Tensors, state: Tensors,
        rates: Tensor, first_step: Tensor, dropout_rate: Tensor, seed: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        n_rows = tf.size(order)

        def step(i: Tensor, loss: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            index = order[i * batch_size : tf.minimum((i + 1) * batch_size, n_rows)]
            x, labels = rows.batch(index)
            dropout = Dropout(dropout_rate, seed, i) if with_dropout else None
            inputs, logits = forward(x, weights, dropout)
            batch_loss, batch_right, error = _scores(logits, labels)
            gradients = backward(error / tf.cast(tf.size(labels), tf.float32), inputs, weights, dropout)
            apply(weights, state, gradients, rates[i], tf.cast(first_step + i, tf.float32))
            return i + 1, loss + batch_loss, right + batch_right

        _, loss, right = tf.while_loop(
            lambda i, loss, _: (i < tf.size(rates)) & tf.math.is_finite(loss),
            step, (0, 0.0, 0.0), parallel_iterations=1,
        )  # fmt: skip
        return loss / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32)

    return epoch


@cache
def fused_epoch(optimizer: str, depth: int, *, with_dropout: bool) -> tf.types.experimental.PolymorphicFunction:
    """Returns the epoch function of one of ``FUSED``'s optimizers, built once per process and depth."""
    rule = FUSED[optimizer]
    n_slots = rule.n_state + rule.n_scratch

    def apply(weights: Tensors, state: Tensors, gradients: Tensors, rate: Tensor, step: Tensor) -> None:
        for i in range(2 * (depth + 1)):
            rule.update(weights[i], state[i * n_slots : (i + 1) * n_slots], gradients[i], rate, step)

    return build_epoch(apply, with_dropout=with_dropout)


@tf.function(autograph=False, reduce_retracing=True)
def evaluate(rows: Rows, weights: Tensors) -> tuple[Tensor, Tensor]:
    """Returns mean loss and accuracy over all rows, without dropout."""
    n_rows = tf.size(rows.y)

    def step(start: Tensor, loss: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, labels = rows.batch(tf.range(start, tf.minimum(start + EVALUATION_ROWS, n_rows)))
        batch_loss, batch_right, _ = _scores(forward(x, weights)[1], labels)
        return start + EVALUATION_ROWS, loss + batch_loss, right + batch_right

    _, loss, right = tf.while_loop(lambda i, *_: i < n_rows, step, (0, 0.0, 0.0), parallel_iterations=1)
    return loss / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32)


def right_rows(rows: Rows, weights: Tensors) -> np.ndarray:
    """Returns (n_rows,) bool, the rows that ``evaluate`` counts as right."""
    right = []
    for start in range(0, len(rows.y), EVALUATION_ROWS):
        x, labels = rows.batch(tf.range(start, min(start + EVALUATION_ROWS, len(rows.y))))
        right.append(tf.equal(tf.argmax(forward(x, weights)[1], -1, tf.int32), labels).numpy())
    return np.concatenate(right)
