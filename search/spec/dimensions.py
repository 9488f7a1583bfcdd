"""One dimension of a search space: a fixed value, a choice or a range, and its Optuna distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Number: TypeAlias = int | float
Value: TypeAlias = int | float | str


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Fixed:
    """One value, not searched; None as a learning rate is Keras's default for the trial's optimizer."""

    value: Value | None

    def __str__(self) -> str:
        return "Keras's default for the optimizer" if self.value is None else _text(self.value)


@dataclass(frozen=True, slots=True)
class Choice:
    """A list of values without an order."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(_text, self.values))}"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``, both included: integers if ``low`` is one.

    Attributes:
        low: The smallest value.
        high: The largest value; if ``step`` does not lead to it, the last step before it.
        log: Whether values are drawn evenly on a logarithmic scale; excludes ``step``.
        step: Distance between two values; None means 1 for integers and none for floats.
    """

    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    def __str__(self) -> str:
        scale = ", on a logarithmic scale" if self.log else ""
        return f"from {self.low} to {self.high}{scale}" + (f" in steps of {self.step}" if self.step else "")

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        """Each key of a study file whose value does not go with the others, and the rule that it breaks."""
        span = self.high - self.low
        if self.log and self.low <= 0:
            yield "low", "must be > 0 when log = true"
        if span < 0:
            yield "high", f"must be >= low = {self.low}"
        if self.step and self.log:
            yield "step", "must be left out when log = true"
        elif self.step and span >= 0:
            # Finer steps of floats drown in rounding, and a grid of them fills the memory.
            too_fine = isinstance(self.step, float) and self.step * 1e6 < span
            if self.step > span or too_fine:
                yield "step", f"must be at most high - low = {span:g} and at least a millionth of it"


Dimension: TypeAlias = Fixed | Choice | Range


def distribution(dimension: Choice | Range) -> BaseDistribution:
    """Optuna's distribution of a searched dimension."""
    # Imported here: it takes half a second, which commands that need no distribution save.
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if step is not None:  # Optuna also moves high down to the last step, but with a warning
        start, stride = Decimal(str(low)), Decimal(str(step))
        high = type(low)(start + (Decimal(str(high)) - start) // stride * stride)
    if isinstance(low, int):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


def near(dimension: Choice | Range, known: Sequence[Number]) -> BaseDistribution:
    """Optuna's distribution of a range around some of its values, and a quarter of its span beyond them.

    Choices, and ranges in steps, stay whole.
    """
    if isinstance(dimension, Choice) or dimension.step is not None:
        return distribution(dimension)
    on_scale, back = (math.log, math.exp) if dimension.log else (float, float)
    low, high = on_scale(dimension.low), on_scale(dimension.high)
    margin = (high - low) / 4
    ends = [back(max(low, on_scale(min(known)) - margin)), back(min(high, on_scale(max(known)) + margin))]
    exact = [round(end) for end in ends] if isinstance(dimension.low, int) else ends
    first, last = (min(dimension.high, max(dimension.low, end)) for end in exact)
    return distribution(Range(first, last, dimension.log))


def values(dimension: Dimension) -> list[Value | None]:
    """Every value of a dimension that is not continuous."""
    if isinstance(dimension, Fixed):
        return [dimension.value]
    return [value_at(dimension, position) for position in range(count(dimension) or 0)]


def value_at(dimension: Choice | Range, position: int) -> Value:
    """The value at a position, from 0, of a dimension that is not continuous."""
    if isinstance(dimension, Choice):
        return dimension.values[position]
    low, step = Decimal(str(dimension.low)), Decimal(str(dimension.step or 1))
    return type(dimension.low)(low + position * step)


def position_of(dimension: Choice | Range, value: Value) -> Value:
    """The position of a value of the dimension, from 0; the value itself if the dimension is continuous.

    Samplers round steps of floats in other ways than a file does: 0.30000000000000004 and 0.3 are one value.
    """
    if isinstance(dimension, Choice):
        return dimension.values.index(value)
    if isinstance(dimension.low, float) and dimension.step is None and dimension.low < dimension.high:
        return value
    return round((float(value) - dimension.low) / (dimension.step or 1))


def count(dimension: Dimension) -> int | None:
    """Number of values of a dimension, None if it is continuous."""
    if not isinstance(dimension, Range):
        return 1 if isinstance(dimension, Fixed) else len(dimension.values)
    inner = distribution(dimension)
    if inner.single():
        return 1
    return None if inner.step is None else round((inner.high - inner.low) / inner.step) + 1


def contains(dimension: Dimension, value: Value) -> bool:
    """Whether a value of the dimension's type lies in it."""
    if not isinstance(dimension, Range):
        return value in values(dimension)
    inner = distribution(dimension)
    steps = (value - inner.low) / (inner.step or 1)
    return inner.low <= value <= inner.high and (inner.step is None or abs(steps - round(steps)) < 1e-8)


def nearest(dimension: Dimension, value: Any) -> Any:
    """The number of a dimension that is nearest to a number; the value itself where there is none, or it is none."""
    if isinstance(value, bool | str):
        return value
    if not isinstance(dimension, Range):
        numbers = [n for n in values(dimension) if isinstance(n, int | float) and not isinstance(n, bool)]
        return min(numbers, key=lambda number: abs(number - value), default=value)
    inner = distribution(dimension)
    inside = min(inner.high, max(inner.low, value))
    return inside if inner.step is None else value_at(dimension, round((inside - inner.low) / inner.step))


def fitting(dimension: Dimension, value: Any) -> Any:
    """The value where it lies in the dimension, else the nearest number, else the first value."""
    moved = nearest(dimension, value)
    return moved if contains(dimension, moved) else values(dimension)[0]


def suggest(trial: BaseTrial, name: str, dimension: Choice | Range) -> Any:
    """Asks a trial for a value of the dimension."""
    inner = distribution(dimension)
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, inner.choices)
    draw = trial.suggest_int if isinstance(dimension.low, int) else trial.suggest_float
    return draw(name, inner.low, inner.high, log=inner.log, step=inner.step)


def to_json(dimension: Dimension) -> object:
    """The dimension as a study file writes it: a value, a list or a table."""
    if isinstance(dimension, Range):
        return {key: value for key, value in asdict(dimension).items() if value is not None}
    return dimension.value if isinstance(dimension, Fixed) else list(dimension.values)
