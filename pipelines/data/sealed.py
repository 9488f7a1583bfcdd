"""The only access to the held-out test rows, for evaluation alone, after the winner is chosen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Split, prepare, take
from pipelines.data.readers import TEST_ARRAYS, convert_inputs
from pipelines.data.splits import clean_labels, hash_rows, number_labels
from pipelines.files.archives import Array, read_array, read_headers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows(Split):
    """The test rows.

    Attributes:
        digest: 16 hexadecimal digits; the same values and labels in the same order have the same ones, however the
            other rows are split.
    """

    digest: str


def open_test(config: DataConfig, folders: Sequence[Path] = ()) -> SealedRows:
    """Returns the test rows, encoded as ``datasets.load`` encodes the others.

    Args:
        config: As for ``datasets.load``.
        folders: As for ``datasets.load``.

    Raises:
        DataError: As for ``datasets.load``, or test labels that do not occur in training.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened.
    """
    prepared = prepare(config, folders)
    source = prepared.source
    if source.n_own_test is None:
        rows = prepared.shares.test
        test = take(source, prepared.dataset.preprocessing.columns, prepared.numbers, rows)
        raw = source.rows[rows] if isinstance(source.rows, np.ndarray) else source.rows.iloc[rows]
        return SealedRows(test.x, test.y, _digest(raw, source.labels[rows]))
    path = Path(source.place)
    headers = read_headers(path)
    x, y = (read_array(path, name, headers[name])[0] for name in TEST_ARRAYS)
    labels = clean_labels(y, f"{path}, y_test")
    x = convert_inputs(x, f"{path}, x_test")
    return SealedRows(x, number_labels(labels, prepared.classes, f"{path}, y_test"), _digest(x, labels))


def _digest(rows: Array | pd.DataFrame, labels: Array) -> str:
    """Hashes rows as their source holds them: encoded ones depend on the training rows."""
    values = rows.astype(np.float32) if isinstance(rows, np.ndarray) else hash_rows(rows)
    texts = json.dumps([str(label) for label in labels])
    return hashlib.sha256(texts.encode() + values.tobytes()).hexdigest()[:16]
