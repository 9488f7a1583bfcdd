"""The only access to the held-out test rows, for evaluation alone, after the winner is chosen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Split
from pipelines.data.loading import prepare
from pipelines.data.readers import TEST_ARRAYS, archive_of, convert_inputs
from pipelines.data.splits import hash_rows
from pipelines.data.targets import clean_labels, number_labels
from pipelines.files.archives import Array, read_array, read_headers
from pipelines.files.roles import normalize
from pipelines.files.tables import LargeTable, Table


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows(Split):
    """The test rows.

    Attributes:
        digest: 16 hexadecimal digits; the same values and labels in the same order have the same ones, however the
            other rows are split.
    """

    digest: str = ""


def open_test(config: DataConfig, folders: Sequence[Path] = ()) -> SealedRows:
    """Returns the test rows, encoded as ``loading.load`` encodes the others.

    Args:
        config: As for ``loading.load``.
        folders: As for ``loading.load``.

    Raises:
        DataError: As for ``loading.load``, or test labels that do not occur in training.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened.
    """
    prepared = prepare(config, folders, with_test=True)
    source = prepared.source
    if source.n_own_test is None:
        rows, test = prepared.shares.test, prepared.test
        (encoded,) = prepared.take(rows)
        digest = _digest(source.rows, source.labels, rows)
        return SealedRows(encoded, test.y, test.weight, test.group, test.mean_weight, digest)
    path = Path(source.place)
    headers = read_headers(path)
    x, y = (read_array(path, name, headers[name])[0] for name in TEST_ARRAYS)
    place, target = f"{path}, y_test", prepared.target
    labels = clean_labels(y, source.task, place)[1]
    x = convert_inputs(x, f"{path}, x_test")
    targets = target.encode(labels) if target else number_labels(labels, prepared.classes, place)
    weight = archive_of(path, headers, config).test_weight()
    own = None if weight is None else normalize(weight)[0]
    return SealedRows(x, targets, own, digest=_digest(x, labels, np.arange(len(x))))


def _digest(source_rows: Array | Table, labels: Array, rows: Array) -> str:
    """Hashes rows as their source holds them, by their numbers: encoded ones depend on the training rows."""
    if isinstance(source_rows, np.ndarray):
        values = source_rows[rows].astype(np.float32)
    elif isinstance(source_rows, LargeTable):
        values = hash_rows(source_rows)[rows]
    else:
        values = hash_rows(source_rows.iloc[rows])
    texts = json.dumps([str(label) for label in labels])
    return hashlib.sha256(texts.encode() + values.tobytes()).hexdigest()[:16]
