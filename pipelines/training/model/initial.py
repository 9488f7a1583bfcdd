"""Initial weights, drawn as Keras's layers draw them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.config import Hyperparameters
from pipelines.encoding.pieces import Pieces
from pipelines.errors import TrainingError
from pipelines.network.architecture import Architecture
from pipelines.network.streams import weights_generator

_STD_OF_CUT_NORMAL = 0.87962566103423978
"""Standard deviation of a standard normal distribution that is cut off at -2 and 2."""


def initial_weights(
    hyperparameters: Hyperparameters, sizes: Sequence[int], seed: int, pieces: Pieces | None = None
) -> tuple[np.ndarray, ...]:
    """Returns all arrays of a fresh network, in the order of ``network.architecture``.

    Kernels are Glorot-uniform, those of hidden layers with selu LeCun-normal, which it is made for. Biases are 0,
    gammas 1, betas 0; moving means 0, moving variances 1.

    Args:
        hyperparameters: The configuration.
        sizes: As ``layer_sizes`` returns them.
        seed: Seed of the draw.
        pieces: Of the dataset, for an embedding.

    Raises:
        TrainingError: The configuration has an embedding, and the dataset no ranges for it.
    """
    network, rng = Architecture.of(hyperparameters, sizes), weights_generator(seed)
    *hidden, last = itertools.pairwise(sizes)
    draw = _lecun if network.activation == "selu" else _glorot
    arrays = [array for pair in hidden for array in _layer(network, draw(rng, *pair))]
    arrays += [_glorot(rng, *last), np.zeros(last[1], np.float32)]
    if network.normalization == "batch":
        arrays += [value for _, n_out in hidden for value in (np.zeros(n_out, np.float32), np.ones(n_out, np.float32))]
    if network.embedding:
        if pieces is None:
            raise TrainingError("embedding: must be none without a numeric column of a table, got piecewise")
        arrays += pieces.weights(sizes[0] - len(pieces))
    return tuple(arrays)


def _layer(network: Architecture, kernel: np.ndarray) -> Iterator[np.ndarray]:
    n_out = kernel.shape[1]
    yield kernel
    if network.normalization != "batch":
        yield np.zeros(n_out, np.float32)
    if network.normalization != "none":
        yield np.ones(n_out, np.float32)
        yield np.zeros(n_out, np.float32)


def _glorot(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    limit = np.sqrt(6 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32)


def _lecun(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Keras's ``LecunNormal``: variance 1 / n_in, cut off at two standard deviations of the uncut distribution."""
    values = rng.standard_normal((n_in, n_out))
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return np.asarray(values / (_STD_OF_CUT_NORMAL * np.sqrt(n_in)), np.float32)
