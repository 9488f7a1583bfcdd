"""One epoch as one compiled function: shuffled batches, forward, backward and update without a return to Python.

The gradient is written by hand: for a dense layer it is two matrix products, so a step needs neither a tape nor a
Keras call. Shapes are left open, so one traced function serves every width, batch size and learning rate of its
depth: a worker traces a few functions instead of one per trial, and its memory does not grow with its trials.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import tensorflow as tf

from pipelines.training.optimizers import FUSED, Tensor, Tensors
from pipelines.training.streams import dropout_seed

EVALUATION_ROWS = 2048
"""Rows of one evaluation step: large enough for the matrix product, small enough for the cache."""


class Rows(NamedTuple):
    """Inputs and targets as TensorFlow holds them, and the affine map that scales the inputs.

    Attributes:
        x: (n_rows, n_features) uint8 or float32, as the source holds them.
        y: (n_rows,) int32 class numbers, or float32 standardized targets.
        slope: float32 scalar, or (n_features,).
        offset: float32 scalar, or (n_features,); a network sees ``x * slope + offset``.
        weight: (n_rows,) float32 factors of the rows' losses; None leaves them out of the function.
    """

    x: Tensor
    y: Tensor
    slope: Tensor
    offset: Tensor
    weight: Tensor | None = None

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns the scaled inputs, the targets and the weights of the rows at ``index``."""
        x = tf.cast(tf.gather(self.x, index), tf.float32) * self.slope + self.offset
        return x, tf.gather(self.y, index), None if self.weight is None else tf.gather(self.weight, index)


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
        The input of each layer, and the outputs (n_rows, n_outputs): logits, or one standardized value.
    """
    inputs = [x]
    for layer in range(len(weights) // 2 - 1):
        hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(inputs[-1], weights[2 * layer]), weights[2 * layer + 1]))
        inputs.append(dropout(hidden, layer) if dropout else hidden)
    return inputs, tf.nn.bias_add(tf.matmul(inputs[-1], weights[-2]), weights[-1])


def backward(error: Tensor, inputs: Tensors, weights: Tensors, dropout: Dropout | None = None) -> list[Tensor]:
    """Computes the gradient of the loss by each weight.

    Args:
        error: (n_rows, n_outputs), gradient of the loss by the outputs.
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


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if tf.config.list_physical_devices("GPU"):  # the fused kernel has no deterministic version on a GPU
        truth, shares = tf.one_hot(labels, tf.shape(logits)[1]), tf.nn.log_softmax(logits)
        return -tf.reduce_sum(truth * shares, -1), tf.exp(shares) - truth
    losses, error = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=labels)
    return losses, error


def _mse(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = outputs - targets[:, None]
    return tf.square(difference[:, 0]), 2.0 * difference


def _mae(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = outputs - targets[:, None]
    return tf.abs(difference[:, 0]), tf.sign(difference)


def _huber(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = outputs - targets[:, None]
    size = tf.abs(difference[:, 0])
    return tf.where(size <= 1.0, 0.5 * size * size, size - 0.5), tf.clip_by_value(difference, -1.0, 1.0)


LOSSES = {"cross_entropy": _cross_entropy, "mse": _mse, "mae": _mae, "huber": _huber}
"""The (n_rows,) losses of outputs and targets, and their gradients by the outputs, as Keras's losses of that name."""


def _scores(loss: str, outputs: Tensor, targets: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the summed loss, the number of right rows (0 in a regression), and the gradient by the outputs."""
    losses, error = LOSSES[loss](outputs, targets)
    if weight is not None:
        losses, error = losses * weight, error * weight[:, None]
    if loss != "cross_entropy":
        return tf.reduce_sum(losses), tf.constant(0.0), error
    right = tf.equal(tf.argmax(outputs, -1, tf.int32), targets)
    return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, tf.float32)), error


Apply = Callable[[Tensors, Tensors, Tensors, Tensor, Tensor], None]
"""apply(weights, state, gradients, rate, step): one update of all weights."""


def build_epoch(apply: Apply, *, with_dropout: bool, loss: str) -> tf.types.experimental.PolymorphicFunction:
    """Builds the function that trains one epoch.

    Args:
        apply: Updates the weights.
        with_dropout: Whether masks are drawn.
        loss: One of ``LOSSES``.

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

        def step(i: Tensor, total: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            index = order[i * batch_size : tf.minimum((i + 1) * batch_size, n_rows)]
            x, targets, weight = rows.batch(index)
            dropout = Dropout(dropout_rate, seed, i) if with_dropout else None
            inputs, outputs = forward(x, weights, dropout)
            batch_loss, batch_right, error = _scores(loss, outputs, targets, weight)
            gradients = backward(error / tf.cast(tf.size(targets), tf.float32), inputs, weights, dropout)
            apply(weights, state, gradients, rates[i], tf.cast(first_step + i, tf.float32))
            return i + 1, total + batch_loss, right + batch_right

        _, total, right = tf.while_loop(
            lambda i, total, _: (i < tf.size(rates)) & tf.math.is_finite(total),
            step, (0, 0.0, 0.0), parallel_iterations=1,
        )  # fmt: skip
        return total / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32)

    return epoch


@cache
def fused_epoch(
    optimizer: str, depth: int, *, with_dropout: bool, loss: str
) -> tf.types.experimental.PolymorphicFunction:
    """Returns the epoch function of one of ``FUSED``'s optimizers, built once per process and depth."""
    rule = FUSED[optimizer]
    n_slots = rule.n_state + rule.n_scratch

    def apply(weights: Tensors, state: Tensors, gradients: Tensors, rate: Tensor, step: Tensor) -> None:
        for i in range(2 * (depth + 1)):
            rule.update(weights[i], state[i * n_slots : (i + 1) * n_slots], gradients[i], rate, step)

    return build_epoch(apply, with_dropout=with_dropout, loss=loss)


@cache
def build_evaluation(loss: str, *, keep_outputs: bool) -> tf.types.experimental.PolymorphicFunction:
    """Builds the function that evaluates a network, once per process and loss.

    Args:
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
            x, targets, weight = rows.batch(tf.range(start, tf.minimum(start + EVALUATION_ROWS, n_rows)))
            outputs = forward(x, weights)[1]
            batch_loss, batch_right, _ = _scores(loss, outputs, targets, weight)
            kept = kept.write(start // EVALUATION_ROWS, outputs) if keep_outputs else kept
            return start + EVALUATION_ROWS, total + batch_loss, right + batch_right, kept

        # The blocks differ in their number of rows: the last is shorter.
        kept = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=(None, None))
        kept = kept if keep_outputs else tf.constant(0.0)
        _, total, right, kept = tf.while_loop(
            lambda start, *_: start < n_rows, step, (0, 0.0, 0.0, kept), parallel_iterations=1
        )
        outputs = kept.concat() if keep_outputs else tf.zeros((0, 1))
        return total / tf.cast(n_rows, tf.float32), right / tf.cast(n_rows, tf.float32), outputs

    return evaluate
