"""Weight updates inside the compiled epoch: TensorFlow's fused kernels, or Keras's own optimizer.

A fused kernel reads and writes each weight once an update, where the Keras object takes several operations.
Formulas and constants are Keras's defaults; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import tensorflow as tf

from pipelines.config import FUSED_OPTIMIZERS, Hyperparameters, default_decay
from pipelines.errors import TrainingError

if TYPE_CHECKING:
    import keras

Tensor: TypeAlias = "tf.Tensor | tf.Variable"
Tensors: TypeAlias = Sequence[Tensor]


def weight_decay(hp: Hyperparameters) -> float:
    """Returns the weight decay of a configuration: of adamw Keras's own where none is given."""
    if hp.weight_decay is None:
        return default_decay(hp.optimizer)
    return float(hp.weight_decay)


class Step(NamedTuple):
    """One step of a training.

    Attributes:
        rate: Learning rate, float32.
        number: From 1, float32.
        momentum: Of sgd; None for 0.
    """

    rate: Tensor
    number: Tensor
    momentum: Tensor | None = None


def _sgd(weight: Tensor, state: Tensors, gradient: Tensor, step: Step) -> None:  # noqa: ARG001
    tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=step.rate, delta=gradient)


def _momentum(weight: Tensor, state: Tensors, gradient: Tensor, step: Step) -> None:
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle, accum=state[0].handle, lr=step.rate, grad=gradient, momentum=step.momentum
    )


def _rmsprop(weight: Tensor, state: Tensors, gradient: Tensor, step: Step) -> None:
    velocity, momentum = state
    tf.raw_ops.ResourceApplyRMSProp(
        var=weight.handle, ms=velocity.handle, mom=momentum.handle, lr=step.rate,
        rho=0.9, momentum=0.0, epsilon=1e-7, grad=gradient,
    )  # fmt: skip


def _adam(weight: Tensor, state: Tensors, gradient: Tensor, step: Step) -> None:
    momentum, velocity = state
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle, m=momentum.handle, v=velocity.handle, lr=step.rate,
        beta1_power=tf.pow(0.9, step.number), beta2_power=tf.pow(0.999, step.number),
        beta1=0.9, beta2=0.999, epsilon=1e-7, grad=gradient,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FusedRule:
    """One of TensorFlow's update kernels.

    Attributes:
        update: ``update(weight, state, gradient, step)`` changes the weight and its state in place.
        n_state: State arrays per weight, in the order of Keras's optimizer of that name.
        n_scratch: Further arrays per weight that the kernel needs; they start at zero and are not saved.
    """

    update: Callable[[Tensor, Tensors, Tensor, Step], None]
    n_state: int = 0
    n_scratch: int = 0


FUSED = {
    "sgd": FusedRule(_sgd),
    "momentum": FusedRule(_momentum, 1),
    "rmsprop": FusedRule(_rmsprop, 1, 1),
    "adam": FusedRule(_adam, 2),
}


def fused_name(hp: Hyperparameters) -> str | None:
    """Returns the name in ``FUSED`` of a configuration's update; None where Keras's own optimizer is needed.

    Optimizers of one kernel share their traced functions.
    """
    if hp.optimizer == "sgd" and hp.momentum:
        return "momentum"
    return FUSED_OPTIMIZERS.get(hp.optimizer)


def keras_optimizer(hp: Hyperparameters, *, with_average: bool = True) -> keras.Optimizer:
    """Returns Keras's optimizer of a configuration; what the configuration does not name is Keras's default.

    Args:
        hp: Name, learning rate, weight decay, momentum, clipping and average.
        with_average: Whether it averages the weights too, as the configuration says.

    Raises:
        TrainingError: Keras has no optimizer of that name.
    """
    import keras

    config: dict[str, Any] = {"name": hp.optimizer, "learning_rate": float(hp.learning_rate)}
    if hp.weight_decay or (hp.optimizer == "adamw" and hp.weight_decay is not None):
        config["weight_decay"] = float(hp.weight_decay)
    if hp.momentum and hp.optimizer == "sgd":
        config["momentum"] = float(hp.momentum)
    if hp.gradient_clip:
        config["global_clipnorm"] = float(hp.gradient_clip)
    if hp.ema and with_average:
        config |= {"use_ema": True, "ema_momentum": float(hp.ema)}
    try:
        return keras.optimizers.get({"class_name": hp.optimizer, "config": config})
    except ValueError as error:
        raise TrainingError(f"optimizer: must be one that Keras knows by name, got {hp.optimizer!r}") from error


def state_variables(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the variables of a built Keras optimizer, without its step count and learning rate.

    Averages of the weights come first, where it has them.
    """
    return list(optimizer.variables[2:])
