"""Weight updates inside the compiled epoch: TensorFlow's fused kernels, or Keras's own optimizer.

A fused kernel reads and writes each weight once an update, where the Keras object takes several operations.
Formulas and constants are Keras's defaults; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import tensorflow as tf

from pipelines.errors import TrainingError

if TYPE_CHECKING:
    import keras

Tensor: TypeAlias = "tf.Tensor | tf.Variable"
Tensors: TypeAlias = Sequence[Tensor]


def _sgd(weight: Tensor, state: Tensors, gradient: Tensor, rate: Tensor, step: Tensor) -> None:  # noqa: ARG001
    tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)


def _rmsprop(weight: Tensor, state: Tensors, gradient: Tensor, rate: Tensor, step: Tensor) -> None:  # noqa: ARG001
    velocity, momentum = state
    tf.raw_ops.ResourceApplyRMSProp(
        var=weight.handle, ms=velocity.handle, mom=momentum.handle, lr=rate,
        rho=0.9, momentum=0.0, epsilon=1e-7, grad=gradient,
    )  # fmt: skip


def _adam(weight: Tensor, state: Tensors, gradient: Tensor, rate: Tensor, step: Tensor) -> None:
    momentum, velocity = state
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle, m=momentum.handle, v=velocity.handle, lr=rate,
        beta1_power=tf.pow(0.9, step), beta2_power=tf.pow(0.999, step),
        beta1=0.9, beta2=0.999, epsilon=1e-7, grad=gradient,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FusedRule:
    """One of TensorFlow's update kernels.

    Attributes:
        update: ``update(weight, state, gradient, rate, step)`` changes the weight and its state in place; step is
            a float32 scalar from 1.
        n_state: State arrays per weight, in the order of Keras's optimizer of that name.
        n_scratch: Further arrays per weight that the kernel needs; they start at zero and are not saved.
    """

    update: Callable[[Tensor, Tensors, Tensor, Tensor, Tensor], None]
    n_state: int = 0
    n_scratch: int = 0


FUSED = {"sgd": FusedRule(_sgd), "rmsprop": FusedRule(_rmsprop, 1, 1), "adam": FusedRule(_adam, 2)}


def keras_optimizer(name: str, learning_rate: float) -> keras.Optimizer:
    """Returns Keras's optimizer of that name with its defaults, but for the learning rate.

    Raises:
        TrainingError: Keras has no optimizer of that name.
    """
    import keras

    try:
        config = {"name": name, "learning_rate": learning_rate}
        return keras.optimizers.get({"class_name": name, "config": config})
    except ValueError as error:
        raise TrainingError(f"optimizer: must be one that Keras knows by name, got {name!r}") from error


def state_variables(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the variables of a built Keras optimizer, without its step count and learning rate."""
    return list(optimizer.variables[2:])
