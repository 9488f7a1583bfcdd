"""Piecewise-linear embedding of the numeric columns of a table: how far each number has come in each of some ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.encoding.curves import MIN_ROWS_OF_PIECE
from pipelines.files.archives import Array

MAX_PIECES = 16
"""Ranges of one column. On tables of 1,000 to 5,000 rows 32 did worse than 16, and 8 no better."""
MAX_ALL_PIECES = 4096
"""Ranges of all columns together, where that leaves each column two."""
MAX_KERNEL = 1 << 26
"""Weights of the dense layer that they are, 256 MB: a table of more columns has no embedding."""

_N_SAMPLED = 50_000
"""Rows of which quantiles are taken, evenly spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The ranges of all numeric columns.

    Attributes:
        feature: (n_pieces,) int32 number of the feature that each belongs to, rising.
        low: (n_pieces,) float32 lower ends, of scaled values.
        high: (n_pieces,) float32 upper ends, above the lower ones.
    """

    feature: Array
    low: Array
    high: Array

    def __len__(self) -> int:
        return len(self.feature)

    def weights(self, n_features: int) -> tuple[Array, Array]:
        """Returns kernel (n_features, n_pieces) and bias (n_pieces,) of a dense layer.

        Its outputs, clipped to 0 and 1, are how far (n_rows, n_features) scaled values have come in each range.
        """
        slope = 1 / (self.high.astype(np.float64) - self.low)
        kernel = np.zeros((n_features, len(self)), np.float32)
        kernel[self.feature, np.arange(len(self))] = slope
        return kernel, (-self.low * slope).astype(np.float32)


def learn_pieces(x: Array, are_numbers: Sequence[bool], center: Array | float, scale: Array | float) -> Pieces | None:
    """Learns ranges with about as many training rows each: their ends are quantiles.

    Source: "piecewise linear encoding", Gorishniy et al. 2022, arXiv:2203.05556.

    Args:
        x: (n_rows, n_features) training rows.
        are_numbers: (n_features,) which features are numbers; the others go from 0 to 1.
        center: Of the scaling, one number or (n_features,).
        scale: Likewise.

    Returns:
        The ranges; None where no column has two of them with ``MIN_ROWS_OF_PIECE`` rows each, or their dense layer were
        too large.
    """
    numbers, few = np.flatnonzero(are_numbers), x[:: max(1, len(x) // _N_SAMPLED)]
    n_each = min(MAX_PIECES, len(x) // MIN_ROWS_OF_PIECE, max(2, MAX_ALL_PIECES // max(1, len(numbers))))
    if n_each < 2:
        return None
    shares = np.linspace(0, 1, n_each + 1)
    centers, scales = (np.broadcast_to(value, x.shape[1]) for value in (center, scale))
    edges = {}
    for number in numbers:
        ends = (np.quantile(few[:, number], shares) - centers[number]) / scales[number]
        edges[number] = np.unique(ends.astype(np.float32))
    kept = {number: ends for number, ends in edges.items() if len(ends) > 2}
    if not kept:
        return None
    feature = np.concatenate([np.full(len(ends) - 1, number, np.int32) for number, ends in kept.items()])
    if len(feature) * x.shape[1] > MAX_KERNEL:
        return None
    low, high = (np.concatenate(ends) for ends in zip(*((ends[:-1], ends[1:]) for ends in kept.values()), strict=True))
    return Pieces(feature, low, high)
