"""The number of starts for a budget: at most half of it."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config import Hyperparameters, count_parameters
from pipelines.data.datasets import Dataset

# Seconds of a core at about 100 GFLOP/s: a step's own, and a product's of a row and a weight in training. They only
# say what fits; the same on every machine, so that a study begins with the same trials anywhere.
_STEP_S, _PRODUCT_S = 2e-4, 6e-11


def nominal_s(configuration: Hyperparameters, dataset: Dataset) -> float:
    """Seconds of a training of a configuration to its last epoch, on the nominal core."""
    n_weights = count_parameters(configuration, *dataset.sizes)
    n_rows = len(dataset.training.y) * dataset.n_folds
    return configuration.epochs * n_rows * (_STEP_S / configuration.batch_size + _PRODUCT_S * n_weights)


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
