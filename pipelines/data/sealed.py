"""The only access to the held-out test rows, for evaluation alone, after the winner is chosen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Split
from pipelines.data.loading import prepare
from pipelines.data.readers import TEST_ARRAYS, archive_of, convert_inputs, read_source
from pipelines.data.splits import hash_rows
from pipelines.data.targets import clean_labels, number_labels
from pipelines.errors import DataError
from pipelines.files.archives import Array, read_array, read_headers
from pipelines.files.roles import ROLES, normalize
from pipelines.files.sources import is_table
from pipelines.files.tables import LargeTable, Table


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows(Split):
    """The test rows.

    Attributes:
        digest: 16 hexadecimal digits; the same values and labels in the same order have the same ones, however the
            other rows are split, and whatever ``[data]`` says of the columns.
        read_digest: That of the values as ``[data]`` lets them be read, as earlier versions had it.
    """

    digest: str = ""
    read_digest: str = ""


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
    as_held = _hashes_as_held(config, folders)
    prepared = prepare(config, folders, with_test=True)
    source = prepared.source
    if source.n_own_test is None:
        rows, test = prepared.shares.test, prepared.test
        (encoded,) = prepared.take(rows)
        digest = read_digest = _digest(_values(source.rows, rows), source.labels)
        if as_held is not None and len(as_held) == len(source.rows):
            digest = _digest(as_held[rows], source.labels)
        return SealedRows(encoded, test.y, test.weight, test.group, test.mean_weight, digest, read_digest)
    path = Path(source.place)
    headers = read_headers(path)
    x, y = (read_array(path, name, headers[name])[0] for name in TEST_ARRAYS)
    place, target = f"{path}, y_test", prepared.target
    labels = clean_labels(y, source.task, place)[1]
    x = convert_inputs(x, f"{path}, x_test")
    targets = target.encode(labels) if target else number_labels(labels, prepared.classes, place)
    weight = archive_of(path, headers, config).test_weight()
    own = None if weight is None else normalize(weight)[0]
    digest = _digest(_values(x, np.arange(len(x))), labels)
    return SealedRows(x, targets, own, digest=digest, read_digest=digest)


def _hashes_as_held(config: DataConfig, folders: Sequence[Path]) -> Array | None:
    """Returns (n_rows,) hashes of a table's rows as they are read where ``[data]`` says nothing of the columns.

    The model of a study that ignores a column, or reads it as text, is tested on the same rows as others. There are
    none where ``[data]`` says nothing, or the file can only be read with what it says.
    """
    nothing: dict[str, Any] = dict.fromkeys(("text_columns", "numeric", "ignore", *ROLES))
    plain = replace(config, **nothing)
    if plain == config or not is_table(config.source):
        return None
    try:
        return hash_rows(read_source(plain, folders).rows)
    except DataError:
        return None


def _values(source_rows: Array | Table, rows: Array) -> Array:
    """Returns rows as their source holds them, those of a table as hashes: encoded ones depend on the training rows."""
    if isinstance(source_rows, np.ndarray):
        return source_rows[rows].astype(np.float32)
    return hash_rows(source_rows)[rows] if isinstance(source_rows, LargeTable) else hash_rows(source_rows.iloc[rows])


def _digest(values: Array, labels: Array) -> str:
    texts = json.dumps([str(label) for label in labels])
    return hashlib.sha256(texts.encode() + values.tobytes()).hexdigest()[:16]
