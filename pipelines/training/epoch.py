"""One epoch as one compiled function: shuffled batches, forward, backward and update without a return to Python.

The layers are written out: a dense network's gradient is two matrix products a layer, so neither a tape nor a
Keras call is needed, and a step is little else than its matrix products. Shapes are left open, so a function traced
once serves every width, batch size and learning rate of its depth: a worker traces a handful of functions in its
life instead of one a trial, and does not grow with the trials it trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import tensorflow as tf

from pipelines.training.optimizers import FUSED

EVALUATION_ROWS = 2048
"""Rows of one evaluation step: large enough for the matrix product, small enough for the cache."""


class Rows(NamedTuple):
    """Inputs and labels as TensorFlow holds them, with the affine map that scales the inputs.

    Attributes:
        x: (n_rows, n_features) uint8 or float32, as the source holds them.
        y: (n_rows,) int32.
        slope: float32 scalar, or (n_features,).
        offset: float32 scalar, or (n_features,); a network sees ``x * slope + offset``.
    """

    x: Any
    y: Any
    slope: Any
    offset: Any

    def batch(self, index: Any) -> tuple[Any, Any]:
        """The scaled inputs and the labels of the rows that ``index`` names."""
        x = tf.cast(tf.gather(self.x, index), tf.float32) * self.slope + self.offset
        return x, tf.gather(self.y, index)


class Dropout(NamedTuple):
    """Dropout of one step.

    Attributes:
        rate: Share of units that are dropped; None leaves dropout out of the function.
        seed: (2,) int64, another for each epoch.
        step: Scalar int32; each step and layer draws its own mask.
    """

    rate: Any
    seed: Any
    step: Any

    def __call__(self, hidden: Any, layer: int) -> Any:
        """Zeroes a share of ``hidden`` (n_rows, width) and scales up the rest.

        A mask needs no 24 random bits a unit: 16 give the rate to 1/65,536 in half the time.
        """
        count = tf.size(hidden)
        seed = self.seed + tf.cast(tf.stack([0, self.step * 64 + layer]), tf.int64)
        bits = tf.random.stateless_uniform([(count + 1) // 2], seed, None, None, tf.int32)
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count]
        kept = tf.reshape(bits >= tf.cast(self.rate * 65536.0, tf.uint16), tf.shape(hidden))
        return hidden * (tf.cast(kept, tf.float32) * self.scale)

    @property
    def scale(self) -> Any:
        """What the kept units are multiplied with, so that the expected sum stays."""
        return 1.0 / (1.0 - self.rate)


def forward(x: Any, weights: Sequence[Any], dropout: Dropout | None = None) -> tuple[list[Any], Any]:
    """Runs the network.

    Args:
        x: (n_rows, n_features) float32, scaled.
        weights: A kernel (n_in, n_out) and a bias (n_out,) for each layer, input to output.
        dropout: What is applied after each hidden layer.

    Returns:
        The input of each layer, and the logits (n_rows, n_classes).
    """
    inputs = [x]
    for layer in range(len(weights) // 2 - 1):
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(inputs[-1], weights[2 * layer]), weights[2 * layer + 1]))
        inputs.append(dropout(hidden, layer) if dropout else hidden)
    return inputs, tf.nn.bias_add(tf.matmul(inputs[-1], weights[-2]), weights[-1])


def backward(error: Any, inputs: Sequence[Any], weights: Sequence[Any], dropout: Dropout | None = None) -> list[Any]:
    """The gradient of each weight.

    Args:
        error: (n_rows, n_classes), the loss's gradient by the logits.
        inputs: What ``forward`` returned.
        weights: As in ``forward``.
        dropout: The one that ``forward`` applied.

    Returns:
        One gradient a weight, in the order of ``weights``.
    """
    gradients: list[Any] = []
    for layer in reversed(range(len(inputs))):
        bias = tf.raw_ops.BiasAddGrad(out_backprop=error)
        gradients[:0] = [tf.matmul(inputs[layer], error, transpose_a=True), bias]
        if layer:
            error = tf.matmul(error, weights[2 * layer], transpose_b=True)
            # A dropped unit is zero, as one that ReLU closed is: one kernel holds back the gradient of both.
            error = tf.raw_ops.ReluGrad(gradients=error, features=inputs[layer])
            error = error * dropout.scale if dropout else error
    return gradients


def _scores(logits: Any, labels: Any) -> tuple[Any, Any, Any]:
    """Summed cross-entropy, number of right answers, and the loss's gradient by the logits."""
    if tf.config.list_physical_devices("GPU"):  # whose fused kernel refuses to run where operations are deterministic
        truth, shares = tf.one_hot(labels, tf.shape(logits)[1]), tf.nn.log_softmax(logits)
        losses, error = -tf.reduce_sum(truth * shares, -1), tf.exp(shares) - truth
    else:
        losses, error = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=labels)
    right = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32)), error


Apply = Callable[[Sequence[Any], Sequence[Any], Sequence[Any], Any, Any], None]
"""apply(weights, state, gradients, rate, step): one update of all weights."""


def build_epoch(apply: Apply, *, with_dropout: bool) -> Any:
    """Builds the function that trains one epoch.

    Args:
        apply: Updates the weights.
        with_dropout: Whether a mask is drawn at all.

    Returns:
        ``epoch(rows, order, batch_size, weights, state, rates, first_step, dropout_rate, seed)``, which changes
        weights and state in place and gives mean loss and accuracy over the epoch's batches. It leaves off at the
        first batch whose loss is not finite.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def epoch(
        rows: Rows, order: Any, batch_size: Any, weights: Any, state: Any, rates: Any, first_step: Any,
        dropout_rate: Any, seed: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        n_rows = tf.size(order)

        def step(i: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
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
def fused_epoch(optimizer: str, depth: int, *, with_dropout: bool) -> Any:
    """The epoch function of one of ``FUSED``'s optimizers, built once a process for each depth."""
    rule = FUSED[optimizer]
    n_slots = rule.n_state + rule.n_scratch

    def apply(weights: Any, state: Any, gradients: Any, rate: Any, step: Any) -> None:
        for i in range(2 * (depth + 1)):
            rule.update(weights[i], state[i * n_slots : (i + 1) * n_slots], gradients[i], rate, step)

    return build_epoch(apply, with_dropout=with_dropout)


@tf.function(autograph=False, reduce_retracing=True)
def evaluate(rows: Rows, weights: Any) -> tuple[Any, Any]:
    """Mean loss and accuracy over all rows, without dropout."""
    n_rows = tf.size(rows.y)

    def step(start: Any, loss: Any, right: Any) -> tuple[Any, Any, Any]:
        x, labels = rows.batch(tf.range(start, tf.minimum(start + EVALUATION_ROWS, n_rows)))
        batch_loss, batch_right, _ = _scores(forward(x, weights)[1], labels)
        return start + EVALUATION_ROWS, loss + batch_loss, right + batch_right

    _, loss, right = tf.while_loop(lambda i, *_: i < n_rows, step, (0, 0.0, 0.0), parallel_iterations=1)
    return loss / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32)
