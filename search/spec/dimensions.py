"""One dimension of a search space: a fixed value, a choice or a range, and what each is to Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value, not searched; None as a learning rate is Keras's default for the trial's optimizer."""

    value: Value | None

    def __str__(self) -> str:
        return "Keras's default for the optimizer" if self.value is None else str(self.value)


@dataclass(frozen=True, slots=True)
class Choice:
    """A list of values without an order."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included: integers where ``low`` is one.

    Attributes:
        low: The smallest value.
        high: The largest value; where ``step`` does not lead to it, the last step before it.
        log: Whether values are drawn evenly on a logarithmic scale; excludes ``step``.
        step: Distance between two values; None means 1 for integers and none for floats.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __str__(self) -> str:
        return f"from {self.low} to {self.high}" + (f" in steps of {self.step}" if self.step else "")


Dimension = Fixed | Choice | Range


def distribution(dimension: Choice | Range) -> BaseDistribution:
    """Optuna's distribution of a searched dimension."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if step is not None:  # Optuna would move high down to the last step too, but with a warning
        start, stride = Decimal(str(low)), Decimal(str(step))
        high = type(low)(start + (Decimal(str(high)) - start) // stride * stride)
    if isinstance(low, int):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


def values(dimension: Dimension) -> list[Any] | None:
    """Every value of a dimension, None where it is continuous."""
    if not isinstance(dimension, Range):
        return [dimension.value] if isinstance(dimension, Fixed) else list(dimension.values)
    n_values = count(dimension)
    kind, low, step = type(dimension.low), Decimal(str(dimension.low)), Decimal(str(dimension.step or 1))
    return None if n_values is None else [kind(low + i * step) for i in range(n_values)]


def count(dimension: Dimension) -> int | None:
    """Number of values of a dimension, None where it is continuous."""
    if not isinstance(dimension, Range):
        return 1 if isinstance(dimension, Fixed) else len(dimension.values)
    inner = distribution(dimension)
    if inner.low == inner.high:
        return 1
    return None if inner.step is None else round((inner.high - inner.low) / inner.step) + 1


def contains(dimension: Dimension, value: Any) -> bool:
    """Whether a value of the dimension's type lies in it."""
    if not isinstance(dimension, Range):
        return value in (values(dimension) or ())
    inner = distribution(dimension)
    steps = (value - inner.low) / (inner.step or 1)
    return inner.low <= value <= inner.high and (inner.step is None or abs(steps - round(steps)) < 1e-8)


def suggest(trial: BaseTrial, name: str, dimension: Choice | Range) -> Any:
    """Asks a trial for a value of the dimension."""
    inner = distribution(dimension)
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, inner.choices)
    draw = trial.suggest_int if isinstance(dimension.low, int) else trial.suggest_float
    return draw(name, inner.low, inner.high, log=inner.log, step=inner.step)


def as_floats(dimension: Dimension) -> Dimension:
    """The same dimension in floats: 0 and 0.0 are one value, but two distributions and two JSONs."""
    if isinstance(dimension, Range):
        step = None if dimension.step is None else float(dimension.step)
        return Range(float(dimension.low), float(dimension.high), dimension.log, step)
    if isinstance(dimension, Choice):
        return Choice(tuple(map(float, dimension.values)))
    return Fixed(None if dimension.value is None else float(dimension.value))


def to_json(dimension: Dimension) -> Any:
    """The dimension as a study file writes it: a value, a list or a table."""
    if isinstance(dimension, Range):
        return {key: value for key, value in asdict(dimension).items() if value is not None}
    return dimension.value if isinstance(dimension, Fixed) else list(dimension.values)


def from_json(value: Any) -> Dimension:
    """Reads what ``to_json`` wrote."""
    if isinstance(value, Mapping):
        return Range(**value)
    return Choice(tuple(value)) if isinstance(value, list) else Fixed(value)
