"""The trials of a study as charts draw them: their values, their places on each axis, and their states."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from pipelines.errors import InputError
from pipelines.objectives import Objective
from search.home.text import value_text
from search.optimization.leaderboard import TrialRow, objective_of, trial_row
from search.reporting.trial_table import short

_MOST_TICKS = 6
_FEW, _SPREADS = 10, 4.0
"""An axis shows all of fewer trials; of others the best one and so many times its distance to the median."""
_LABELS_LENGTH = 20
"""Characters of the labels of a logarithmic axis, which may be that of a small panel."""
_MANY = 7
"""Whole numbers of a range that each have a tick; ranges of more have ticks at round numbers."""


class TooFewTrialsError(InputError):
    """A chart that cannot be drawn of these trials; the message says what it needs."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trial of a chart.

    Attributes:
        row: Its row in the leaderboard.
        trial: Its record in Optuna.
    """

    row: TrialRow
    trial: FrozenTrial

    @property
    def value(self) -> float:
        """Its best objective, which ``StudyPoints.measured`` makes sure of."""
        assert self.row.value is not None
        return self.row.value

    @property
    def is_complete(self) -> bool:
        """Whether it trained to its last epoch."""
        return self.row.state == "COMPLETE"

    @property
    def words(self) -> str:
        """The trial in a few lines of a hover text: number, state, value and configuration."""
        return f"{self.brief}<br>{escaped(short(self.row.params))}"

    @property
    def brief(self) -> str:
        """Number, state and value."""
        value = "" if self.row.value is None else f", {value_text(self.row.value)}"
        return f"trial {self.row.number}, {self.row.state.lower()}{value}"


Points: TypeAlias = Sequence[Point]
"""Trials in the order of their numbers."""


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


@dataclass(frozen=True)
class StudyPoints:
    """What charts draw.

    Attributes:
        name: The study.
        objective: Its validation metric.
        points: Every trial.
        elapsed_s: Duration of the study's runs together.
    """

    name: str
    objective: Objective
    points: Points
    elapsed_s: float

    @cached_property
    def measured(self) -> Points:
        """The trials that ended with a value."""
        ended = [point for point in self.points if point.trial.state.is_finished() and point.row.state != "FAIL"]
        return [point for point in ended if point.row.value is not None and math.isfinite(point.row.value)]

    @cached_property
    def n_pruned(self) -> int:
        """How many of these were pruned."""
        return sum(not point.is_complete for point in self.measured)

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """The hyperparameters that do not have the same value in all of these."""
        names = dict.fromkeys(name for point in self.measured for name in point.trial.params)
        return tuple(name for name in names if len({point.trial.params.get(name) for point in self._with(name)}) > 1)

    @cached_property
    def compared(self) -> Points:
        """The trials with a value that have each of these hyperparameters."""
        return [point for point in self.measured if set(self.varied) <= set(point.trial.params)]

    @cached_property
    def edge(self) -> float | None:
        """The worst value that an axis shows; None where it shows all.

        Networks that learned nothing would leave no room for the differences between the good ones.
        """
        gains = sorted(self.objective.gain(point.value) for point in self.measured)
        if len(gains) < _FEW:
            return None
        least = gains[-1] - _SPREADS * (gains[-1] - statistics.median(gains))
        return self.objective.gain(least) if gains[0] < least < gains[-1] else None

    def is_beyond(self, value: float) -> bool:
        """Whether an axis does not reach a value."""
        return self.edge is not None and self.objective.is_better(self.edge, value)

    def shown(self, value: float) -> float:
        """The value, or the end of the axis that does not reach it."""
        return self.edge if self.edge is not None and self.is_beyond(value) else value

    @property
    def beyond_note(self) -> str:
        """What a chart says of trials that its axis does not reach; "" where there are none."""
        if self.edge is None:
            return ""
        return f" Triangles are {'below' if self.objective.maximize else 'above'} the axis; hover to see their values."

    @property
    def mark(self) -> str:
        """What a chart says of its pruned trials; "" where there are none."""
        n_pruned = sum(not point.is_complete for point in self.compared)
        if not n_pruned:
            return ""
        return f"{n_pruned} of {len(self.compared)} trials were pruned and count with the best value that they reached."

    def require(self, n_trials: int, n_dimensions: int, what: str) -> None:
        """Checks that a chart has enough to draw.

        Raises:
            TooFewTrialsError: It has not.
        """
        if len(self.compared) < n_trials:
            raise TooFewTrialsError(
                f"{what} need {n_trials} complete or pruned trials with a value; study {self.name} has"
                f" {len(self.compared)} so far."
            )
        if len(self.varied) < n_dimensions:
            rule = "a hyperparameter that varies" if n_dimensions == 1 else f"{n_dimensions} hyperparameters that vary"
            raise TooFewTrialsError(f"{what} need {rule}; study {self.name} has {len(self.varied)}.")

    def axis(self, name: str) -> Axis:
        """A hyperparameter as an axis, of the trials in ``compared``."""
        given = [point.trial.params[name] for point in self.compared]
        distribution = self.compared[0].trial.distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            return _category_axis(name, given)
        log = _is_log(distribution) and all(value > 0 for value in given)
        places = tuple(math.log10(value) if log else float(value) for value in given)
        ticks, labels = log_ticks(given) if log else ticks_of(given)
        return Axis(name, log, (), places, ticks, labels)

    def _with(self, name: str) -> Points:
        return [point for point in self.measured if name in point.trial.params]


def study_points(study: optuna.Study) -> StudyPoints:
    """Reads the trials of a study."""
    from search.storage.attributes import ELAPSED

    attributes, trials = study.user_attrs, study.get_trials(deepcopy=False)
    points = [Point(trial_row(trial, attributes), trial) for trial in trials]
    return StudyPoints(study.study_name, objective_of(attributes), points, float(attributes.get(ELAPSED, 0.0)))


def _is_log(distribution: BaseDistribution) -> bool:
    return bool(getattr(distribution, "log", False))


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
    for step in _round_steps((high - low) / 20):
        numbers = range(math.ceil((low - room) / step), math.floor((high + room) / step) + 1)
        if len(numbers) <= _MOST_TICKS:
            break
    if not numbers:
        return (low, high), (f"{low:,.6g}", f"{high:,.6g}")
    return tuple(number * step for number in numbers), tuple(f"{number * step:,.6g}" for number in numbers)


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


def _round_steps(least: float) -> Iterator[float]:
    """1, 2 and 5 times powers of ten, from a least one on."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    while True:
        yield from (digit * power for digit in (1, 2, 5) if digit * power >= least)
        power *= 10


def escaped(text: str) -> str:
    """A text of the data for a figure, which reads a few tags of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
