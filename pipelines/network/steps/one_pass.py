"""The update of large kernels in one pass over their memory: decay, adam and average together.

Kernels of wide layers are larger than the cache, and reading and writing them takes longer than the products of a step.
TensorFlow's operations pass over them once for the decay, once for adam and twice for the average; XLA compiles one
loop for all of it, anew for each size.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from pipelines.network.optimizers import BETA1, BETA2, EPSILON, Tensor, Tensors
from pipelines.network.steps.updates import Update, apply_fused, clipped, share_of_average, update_averages


def adam_in_one_pass(kernels: Sequence[int], update: Update) -> None:
    """Updates all weights and their averages as ``apply_fused`` and ``update_averages`` do, up to rounding.

    Args:
        kernels: Places of the kernels among the weights.
        update: What is updated.
    """
    limit, decay = update.extras.gradient_clip, update.extras.weight_decay
    if limit is not None:
        gradients = clipped([tf.cast(gradient, tf.float32) for gradient in update.gradients], limit)
        update = update._replace(gradients=gradients, extras=update.extras._replace(gradient_clip=None))
    others = _part(update, [place for place in range(len(update.gradients)) if place not in kernels])
    apply_fused("adam", others)
    update_averages(others)
    large, rate, number = _part(update, kernels), update.rate, update.number
    rate_of_step = rate * tf.sqrt(1.0 - tf.pow(BETA2, number)) / (1.0 - tf.pow(BETA1, number))
    kept = None if decay is None else 1.0 - decay * rate
    share = share_of_average(update) if update.averages else None
    _compiled(large.weights, large.state, large.gradients, large.averages, rate_of_step, kept, share)


def _part(update: Update, places: Sequence[int]) -> Update:
    """Returns the update of the weights at some places."""
    return update._replace(
        weights=[update.weights[place] for place in places],
        state=[update.state[2 * place + moment] for place in places for moment in range(2)],
        gradients=[update.gradients[place] for place in places],
        averages=[update.averages[place] for place in places] if update.averages else [],
    )


@tf.function(autograph=False, reduce_retracing=True, jit_compile=True)
def _compiled(
    weights: Tensors, state: Tensors, gradients: Tensors, averages: Tensors,
    rate: Tensor, kept: Tensor | None, share: Tensor | None,
) -> None:  # fmt: skip
    for i, (weight, m, v) in enumerate(zip(weights, state[::2], state[1::2], strict=True)):
        gradient = tf.cast(gradients[i], tf.float32)
        new_m = m + (gradient - m) * (1.0 - tf.constant(BETA1))
        new_v = v + (tf.square(gradient) - v) * (1.0 - tf.constant(BETA2))
        moved = (weight if kept is None else weight * kept) - new_m * rate / (tf.sqrt(new_v) + EPSILON)
        if averages:
            averages[i].assign(averages[i] - share * (averages[i] - moved))
        weight.assign(moved)
        m.assign(new_m)
        v.assign(new_v)
