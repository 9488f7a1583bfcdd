"""Categories of a column of texts: which have a feature of their own, and which share one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from pipelines.files.archives import Array
from pipelines.files.columns import FEW_CATEGORIES, MAX_CATEGORIES

MAX_OWN = 100
"""Most categories with a feature of their own, in a column with over ``MAX_CATEGORIES``."""
N_HASHED = 32
"""Features that the other categories of such a column share."""
_RARE_ROWS, _SHARE_OF_FEW, _SHARE_OF_MANY = 5, 0.01, 0.001
_MOST_RARE_ROWS = 100


def rare_below(n_rows: int) -> int:
    """Returns the number of training rows that a category must have to have a feature of its own.

    It is 5; in tables of fewer than 500 rows one row in a hundred; in those of more than 5,000 one in a thousand, but
    at most 100.
    """
    few, many = int(np.ceil(_SHARE_OF_FEW * n_rows)), min(int(np.ceil(_SHARE_OF_MANY * n_rows)), _MOST_RARE_ROWS)
    return max(min(_RARE_ROWS, few), many)


def choose_own(texts: Sequence[str], counts: Array, n_rows: int) -> tuple[tuple[str, ...], int]:
    """Chooses the categories with a feature of their own.

    Args:
        texts: The categories.
        counts: (n_texts,) training rows of each.
        n_rows: Training rows with a category.

    Returns:
        These categories, sorted, and the number of features that all others share: none without rare ones, one for up
        to 50 categories, else 32, of which each category has the one that a hash of its text chooses.
    """
    is_common = counts >= rare_below(n_rows)
    order = np.argsort(-counts, kind="stable")
    if len(texts) <= MAX_CATEGORIES:
        own = [texts[number] for number in order if is_common[number]]
        return tuple(sorted(own)), int(len(own) < len(texts))
    return tuple(sorted(texts[number] for number in order[:MAX_OWN] if is_common[number])), N_HASHED


def reason_to_ignore(n_texts: int, counts: Array, n_rows: int) -> str:
    """Returns why texts are no categories: they differ in most rows, or all are rare; empty if they are."""
    if n_texts > max(FEW_CATEGORIES, n_rows / 2):
        return f"{n_texts} different texts in {n_rows} rows"
    if counts.max() < rare_below(n_rows):
        return f"{n_texts} different texts, each in at most {counts.max()} of {n_rows} rows"
    return ""


def shared_feature(text: str, n_shared: int) -> int:
    """Returns which of the shared features a text has: its CRC-32, the same on every machine, modulo their number."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % n_shared
