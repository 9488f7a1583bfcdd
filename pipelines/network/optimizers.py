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

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7
"""Of adam."""

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


@dataclass(frozen=True, slots=True)
class FusedRule:
    """One of TensorFlow's update kernels.

    Attributes:
        kernel: Changes a weight and its state in place.
        gradient: The kernel's name of the gradient.
        arguments: ``arguments(step)``, what is the same for all weights: in the traced function it stands once.
        state: The kernel's names of its state arrays per weight, in the order of Keras's optimizer of that name.
        scratch: Of further arrays per weight that it needs; they start at zero and are not saved.
    """

    kernel: Callable[..., None]
    gradient: str
    arguments: Callable[[Step], dict[str, Tensor]]
    state: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()

    def update(self, weights: Tensors, state: Tensors, gradients: Tensors, step: Step) -> None:
        """Updates all weights; ``state`` has ``state`` and ``scratch`` arrays for each weight in turn."""
        names, arguments = (*self.state, *self.scratch), self.arguments(step)
        for i, (weight, gradient) in enumerate(zip(weights, gradients, strict=False)):
            own = state[i * len(names) : (i + 1) * len(names)]
            handles = {name: array.handle for name, array in zip(names, own, strict=True)}
            self.kernel(var=weight.handle, **handles, **arguments, **{self.gradient: gradient})


def _constants(**values: float) -> dict[str, Tensor]:
    return {name: tf.constant(value) for name, value in values.items()}


def _adam(step: Step) -> dict[str, Tensor]:
    powers = {"beta1_power": tf.pow(BETA1, step.number), "beta2_power": tf.pow(BETA2, step.number)}
    return {"lr": step.rate, **powers, **_constants(beta1=BETA1, beta2=BETA2, epsilon=EPSILON)}


_OPS = tf.raw_ops
FUSED = {
    "sgd": FusedRule(_OPS.ResourceApplyGradientDescent, "delta", lambda step: {"alpha": step.rate}),
    "momentum": FusedRule(
        _OPS.ResourceApplyKerasMomentum, "grad", lambda step: {"lr": step.rate, "momentum": step.momentum}, ("accum",)
    ),
    "rmsprop": FusedRule(
        _OPS.ResourceApplyRMSProp, "grad",
        lambda step: {"lr": step.rate, **_constants(rho=0.9, momentum=0.0, epsilon=EPSILON)}, ("ms",), ("mom",),
    ),
    "adam": FusedRule(_OPS.ResourceApplyAdam, "grad", _adam, ("m", "v")),
}  # fmt: skip


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
