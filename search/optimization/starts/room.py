"""The number of starts for a budget: at most half of it."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config import Hyperparameters


def within(
    starts: Sequence[Hyperparameters], costs_s: Sequence[float], trials: int | None, timeout_s: float | None
) -> list[int]:
    """The places of the starts that a budget takes: those in their order that fit, or else the one that costs least.

    Args:
        starts: The configurations, the most useful first.
        costs_s: Seconds of each in one slot.
        trials: Budget in trials.
        timeout_s: Budget in seconds.
    """
    most = len(starts) if trials is None else max(1, trials // 2)
    left_s = None if timeout_s is None else timeout_s / 2
    kept: list[int] = []
    for place, cost_s in enumerate(costs_s):
        if len(kept) < most and (left_s is None or cost_s <= left_s):
            kept.append(place)
            left_s = None if left_s is None else left_s - cost_s
    return kept or sorted(range(len(starts)), key=costs_s.__getitem__)[:1]
