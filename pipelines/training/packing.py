"""How many networks of one shape pay in one program. Imports no TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_MAX_WEIGHTS = 1 << 19
_MAX_NETWORKS = 32


def networks_at_once(sizes: Sequence[int], batch_size: int) -> int:
    """Returns how many networks train faster in one program than one after the other.

    Args:
        sizes: Values at the input, after each hidden layer and at the output.
        batch_size: Rows of a step.
    """
    del batch_size
    n_weights = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))
    return max(1, min(_MAX_NETWORKS, _MAX_WEIGHTS // n_weights))
