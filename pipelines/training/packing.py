"""Rules of the sizes of a network: how many train in one program, and which are updated how. Imports no TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_MAX_WEIGHTS = 1 << 19
"""Weights of all kernels of a program: more of them, with the optimizer's state, leave the cache and gain nothing."""
_MAX_WEIGHTS_ON_GPU = 1 << 22
"""The same on a GPU, where up to there a step is mostly the start of its operations."""
_MAX_NETWORKS = 32
"""More of them hardly gain anything: by then a step is matrix products."""

_LEAST_WEIGHTS = 1 << 20
"""Weights of all kernels from which on each pass over them takes long enough for a compiled update."""


def networks_at_once(sizes: Sequence[int], *, on_gpu: bool = False) -> int:
    """Returns how many networks train faster in one program than one after the other.

    Args:
        sizes: Values at the input, after each hidden layer and at the output.
        on_gpu: Whether they train on a GPU instead of a core.
    """
    n_weights = _n_weights(sizes)
    return max(1, min(_MAX_NETWORKS, (_MAX_WEIGHTS_ON_GPU if on_gpu else _MAX_WEIGHTS) // n_weights))


def pays_in_one_pass(sizes: Sequence[int]) -> bool:
    """Returns whether the update of kernels that also decay or have averages is worth compiling; sizes as above."""
    return _n_weights(sizes) >= _LEAST_WEIGHTS


def _n_weights(sizes: Sequence[int]) -> int:
    return sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))


def trainings_at_once(n_paying: int, n_trainings: int, n_slots: int) -> int:
    """Returns how many of some trainings go into one program, so that every slot has one.

    Two trainings cost little more than one, so a slot takes two even where the other slots could take all.

    Args:
        n_paying: How many train faster in one program than one after the other.
        n_trainings: Those that no slot has begun.
        n_slots: Trainings at the same time.
    """
    return min(n_paying, max(2, -(-n_trainings // n_slots)))
