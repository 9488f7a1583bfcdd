"""Batch and layer normalization, with gradients that pass over the values as few times as they can.

Formulas and constants are those of Keras's layers of that name; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pipelines.network.optimizers import Tensor, Tensors

EPSILON = 1e-3
MOMENTUM = 0.99
"""Of the moving mean and variance of batch normalization, after some hundred steps."""

Gradient = Callable[..., tuple[Tensor, ...]]


@tf.custom_gradient
def batch_normalized(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[tuple[Tensor, ...], Gradient]:
    """Normalizes each unit over the rows of a batch.

    Args:
        x: (..., n_rows, width).
        gamma: (..., width) factors of the normalized values.
        beta: (..., width) added to them.

    Returns:
        The values (..., n_rows, width), and mean and variance (..., width) of ``x``.
    """
    mean = tf.reduce_mean(x, -2, keepdims=True)
    centered = x - mean
    variance = tf.reduce_mean(tf.square(centered), -2, keepdims=True)
    inverse = tf.math.rsqrt(variance + EPSILON)
    factor = inverse * tf.expand_dims(gamma, -2)

    def gradient(error: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        n_rows = tf.cast(tf.shape(x)[-2], tf.float32)
        of_beta = tf.reduce_sum(error, -2, keepdims=True)
        of_gamma = tf.reduce_sum(error * centered, -2, keepdims=True) * inverse
        back = error - of_beta / n_rows - centered * (of_gamma * inverse / n_rows)
        return back * factor, tf.squeeze(of_gamma, -2), tf.squeeze(of_beta, -2)

    values = centered * factor + tf.expand_dims(beta, -2)
    return (values, tf.squeeze(mean, -2), tf.squeeze(variance, -2)), gradient


def move_moments(moving: Tensors, of_batch: Tensors, number: Tensor, share: Tensor) -> None:
    """Moves moving means and variances in place towards those of a batch.

    The momentum is Keras's, but at most ``(t - 1) / (t + 8)`` in step ``t``, so that each is a mean of batches from the
    first one on. Keras's own would hold on to a mean of 0 and a variance of 1, which no batch had, for hundreds of
    steps, and small data has few of them: its validation would measure that. A batch with fewer rows than the others,
    the last of an epoch, counts less by as much: it may be a single row, whose variance is 0.

    Args:
        moving: (..., width) variables.
        of_batch: (..., width) of the batch, in their order.
        number: Of the step, a float32 from 1.
        share: The batch's rows as a share of those of a full batch, a float32.
    """
    momentum = tf.minimum(MOMENTUM, (number - 1.0) / (number + 8.0))
    weight = (1.0 - momentum) * share
    rest = 1.0 - weight
    for held, new in zip(moving, of_batch, strict=True):
        held.assign(held * rest + new * weight)


def with_moments(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Normalizes (..., n_rows, width) values by given moments (..., width), as batch normalization predicts."""
    factor = tf.math.rsqrt(variance + EPSILON) * gamma
    return x * tf.expand_dims(factor, -2) + tf.expand_dims(beta - mean * factor, -2)


def layer_normalized(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalizes (..., n_rows, width) values of each row over its units, then scales and shifts each unit."""
    values: Tensor = _over_units(x)
    return values * tf.expand_dims(gamma, -2) + tf.expand_dims(beta, -2)


@tf.custom_gradient
def _over_units(x: Tensor) -> tuple[Tensor, Gradient]:
    centered = x - tf.reduce_mean(x, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centered), -1, keepdims=True) + EPSILON)
    values = centered * inverse

    def gradient(error: Tensor) -> Tensor:
        along = tf.reduce_mean(error * values, -1, keepdims=True)
        return (error - tf.reduce_mean(error, -1, keepdims=True) - values * along) * inverse

    return values, gradient
