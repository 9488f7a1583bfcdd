"""The trials of a study as charts draw them: their values and their states."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import optuna
from optuna.trial import FrozenTrial

from pipelines.errors import InputError
from pipelines.objectives import Objective
from search.home.text import value_text
from search.optimization.leaderboard import TrialRow, objective_of, trial_row
from search.reporting.charts.axes import Axis, axis_of, escaped
from search.reporting.configurations import short

_FEW, _SPREADS = 10, 4.0
"""An axis shows all of fewer trials; of others the best one and so many times its distance to the median."""


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


@dataclass(frozen=True)
class StudyPoints:
    """The data of the charts.

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
        """The number of pruned trials among these."""
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
        """The note of a chart on trials beyond its axis; "" where there are none."""
        if self.edge is None:
            return ""
        return f" Triangles are {'below' if self.objective.maximize else 'above'} the axis; hover to see their values."

    @property
    def mark(self) -> str:
        """The note of a chart on its pruned trials; "" where there are none."""
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
        return axis_of(name, given, self.compared[0].trial.distributions[name])

    def _with(self, name: str) -> Points:
        return [point for point in self.measured if name in point.trial.params]


def study_points(study: optuna.Study) -> StudyPoints:
    """Reads the trials of a study."""
    from search.storage.attributes import ELAPSED

    attributes, trials = study.user_attrs, study.get_trials(deepcopy=False)
    points = [Point(trial_row(trial, attributes), trial) for trial in trials]
    return StudyPoints(study.study_name, objective_of(attributes), points, float(attributes.get(ELAPSED, 0.0)))
