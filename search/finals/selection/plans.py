"""The order of the finalists' runs, and the configurations that get no more of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipelines.evaluation.metrics import standard_error
from pipelines.evaluation.tests import SAME
from search.finals.finalist import Finalist


def order(n_candidates: int, n_seeds: int) -> list[tuple[int, int]]:
    """(candidate from 0, seed number from 1) in the order of training.

    The first two candidates are trained with every seed, so that the others have means to be compared with. Those
    come seed by seed: each of them gets its first run before any gets its second, but for seeds that train beside it
    in one program.
    """
    numbers = range(1, n_seeds + 1)
    first = [(rank, number) for rank in range(min(2, n_candidates)) for number in numbers]
    return first + [(rank, number) for number in numbers for rank in range(2, n_candidates)]


@dataclass(frozen=True)
class Plan(ABC):
    """The runs of the finalists: each seed for as many configurations as its size says, or for fewer.

    Attributes:
        sizes: The number of configurations that get each seed; it does not rise.
        prefers_small: Whether a smaller network wins that is within one standard error of the best mean.
        refits: Whether it leaves time to train the winner once more, with the validation rows.
    """

    sizes: tuple[int, ...]
    prefers_small: ClassVar[bool] = True
    refits: ClassVar[bool] = True

    @abstractmethod
    def runs(self, finalists: Sequence[Finalist]) -> list[tuple[int, int]]:
        """The missing runs that the results so far ask for, (configuration from 0, seed number from 1)."""


class EverySeed(Plan):
    """Each configuration gets every seed, unless it can come neither first nor second any more."""

    def runs(self, finalists: Sequence[Finalist]) -> list[tuple[int, int]]:
        """The missing runs of the configurations that are not out, in the order of ``order``."""
        values = [value for f in finalists for value in (*f.values, f.candidate.value)]
        ceiling = max(map(finalists[0].objective.gain, values))
        wanted = [not is_out(finalist, finalists, ceiling) for finalist in finalists]
        places = order(len(finalists), len(self.sizes))
        return [(rank, number) for rank, number in places if wanted[rank] and number not in finalists[rank].seeds]


def is_out(finalist: Finalist, finalists: Sequence[Finalist], ceiling: float) -> bool:
    """Whether a configuration failed, or can come neither first nor second any more.

    The second holds where, with every missing run at the ceiling, its mean would be below the second best mean of the
    complete configurations and more than one standard error below the best.

    Args:
        finalist: The configuration.
        finalists: All configurations.
        ceiling: The best value of any run of the study, with the sign that makes more better.
    """
    if finalist.failure:
        return True
    complete = sorted((f for f in finalists if f.is_complete), key=lambda f: -f.gain)
    if finalist.is_complete or len(complete) < 2:
        return False
    missing = finalist.n_seeds - len(finalist.values)
    reachable = (sum(finalist.gains) + missing * ceiling) / finalist.n_seeds
    best, second = complete[:2]
    return reachable < min(lowest_equal(best), second.gain - _rounding(second))


def _rounding(finalist: Finalist) -> float:
    """Smaller differences from a mean are rounding errors."""
    return SAME * abs(finalist.mean)


def lowest_equal(best: Finalist) -> float:
    """The lowest mean that is as good as the best: one standard error below the best mean, where more is better."""
    return best.gain - standard_error(best.values) - _rounding(best)


def n_rejecting(sizes: Sequence[int]) -> int:
    """Number of seeds, from the first, by which a plan of these sizes rejects configurations."""
    return sum(size > sizes[-1] for size in sizes)
