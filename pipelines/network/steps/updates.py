"""The steps around the update of each weight: clipping of the gradient, decay of the weights, their moving average.

The order is that of Keras's optimizers: clip, decay, update, average; but norms are limited before the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from pipelines.config import Hyperparameters
from pipelines.network.optimizers import FUSED, Step, Tensor, Tensors, fused_name, weight_decay
from pipelines.network.steps.pictures import Pictures


class Extras(NamedTuple):
    """The additions of a configuration to a step, as tensors; None leaves one out of the function.

    Attributes:
        weight_decay: Share of each weight, kernel or bias, that an update of rate 1 takes away.
        momentum: Of sgd.
        gradient_clip: Largest norm of the gradients of all weights together.
        ema: Momentum of the average of the weights.
        smoothing: Share of the target of a row that is spread over all classes.
        pictures: How the rows of a step are moved.
    """

    weight_decay: Tensor | None = None
    momentum: Tensor | None = None
    gradient_clip: Tensor | None = None
    ema: Tensor | None = None
    smoothing: Tensor | None = None
    pictures: Pictures | None = None

    @classmethod
    def of(cls, hp: Hyperparameters, input_shape: tuple[int, ...]) -> Extras:
        """Returns those of a configuration. Keras's own optimizer decays and clips by itself."""
        is_fused = fused_name(hp) is not None
        return cls(
            weight_decay=scalar(weight_decay(hp)) if is_fused else None,
            momentum=scalar(hp.momentum) if hp.optimizer == "sgd" else None,
            gradient_clip=scalar(hp.gradient_clip) if is_fused else None,
            ema=scalar(hp.ema),
            smoothing=scalar(hp.label_smoothing),
            pictures=Pictures.of(hp, input_shape),
        )


class Update(NamedTuple):
    """The arrays that an update of the weights reads and changes, and the step that it belongs to.

    Attributes:
        weights: Of a network, or with a first axis of networks; those that are trained are the first ones.
        state: As ``FusedRule.update`` has it.
        gradients: By each trained weight.
        averages: Of the trained weights; empty where the configuration has none.
        rate: Learning rate of the step.
        number: Of the step, a float32 from 1.
        extras: Of the configuration.
    """

    weights: Tensors
    state: Tensors
    gradients: Tensors
    averages: Tensors
    rate: Tensor
    number: Tensor
    extras: Extras

    @property
    def step(self) -> Step:
        """The step, as a rule takes it."""
        return Step(self.rate, self.number, self.extras.momentum)


def scalar(value: float | None) -> Tensor | None:
    """Returns a float32 scalar; None for None and for 0, which changes nothing."""
    return tf.constant(value, tf.float32) if value else None


def apply_fused(rule: str, update: Update) -> None:
    """Updates all weights as Keras's optimizers do, but not their averages.

    Args:
        rule: Its name in ``FUSED``.
        update: What is updated.
    """
    gradients, extras = update.gradients, update.extras
    if extras.gradient_clip is not None:
        gradients = clipped(gradients, extras.gradient_clip)
    if extras.weight_decay is not None:
        share = 1.0 - extras.weight_decay * update.rate
        for weight in update.weights[: len(gradients)]:
            weight.assign(weight * share)  # takes over the product, without a copy
    FUSED[rule].update(update.weights, update.state, gradients, update.step)


def clipped(gradients: Sequence[Tensor], limit: Tensor) -> list[Tensor]:
    """Scales gradients down to a global norm, as ``global_clipnorm`` of Keras's optimizers does.

    A norm that is not finite makes the gradients NaN, and the loss after them.

    Args:
        gradients: Of a network, the last that of the output's bias; or with a first axis of networks, each of which
            has a norm of its own.
        limit: The largest norm.
    """
    if gradients[-1].shape.rank == 1:
        norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
        scale = _scale(norm, limit)
        return [gradient * scale for gradient in gradients]
    axes = [list(range(1, gradient.shape.rank)) for gradient in gradients]
    squares = [tf.reduce_sum(tf.square(gradient), own) for gradient, own in zip(gradients, axes, strict=True)]
    scale = _scale(tf.sqrt(tf.add_n(squares)), limit)
    return [g * tf.reshape(scale, [-1] + [1] * len(own)) for g, own in zip(gradients, axes, strict=True)]


def _scale(norm: Tensor, limit: Tensor) -> Tensor:
    return limit * tf.minimum(1.0 / norm, 1.0 / limit) + (norm - norm)  # the difference is NaN for an infinite norm


def update_averages(update: Update) -> None:
    """Moves the averages of the weights towards the weights after a step, where the configuration has them.

    ``average = momentum * average + (1 - momentum) * weight``, as ``use_ema`` of Keras's optimizers has it, but with a
    momentum of at most ``(t - 1) / (t + 8)`` in step ``t``. Weights move fastest in the first steps; there the average
    is about that of the last tenth of the steps, so that it is worth validating from the first epoch on. Keras's own
    would hold on to the weights of the first step for ``1 / (1 - momentum)`` steps.
    """
    if not update.averages:
        return
    share = share_of_average(update)
    for average, weight in zip(update.averages, update.weights, strict=False):
        tf.raw_ops.ResourceApplyGradientDescent(var=average.handle, alpha=share, delta=average - weight)


def share_of_average(update: Update) -> Tensor:
    """Returns by which share of the way an average moves towards its weight in a step."""
    number = update.number
    return 1.0 - tf.minimum(update.extras.ema, (number - 1.0) / (number + 8.0))
