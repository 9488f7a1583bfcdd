"""Whether the largest network fits in this machine's memory, told before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from pipelines.config import Hyperparameters, count_parameters, layer_sizes
from pipelines.datasets import Dataset
from pipelines.errors import SpecError
from search.pools import Slot

_COPIES = 8
"""Of each weight at the peak: gradient, the optimizer's two, the best epoch's, the files'; measured with Adam: 9."""


def require_fit(largest: Hyperparameters, dataset: Dataset, slots: Sequence[Slot]) -> None:
    """Looks whether every slot can train the largest network at the same time; the memory of GPUs is not looked at.

    Raises:
        SpecError: They cannot.
    """
    n_slots = sum(not slot.visible_devices for slot in slots)
    n_parameters = count_parameters(layer_sizes(largest, dataset.training.x[0].size, dataset.n_classes))
    needed_bytes = n_parameters * 4 * _COPIES * n_slots
    free_bytes = psutil.virtual_memory().available
    if needed_bytes > free_bytes:
        where = "one slot" if n_slots == 1 else f"{n_slots} slots"
        raise SpecError(
            f"width and depth: networks must fit in memory, got {n_parameters:,} weights with width {largest.width} and"
            f" depth {largest.depth}, about {needed_bytes / 1e9:,.1f} GB for {where} where {free_bytes / 1e9:,.1f} GB"
            " are free: lower one, or take fewer slots"
        )
