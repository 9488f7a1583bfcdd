"""The number of networks of one shape that train faster in one program. Imports no TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_MAX_WEIGHTS = 1 << 19
"""Weights of all kernels of a program: more of them, with the optimizer's state, leave the cache and gain nothing."""
_MAX_NETWORKS = 32
"""More of them hardly gain anything: by then a step is matrix products."""


def networks_at_once(sizes: Sequence[int]) -> int:
    """Returns how many networks train faster in one program than one after the other.

    Args:
        sizes: Values at the input, after each hidden layer and at the output.
    """
    n_weights = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))
    return max(1, min(_MAX_NETWORKS, _MAX_WEIGHTS // n_weights))
