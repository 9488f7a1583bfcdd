"""Random streams of one training: initial weights, row orders and dropout masks never share random numbers.

NumPy fills short seeds with zeros: ``default_rng(5)`` and ``default_rng([5, 0])`` are one stream. Here each use has a
``spawn_key`` instead, which follows the filled-up seed and is not filled up itself.
"""

from __future__ import annotations

import numpy as np

_WEIGHTS, _ORDER, _FOLD = 0, 1, 2


def fold_seed(seed: int, fold: int) -> int:
    """Returns the seed of the network of a fold, counted from 0: the training's own for the first, below 2**32."""
    if fold == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(_FOLD, fold)).generate_state(1)[0])


def weights_generator(seed: int) -> np.random.Generator:
    """Returns the generator of the initial weights."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WEIGHTS,)))


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """Returns the generator of the row order of an epoch, counted from 0."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_ORDER, epoch)))


def dropout_seed(seed: int, epoch: int, step: int = 0) -> tuple[int, int]:
    """Returns the seed of the masks of a step, which never overlap for two different seeds.

    Args:
        seed: The training's seed, below 2**32.
        epoch: From 0, below 2**31.
        step: From 0 in each epoch, below 2**32.

    Returns:
        Two numbers below 2**63. Each of the three has bits of its own, so that they are sums:
        ``dropout_seed(seed, epoch)`` plus ``dropout_seed(0, 0, step)``.
    """
    return seed, (epoch << 32) + step
