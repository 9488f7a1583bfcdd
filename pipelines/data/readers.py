"""Reads a source: its rows and labels; of its own test rows only their number and hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.splits import clean_labels, labels_of_column, listed
from pipelines.errors import DataError
from pipelines.files.archives import Array, Header, read_array, read_headers, require_memory
from pipelines.files.sources import SOURCES, locate, nearest
from pipelines.files.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

TEST_ARRAYS = ("x_test", "y_test")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The contents of a source, without test rows of its own.

    Attributes:
        name: Short name, for people.
        place: What an error calls it: the name or the path.
        rows: (n_rows, *input_shape) uint8 or float32, or a table without its target.
        labels: (n_rows,) integers or texts.
        digests: Hashes of all its arrays, test arrays included; of a table, the file's hash and the target.
        n_own_test: Test rows of its own, in the archive at ``place``; None where it has none.
    """

    name: str
    place: str
    rows: Array | pd.DataFrame
    labels: Array
    digests: tuple[str, ...]
    n_own_test: int | None = None


def read_source(config: DataConfig, folders: Sequence[Path] = ()) -> Source:
    """Reads rows and labels; arguments and errors are those of ``datasets.load``."""
    name = config.source
    if config.target is not None and (name in SOURCES or name.lower().endswith(".npz")):
        raise DataError(f"data.target: only tables have one, got {config.target!r} for {name}: leave it out")
    if name == "digits":
        return _read_digits()
    path = locate(name, folders)
    if path.suffix.lower() == ".npz":
        return _read_npz(name if name in SOURCES else path.stem, path)
    return _read_table(path, config.target or "target")


def convert_inputs(x: Array, place: str) -> Array:
    """Converts the rows of an array to ``float32``, unless they are ``uint8``.

    Raises:
        DataError: NaN or infinite values, or larger ones than ``float32`` holds.
    """
    if x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    n_wrong = x.size - np.count_nonzero(np.isfinite(x))
    if n_wrong:
        raise DataError(f"{place}: must hold finite float32 numbers, got {n_wrong} NaN or infinite: clean them")
    return x


def _read_digits() -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int32)
    digests = tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in (x, y))
    return Source("digits", "digits", x, y, digests)


def _read_npz(name: str, path: Path) -> Source:
    headers = read_headers(path)
    x_name, y_name = ("x", "y") if "x" in headers and "x_train" not in headers else ("x_train", "y_train")
    has_test = x_name == "x_train" and any(test in headers for test in TEST_ARRAYS)
    test_names = TEST_ARRAYS if has_test else ()
    _require_usable(path, headers, (x_name, y_name, *test_names))
    require_memory(path, sum(headers[array].n_bytes_kept for array in (x_name, y_name, *test_names)))
    x, x_digest = read_array(path, x_name, headers[x_name])
    y, y_digest = read_array(path, y_name, headers[y_name])
    x, y = convert_inputs(x, f"{path}, {x_name}"), clean_labels(y, f"{path}, {y_name}")
    # Test rows pass through the hash and are not kept.
    test_digests = [read_array(path, test, headers[test])[1] for test in test_names]
    n_own_test = headers["x_test"].shape[0] if has_test else None
    return Source(name, str(path), x, y, (x_digest, y_digest, *test_digests), n_own_test)


def _require_usable(path: Path, headers: Mapping[str, Header], names: Sequence[str]) -> None:
    """Raises every problem that the headers of these pairs of inputs and labels show."""
    problems = _pair_problems(headers, *names[:2])
    if names[2:]:
        problems += _pair_problems(headers, *names[2:])
    if not problems and names[2:] and headers["x_test"].shape[1:] != headers["x_train"].shape[1:]:
        shapes = f"{headers['x_train'].shape} and {headers['x_test'].shape}"
        problems.append(f"rows of x_train and x_test must have one shape, got arrays of {shapes}")
    if problems:
        raise DataError([f"{path}: {problem}" for problem in problems])


def _pair_problems(headers: Mapping[str, Header], x_name: str, y_name: str) -> list[str]:
    missing = [name for name in (x_name, y_name) if name not in headers]
    if missing:
        return [
            "must hold x_train and y_train (and may hold x_test and y_test), or x and y, "
            f"got {', '.join(headers) or 'none'}: add {' and '.join(missing)}"
        ]
    x, y = headers[x_name], headers[y_name]
    allowed = {x_name: ("biuf", "real numbers"), y_name: ("biufUS", "whole numbers or text")}
    problems = []
    for name, (kinds, what) in allowed.items():
        if headers[name].dtype.hasobject:
            problems.append(f"{name} must not hold pickled objects, which are never opened: save plain numbers")
        elif headers[name].dtype.kind not in kinds:
            problems.append(f"{name} must hold {what}, got {headers[name].dtype}: convert it")
    if len(x.shape) < 2 or 0 in x.shape:
        problems.append(f"{x_name} must be (n_rows, n_features, ...), none of them 0, got shape {x.shape}")
    if len(y.shape) != 1 and y.shape[1:] != (1,):
        hint = f": use class numbers, {y_name}.argmax(axis=1)" if len(y.shape) == 2 else ""
        problems.append(f"{y_name} must be (n_rows,), got shape {y.shape}{hint}")
    elif x.shape[:1] != y.shape[:1]:
        problems.append(f"{x_name} and {y_name} must have as many rows, got shapes {x.shape} and {y.shape}")
    return problems


def _read_table(path: Path, target: str) -> Source:
    frame = read_table(path)
    if target not in frame.columns:
        raise DataError(
            f"{path}: must have the label's column {target!r}{nearest(target, frame.columns)}, "
            f"got {listed(list(frame.columns))}: name one of them as the target"
        )
    empty = frame.columns[frame.isna().all()].drop(target, errors="ignore")
    if len(empty):
        raise DataError([f"{path}, column {name!r}: must hold values, got none in any row: drop it" for name in empty])
    labels = labels_of_column(frame.pop(target), f"{path}, column {target!r}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(path.stem, str(path), frame, labels, (digest, target))
