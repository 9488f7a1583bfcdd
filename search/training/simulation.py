"""Simulates a study without training: which configurations it draws, how long each trains, and when each begins."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from pipelines.config import Hyperparameters
from search.optimization.pruners import is_audited, make_pruner
from search.optimization.samplers import TrialSampler
from search.spec.study_spec import StudySpec
from search.storage import StoredStudy
from search.storage.attributes import LIKED

N_DRAWN = 100
"""Trials that are simulated where the study has no smaller budget."""
_N_EXACT = 10  # TPE's first trials are random ones
# With these, simulated studies of digits and a table train as much as the searches that were compared with them.
_N_CANDIDATES = 5
_OF_SIZE, _OF_EPOCHS, _START_LEVEL = 1.5, 0.4, 2.4


def n_trials(spec: StudySpec) -> float:
    """Number of trials at which the budget or the space ends a study; infinite without either."""
    return min((n for n in (spec.trials, spec.space.size()) if n is not None), default=math.inf)


def simulate(spec: StudySpec, repetition: int = 0) -> list[tuple[Hyperparameters, int]]:
    """Simulates the trials of a study: the study's pruner sees synthetic curves.

    A curve rises to a level with noise that shrinks over the epochs, so early ranks mostly predict final ranks. The
    level is random in part and in part higher for large networks and many epochs, so that they survive the pruner more
    often. The first configurations are those that the study will draw; afterwards a sampler that learns gets the best
    of a few random ones.

    Args:
        spec: The study.
        repetition: Other numbers give other random draws.

    Returns:
        Each configuration, the study's ``[[start]]`` first, with the epochs that it would train.
    """
    random = np.random.default_rng([spec.seed, repetition, 1])
    study, others = _study(spec), optuna.samplers.RandomSampler(int(random.integers(2**32)))
    draws = optuna.create_study(sampler=others)
    drawn = []
    for number in range(int(min(n_trials(spec), N_DRAWN))):
        if number >= _N_EXACT + len(spec.start) and spec.sampler not in ("random", "grid"):
            study.sampler = others
            candidates = [spec.space.suggest(draws.ask()) for _ in range(_N_CANDIDATES)]
            study.enqueue_trial(spec.space.params(max(candidates, key=lambda hp: _level(spec, hp) + random.random())))
        trial = study.ask()
        hp = spec.space.suggest(trial)
        level = _START_LEVEL if spec.is_start(number) else _level(spec, hp) + random.random()
        drawn.append((hp, _epochs(spec, trial, hp.epochs, level, random)))
        study.tell(trial, level)
    return drawn


def _study(spec: StudySpec) -> StoredStudy:
    """A study in memory that draws its first trials as the real one: they do not depend on results."""
    storage = optuna.storages.InMemoryStorage()
    storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], spec.name)
    study = StoredStudy(spec.name, storage, make_pruner(spec))
    if spec.n_liked is not None:
        study.set_user_attr(LIKED, spec.n_liked)
    study.sampler = TrialSampler(spec, study)
    return study


def _level(spec: StudySpec, hp: Hyperparameters) -> float:
    """The part of a configuration's level that follows from its size and epochs; the rest is random."""
    largest = spec.space.largest_network()
    size = math.log(hp.width * hp.depth + 1) / math.log(largest.width * largest.depth + 1)
    return _OF_SIZE * size + _OF_EPOCHS * hp.epochs / spec.space.highest("epochs")


def _epochs(spec: StudySpec, trial: optuna.Trial, epochs: int, level: float, random: np.random.Generator) -> int:
    """Reports a synthetic curve of at most so many epochs and returns how many are trained."""
    epoch = 0
    for epoch in range(1, epochs + 1):
        trial.report(level + (random.normal(0, 0.2) - 0.5) / epoch, epoch)
        if epoch < epochs and trial.should_prune() and not spec.is_start(trial.number):
            epoch = epochs if is_audited(spec, trial.number) else epoch
            break
    return min(epoch + 1, epochs)  # the next epoch trains while the pruner decides about this one


@dataclass(frozen=True, slots=True)
class Timetable:
    """The starts of the trials of a simulated study, in seconds from the first.

    Attributes:
        starts_s: Of each simulated trial; a free slot takes the next one.
        end_s: When the last of them ends.
        interval_s: Mean time between two trials.
    """

    starts_s: tuple[float, ...]
    end_s: float
    interval_s: float

    @classmethod
    def of(cls, durations_s: Sequence[float], n_slots: int) -> Timetable:
        """Puts trials of these durations on slots, in their order."""
        free = [0.0] * n_slots
        starts = []
        for duration_s in durations_s:
            starts.append(heapq.heappop(free))
            heapq.heappush(free, starts[-1] + duration_s)
        return cls(tuple(starts), max(free), sum(durations_s) / len(durations_s) / n_slots)

    def until(self, n: float) -> float:
        """The time at which ``n`` trials have ended; infinite if ``n`` is."""
        return self.end_s + max(0.0, n - len(self.starts_s)) * self.interval_s

    def begun(self, time_s: float) -> int:
        """Number of trials that begin before a time."""
        if time_s > self.end_s:
            return len(self.starts_s) + int((time_s - self.end_s) / self.interval_s)
        return sum(start_s < time_s for start_s in self.starts_s)


def middle_of(values: Sequence[float]) -> tuple[float, float, float]:
    """The second lowest, the median and the second highest of at least three values."""
    ranked = sorted(values)
    return ranked[1], ranked[len(ranked) // 2], ranked[-2]
