"""The record of a score for each row, as text. Imports NumPy only: workers write it.

A score is a number of a row that is averaged: whether it was classified correctly, or what it contributes to another
metric (``pipelines.training.scores``).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_SCORES = 20_000
"""More scores that are not bits are averaged in blocks, so that a record stays below about 60 kB."""


def encode(scores: npt.NDArray[np.bool_] | npt.NDArray[np.float64]) -> str:
    """Returns (n_rows,) scores as a short text, for ``decode``.

    Bits are kept as they are. Numbers are rounded to 11 bits; where there are more than ``MAX_SCORES``, neighboring
    rows share a number. Rows of a split have no order, so the blocks' means vary as means of rows do.
    """
    if scores.dtype == np.bool_:
        return f"right:{len(scores)}:{_pack(np.packbits(scores.astype(np.bool_)))}"
    blocks = in_blocks(np.asarray(scores, dtype=np.float64))
    scale = float(np.abs(blocks).max(initial=0.0)) or 1.0
    return f"number:{len(blocks)}:{scale!r}:{_pack((blocks / scale).astype('<f2'))}"


def _pack(array: npt.NDArray[np.uint8] | npt.NDArray[np.float16]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def in_blocks(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns at most ``MAX_SCORES`` means of blocks of rows; the mean over the blocks is that over the rows."""
    size = -(-len(scores) // MAX_SCORES)
    if size <= 1:
        return scores
    starts = np.arange(0, len(scores), size)
    return np.asarray(np.add.reduceat(scores, starts) * (len(starts) / len(scores)))


def in_groups(scores: npt.NDArray[np.float64], groups: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Returns a number for each group of rows, in proportion to their sum; the mean over the groups is that over rows.

    Args:
        scores: (n_rows,).
        groups: (n_rows,) numbers; those without a row are left out.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(numbers, scores)
    return np.asarray(sums * (len(sums) / len(scores)))


def over_groups(scores: npt.NDArray[np.float64], groups: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Returns (n_groups,) scores with the mean of (n_rows,) ones, whose spread is that of the groups' sums.

    So the variance of their mean is the cluster-robust one: the deviations of a group's rows are added up before they
    are squared (Liang and Zeger, 1986).
    """
    mean = float(scores.mean())
    return np.asarray(mean + in_groups(scores - mean, groups))


def over_folds(scores: Sequence[npt.NDArray[np.float64]]) -> list[npt.NDArray[np.float64]]:
    """Returns the scores of each fold's rows so that their mean over all rows is the mean of the folds' means.

    A row of a large fold counts less: the deviation of its score from the mean is weighted by the mean size of a fold
    over the size of its own. So the variance of the mean over rows is that of a weighted mean, linearized. Scores of
    folds of one size stay as they are.
    """
    n_rows = sum(map(len, scores))
    mean = float(np.mean([fold.mean() for fold in scores]))
    weights = [n_rows / (len(scores) * len(fold)) for fold in scores]
    return [
        fold if weight == 1 else mean + weight * (fold - mean) for fold, weight in zip(scores, weights, strict=True)
    ]


def decode(text: str) -> npt.NDArray[np.float64]:
    """Returns the (n_rows,) scores in a text of ``encode``: 1 for a right row, 0 for a wrong one, or numbers.

    Raises:
        ValueError: It is no such text.
    """
    kind, n_rows, *scale, packed = text.split(":")
    if kind not in ("right", "number"):
        raise ValueError(f"scores of rows must be of the kind 'right' or 'number', got {kind!r}")
    content = zlib.decompress(base64.b64decode(packed))
    if kind == "right":
        return np.unpackbits(np.frombuffer(content, np.uint8), count=int(n_rows)).astype(np.float64)
    return np.frombuffer(content, "<f2").astype(np.float64) * float(scale[0])
