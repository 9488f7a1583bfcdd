"""Monotone maps of a column's numbers, learned from training rows: tails are drawn in, and ranges become features."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from pipelines.files.archives import Array

N_PIECES = 8
"""Ranges of a column that become a feature each, under ``auto``."""
MIN_ROWS_OF_PIECE = 40
MAX_ROWS_OF_PIECES = 200_000
"""Beyond so many training rows the ranges would need more memory than they are worth."""
_N_KNOTS = 200
_MOST_EXTREME = 1e-3
_SKEWED, _HEAVY = 1.0, 8.0
_N_SAMPLED = 1_000_000
IQR_OF_NORMAL = 1.349


@dataclass(frozen=True, slots=True)
class Curve:
    """A monotone map of numbers.

    Attributes:
        kind: ``asinh`` is ``asinh((x - center) / unit)``, a straight line near the center and a logarithm far from it;
            ``quantile`` goes straight from each of the ``knots`` to the next, and ends at the outer ones.
        center: Where ``asinh`` is 0.
        unit: The divisor in ``asinh``, above 0.
        knots: (n_knots,) rising numbers.
        scores: (n_knots,) what the map makes of them.
    """

    kind: Literal["asinh", "quantile"]
    center: float = 0.0
    unit: float = 1.0
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    def __call__(self, numbers: Array) -> Array:
        """Maps (n_rows,) float64 numbers."""
        if self.kind == "quantile":
            return np.interp(numbers, self.knots, self.scores)
        return np.arcsinh((numbers - self.center) / self.unit)

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> Curve | None:
        """Reads the fields of a curve; None for None."""
        if record is None:
            return None
        return cls(**{**record, "knots": tuple(record["knots"]), "scores": tuple(record["scores"])})


def learn_curve(numbers: Array, offset: float = 0.0) -> Curve | None:
    """Returns ``asinh`` for skewed or heavy-tailed (n_rows,) numbers, None for others.

    Skewed is a skewness beyond 1, heavy-tailed a kurtosis above 8 (a normal distribution has 0 and 3). The center is 0
    for numbers with a long tail upwards and none below 0, such as counts and prices, and the unit their lower quartile
    without zeros; for others, and those that need an ``offset``, they are the median, and the distance of the quartiles
    as for a normal distribution.
    """
    typical = sampled(numbers)
    deviation = typical - typical.mean()
    spread = float(deviation.std())
    if not spread > 0:
        return None
    scores = deviation / spread
    skewness, kurtosis = np.mean(scores**3), np.mean(scores**4)
    if abs(skewness) <= _SKEWED and kurtosis <= _HEAVY:
        return None
    if numbers.min() >= 0 and skewness > 0 and not offset:
        return _with_unit(0.0, float(np.quantile(sampled(numbers[numbers > 0]), 0.25)), spread)
    low, middle, high = np.quantile(sampled(numbers), (0.25, 0.5, 0.75))
    return _with_unit(float(middle), float(high - low) / IQR_OF_NORMAL, spread)


def _with_unit(center: float, unit: float, spread: float) -> Curve:
    smallest = float(np.finfo(np.float32).tiny)
    return Curve("asinh", center, unit if unit > smallest else max(spread, smallest))


def learn_quantiles(numbers: Array) -> Curve | None:
    """Returns the map of (n_rows,) numbers to a normal distribution, by their ranks; None where all are equal."""
    ordered = np.sort(sampled(numbers))
    knots = np.unique(np.quantile(ordered, np.linspace(0, 1, min(_N_KNOTS, len(ordered)))))
    if len(knots) < 2:
        return None
    below = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / (2 * len(ordered))
    scores = [NormalDist().inv_cdf(share) for share in np.clip(below, _MOST_EXTREME, 1 - _MOST_EXTREME)]
    return Curve("quantile", knots=tuple(knots.tolist()), scores=tuple(scores))


def learn_edges(numbers: Array) -> tuple[float, ...]:
    """Returns the edges of at most ``N_PIECES`` ranges with about as many of the (n_rows,) numbers each.

    Source: "piecewise linear encoding", Gorishniy et al. 2022, arXiv:2203.05556. None where there are fewer than two
    ranges, fewer than ``MIN_ROWS_OF_PIECE`` rows for each, or more than ``MAX_ROWS_OF_PIECES`` rows.
    """
    n_pieces = min(N_PIECES, len(numbers) // MIN_ROWS_OF_PIECE)
    if n_pieces < 2 or len(numbers) > MAX_ROWS_OF_PIECES:
        return ()
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, n_pieces + 1)))
    return tuple(edges.tolist()) if len(edges) > 2 else ()


def pieces(numbers: Array, edges: tuple[float, ...]) -> list[Array]:
    """Returns for each range how far each of (n_rows,) numbers has come in it: 0 below it, 1 above it."""
    return [np.clip((numbers - low) / (high - low), 0, 1) for low, high in itertools.pairwise(edges)]


def sampled(values: Array) -> Array:
    """Returns at most a million of (n_values,), evenly spread, of which quantiles are quick to find."""
    return values[:: max(1, -(-len(values) // _N_SAMPLED))]
