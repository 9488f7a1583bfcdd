"""Successive rejects: each round gives one more seed to the best configurations of the round before."""

from __future__ import annotations

from collections.abc import Sequence

from search.finals.finalist import Finalist
from search.finals.selection import Plan


class Rounds(Plan):
    """Gives one more seed to the best configurations of each round; ``sizes`` has their number in each."""

    prefers_small = False  # on recorded trainings, with three seeds, the smaller network costs half a point
    refits = False  # its runs take the whole budget

    def runs(self, finalists: Sequence[Finalist]) -> list[tuple[int, int]]:
        """The missing runs of the first round that lacks some, and of the rounds after it with the same configurations.

        A configuration that failed gets no further run.
        """
        kept = [rank for rank, finalist in enumerate(finalists) if not finalist.failure]
        for number, size in enumerate(self.sizes, 1):
            kept = sorted(kept, key=lambda rank: _place(finalists[rank], rank, number))[:size]
            missing = [rank for rank in kept if number not in finalists[rank].seeds]
            if missing:
                same = [other for other, n in enumerate(self.sizes, 1) if other >= number and n == size]
                runs = [(rank, other) for other in same for rank in kept]
                return [(rank, other) for rank, other in runs if other not in finalists[rank].seeds]
        return []


def _place(finalist: Finalist, rank: int, number: int) -> tuple[float, int]:
    """Sorts configurations before a round by their means over the rounds before it."""
    seeds = [seed for seed in finalist.seeds if seed < number]
    gains = finalist.gains_of(seeds)
    return (-sum(gains) / len(gains) if gains else 0.0), rank
