"""Forecasts the memory of the largest network, and checks that this machine has it, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config import Hyperparameters, count_parameters, layer_sizes
from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from pipelines.network.architecture import EVALUATION_ROWS, Architecture
from pipelines.resources import free_bytes
from search.devices.slots import Slot
from search.spec.space import SearchSpace

_COPIES = 8
"""Copies of each weight in a process: its gradient, the optimizer's two, the best epoch's, the files'. With Adam a
process was measured to hold nine at its peak. Averages are one more, here and on a GPU."""
_GPU_COPIES = 5
"""Copies of each weight on a GPU: itself, its gradient, the optimizer's two and a temporary one."""
_GPU_LAYER_VALUES = 4
"""For each row of a step and each value of a layer: itself, its gradient, its dropout mask and the mask's bits."""
_GPU_TAPED_VALUES = 9
"""The same of networks with more than dense layers, ReLU and dropout: also what stands before and after normalization,
noise and activation."""
_GPU_BYTES = {"uint8": 2, "int32": 8}
"""Bytes of a value on a GPU, by the type of the source."""


def _count_weights(network: Hyperparameters, dataset: Dataset) -> int:
    """Returns the number of weights of a network, those of its embedding's layer, which is not trained, too."""
    n_features, _, n_pieces = dataset.sizes
    n_fixed = n_features * n_pieces if network.embedding == "piecewise" else 0
    return count_parameters(network, *dataset.sizes) + n_fixed


def gpu_trial_mb(space: SearchSpace, dataset: Dataset) -> int:
    """Forecasts the GPU memory of the largest trial of a space, in MB; docs/gpu.md has the formula."""
    training, validation = dataset.training, dataset.validation
    largest = space.largest_network()
    sizes, n_parameters = layer_sizes(largest, *dataset.sizes), _count_weights(largest, dataset)
    layer_values = _GPU_LAYER_VALUES if Architecture.of(largest, sizes).is_plain else _GPU_TAPED_VALUES
    batch_size: int = space.highest("batch_size")
    n_rows = max(min(len(training.y), batch_size), min(len(validation.y), EVALUATION_ROWS))
    arrays = [array for split in (training, validation) for array in (split.x, split.y)]
    held: int = sum(array.size * _GPU_BYTES.get(array.dtype.name, array.itemsize) for array in arrays)
    copies = _GPU_COPIES + bool(largest.ema)
    floats = dataset.n_folds * (copies * n_parameters + layer_values * n_rows * sum(sizes))
    return (held + 4 * floats >> 20) + 1


def require_fit(largest: Hyperparameters, dataset: Dataset, slots: Sequence[Slot]) -> None:
    """Checks that the host's memory suffices where every slot trains the largest network; slots on GPUs do not count.

    Raises:
        SpecError: It does not.
    """
    n_slots = sum(not slot.visible_devices for slot in slots)
    n_parameters = _count_weights(largest, dataset) * dataset.n_folds
    needed_bytes = n_parameters * 4 * (_COPIES + bool(largest.ema)) * n_slots
    free = free_bytes()
    if needed_bytes > free:
        networks, fewer = (f" in {dataset.n_folds} folds", " or folds") if dataset.n_folds > 1 else ("", "")
        where = "one slot" if n_slots == 1 else f"{n_slots} slots"
        raise SpecError(
            f"width and depth: networks must fit in memory, got {n_parameters:,} weights with width {largest.width} and"
            f" depth {largest.depth}{networks}, about {needed_bytes / 1e9:,.1f} GB for {where} where"
            f" {free / 1e9:,.1f} GB are free: lower one, or take fewer slots{fewer}"
        )
