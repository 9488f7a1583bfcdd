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
from pipelines.data.readers import TEST_ARRAYS, Source, archive_of, convert_inputs, read_source
from pipelines.data.splits import hash_rows
from pipelines.data.targets import clean_labels, number_labels
from pipelines.errors import DataError
from pipelines.files.archives import Array, read_array, read_headers
from pipelines.files.roles import ROLES, normalize
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
    prepared = prepare(config, folders, with_test=True)
    source = prepared.source
    if source.n_own_test is None:
        rows, test = prepared.shares.test, prepared.test
        (encoded,) = prepared.take(rows)
        digests = [_digest(held, source.labels, rows) for held in (_as_held(source, config, folders), source.rows)]
        return SealedRows(encoded, test.y, test.weight, test.group, test.mean_weight, *digests)
    path = Path(source.place)
    headers = read_headers(path)
    x, y = (read_array(path, name, headers[name])[0] for name in TEST_ARRAYS)
    place, target = f"{path}, y_test", prepared.target
    labels = clean_labels(y, source.task, place)[1]
    x = convert_inputs(x, f"{path}, x_test")
    targets = target.encode(labels) if target else number_labels(labels, prepared.classes, place)
    weight = archive_of(path, headers, config).test_weight()
    own = None if weight is None else normalize(weight)[0]
    digest = _digest(x, labels, np.arange(len(x)))
    return SealedRows(x, targets, own, digest=digest, read_digest=digest)


def _as_held(source: Source, config: DataConfig, folders: Sequence[Path]) -> Array | Table:
    """Returns the rows of a source as they are read where ``[data]`` says nothing of the columns.

    The model of a study that ignores a column, or reads it as text, is tested on the same rows as others.
    """
    nothing: dict[str, Any] = dict.fromkeys(("text_columns", "numeric", "ignore", *ROLES))
    plain = replace(config, **nothing)
    if isinstance(source.rows, np.ndarray) or plain == config:
        return source.rows
    try:
        rows = read_source(plain, folders).rows
    except DataError:  # it can only be read with what [data] says
        return source.rows
    return rows if len(rows) == len(source.rows) else source.rows


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
