"""The record of a score for each row, as text. Imports NumPy only: workers write it.

A score is a number of a row that is averaged; today it is 1 for a row that was classified correctly, 0 for another.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
import numpy.typing as npt


def encode(right: npt.NDArray[np.bool_]) -> str:
    """Returns which of (n_rows,) rows are right as a short text, for ``decode``."""
    packed = base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode()
    return f"right:{len(right)}:{packed}"


def decode(text: str) -> npt.NDArray[np.float64]:
    """Returns the (n_rows,) scores in a text of ``encode``: 1 for a right row, 0 for a wrong one.

    Raises:
        ValueError: It is no such text.
    """
    kind, n_rows, packed = text.split(":")
    if kind != "right":
        raise ValueError(f"scores of rows must be of the kind 'right', got {kind!r}")
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    return np.unpackbits(bits, count=int(n_rows)).astype(np.float64)
