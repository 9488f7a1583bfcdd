"""Losses, their gradients by the outputs, and the accuracy of a batch."""

from __future__ import annotations

import tensorflow as tf

from pipelines.network.layers import uses_gpu
from pipelines.network.optimizers import Tensor


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if uses_gpu():  # the fused kernel has no deterministic version there
        truth, shares = tf.one_hot(labels, tf.shape(logits)[1]), tf.nn.log_softmax(logits)
        return -tf.reduce_sum(truth * shares, -1), tf.exp(shares) - truth
    losses, error = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=labels)
    return losses, error


def _smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy with targets of which ``smoothing`` is spread evenly over the classes, as Keras has it."""
    n_classes = tf.shape(logits)[1]
    share = smoothing / tf.cast(n_classes, tf.float32)
    truth = tf.one_hot(labels, n_classes, 1.0 - smoothing + share, share)
    if uses_gpu():
        shares = tf.nn.log_softmax(logits)
        return -tf.reduce_sum(truth * shares, -1), tf.exp(shares) - truth
    losses, error = tf.raw_ops.SoftmaxCrossEntropyWithLogits(features=logits, labels=truth)
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


def row_losses(
    loss: str, outputs: Tensor, targets: Tensor, weight: Tensor | None, smoothing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Computes the losses of rows and the gradient of their sum.

    Args:
        loss: One of ``LOSSES``.
        outputs: (..., n_rows, n_outputs).
        targets: (..., n_rows).
        weight: (..., n_rows) factors of the losses; None for 1.
        smoothing: Share of the target of a cross-entropy that is spread over all classes; None for 0.

    Returns:
        The (..., n_rows) losses, and the gradient by the outputs in their shape.
    """
    rows, are_packed = (outputs, targets), outputs.shape.rank > 2
    if are_packed:
        shape = outputs.shape if outputs.shape.is_fully_defined() else tf.shape(outputs)
        rows = tf.reshape(outputs, (-1, shape[-1])), tf.reshape(targets, (-1,))
    losses, error = LOSSES[loss](*rows) if smoothing is None else _smoothed_cross_entropy(*rows, smoothing)
    if are_packed:
        losses, error = tf.reshape(losses, tf.shape(targets)), tf.reshape(error, shape)
    if weight is not None:
        losses, error = losses * weight, error * weight[..., None]
    return losses, error


def count_right(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Returns the (...) float32 numbers of rows whose largest output is their class; 0 in a regression."""
    if loss != "cross_entropy":
        return tf.zeros(tf.shape(targets)[:-1])
    right = tf.equal(tf.argmax(outputs, -1, targets.dtype), targets)
    return tf.reduce_sum(tf.cast(right, tf.float32), -1)
