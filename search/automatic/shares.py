"""Divides a budget between trials, which search, and new seeds of the best of them, which select."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import groupby

from search.automatic.rounds import Rounds

MIN_BUDGET = 8
"""Trainings of the smallest budget that a new study shares."""
MIN_BUDGET_BEFORE = 6
"""Trainings of the smallest budget of earlier versions, with which their studies resume."""
TIME_SHARE = 0.6
"""Of a timeout: the search ends then."""
MOST_FINALS = 16
"""Trainings of the largest finals: on recorded trainings more of them choose no better."""
_FEWEST = 4  # two configurations, and two more seeds for the better one: an interval needs two
_FEWEST_BEFORE = 3  # of the smaller budgets of earlier versions: one more seed for the better one


def n_search(budget: int) -> int:
    """Number of trials of a budget of so many trainings; the others are finals."""
    return budget - min(MOST_FINALS, budget // 2)


def fewest(budget: int | None) -> int:
    """Trainings of the smallest finals of a budget of so many trainings; None for a budget of time alone."""
    return _FEWEST_BEFORE if budget is not None and budget < MIN_BUDGET else _FEWEST


def rounds_for(n_runs: int, least: int = _FEWEST) -> Rounds | None:
    """The finals of so many trainings: half of them for one seed of each, a quarter for a second and for a third one.

    Args:
        n_runs: Number of trainings.
        least: That of the smallest finals; see ``fewest``.

    Returns:
        None where they are too few to choose and to say what to expect.
    """
    n = min(n_runs, MOST_FINALS)
    if n < least:
        return None
    first = max(2, n // 2)
    second = (n - first + 1) // 2
    return Rounds(tuple(size for size in (first, second, n - first - second) if size))


def rounds_within(
    left_s: float, costs_s: Sequence[float], n_slots: int, n_runs: float = math.inf, least: int = _FEWEST
) -> Rounds | None:
    """The largest finals that end within a time.

    Args:
        left_s: The time, in seconds.
        costs_s: Seconds that a training of each configuration takes, the best configuration first.
        n_slots: Trainings at the same time.
        n_runs: The most trainings.
        least: The fewest.
    """
    found = None
    for n in range(1, int(min(n_runs, MOST_FINALS)) + 1):
        rounds = rounds_for(n, least)
        training_s = statistics.fmean(costs_s[: rounds.sizes[0]]) if rounds and costs_s else math.inf
        if rounds and training_s * length(rounds.sizes, n_slots) <= left_s:
            found = rounds
    return found


def length(sizes: Sequence[int], n_slots: int) -> int:
    """The number of successive trainings: a round waits for the one before where that rejects configurations."""
    return sum(math.ceil(sum(same) / n_slots) for _, same in groupby(sizes))
