"""A hyperparameter as an axis of a chart: the places of its values, and round ticks."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution

_MOST_TICKS = 6
_LABELS_LENGTH = 20
"""Characters of the labels of a logarithmic axis, which may be that of a small panel."""
_MANY = 7
"""Whole numbers of a range that each have a tick; ranges of more have ticks at round numbers."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A hyperparameter as an axis of a chart.

    Attributes:
        name: The hyperparameter.
        log: Whether its scale is logarithmic.
        categories: Its values, where they have no scale: a trial's place is the index of its value. Empty otherwise.
        places: Of the trials, in their order: the value, its logarithm to base 10, or the index of a category.
        ticks: Places with a label.
        labels: Of the ticks.
    """

    name: str
    log: bool
    categories: tuple[str, ...]
    places: tuple[float, ...]
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def span(self) -> tuple[float, float]:
        """The first and the last place, with room beside categories."""
        if self.categories:
            return -0.5, len(self.categories) - 0.5
        low, high = min(self.places), max(self.places)
        room = (high - low) * 0.06 or 0.5
        return low - room, high + room


def axis_of(name: str, given: Sequence[Any], distribution: BaseDistribution) -> Axis:
    """The axis of a hyperparameter by its values, one for each trial, and its distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return _category_axis(name, given)
    log = bool(getattr(distribution, "log", False)) and all(value > 0 for value in given)
    places = tuple(math.log10(value) if log else float(value) for value in given)
    ticks, labels = log_ticks(given) if log else ticks_of(given)
    return Axis(name, log, (), places, ticks, labels)


def _category_axis(name: str, given: Sequence[object]) -> Axis:
    """Numbers in their order, texts by the alphabet."""
    distinct = sorted(set(given), key=lambda value: (isinstance(value, str), value))
    labels = tuple(escaped(_short(value)) for value in distinct)
    places = tuple(float(distinct.index(value)) for value in given)
    return Axis(
        name, log=False, categories=labels, places=places, ticks=tuple(map(float, range(len(labels)))), labels=labels
    )


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def ticks_of(given: Sequence[float]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Round numbers within the values, at most seven, and their labels."""
    low, high = min(given), max(given)
    distinct = sorted(set(given))
    if len(distinct) <= _MANY and all(float(value).is_integer() for value in distinct):
        return tuple(map(float, distinct)), tuple(f"{value:g}" for value in distinct)
    room = 0.03 * (high - low)  # a round number just beside the values
    every = MaxNLocator(_MOST_TICKS - 1, steps=(1, 2, 5, 10)).tick_values(low, high)
    values = [float(value) for value in every if low - room <= value <= high + room] or [low, high]
    return tuple(values), tuple(f"{value:,.6g}" for value in values)


def log_ticks(given: Sequence[float]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Powers of ten within the values, with numbers between them where there is room. The ticks are logarithms."""
    low, high = math.log10(min(given)), math.log10(max(given))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        every = [digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
        values = [value for value in every if low - 0.05 <= math.log10(value) <= high + 0.05]
        labels = [f"{value:.6g}" for value in values]
        if len(" ".join(labels)) <= _LABELS_LENGTH:
            break
    if not labels:
        values, labels = [min(given), max(given)], [f"{min(given):.3g}", f"{max(given):.3g}"]
    return tuple(math.log10(value) for value in values), tuple(labels)


def escaped(text: str) -> str:
    """A text of the data for a figure, which reads a few tags of HTML."""
    return html.escape(text, quote=False)
