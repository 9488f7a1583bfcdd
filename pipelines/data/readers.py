"""A source -> its rows and labels as they are; of its own test rows no more than their number and a hash."""

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
from pipelines.files.archives import Array, Header, hash_arrays, read_arrays, read_headers, require_memory
from pipelines.files.sources import SOURCES, locate, nearest
from pipelines.files.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

TEST_ARRAYS = ("x_test", "y_test")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a source holds beside test rows of its own.

    Attributes:
        name: Short name, for people.
        place: What an error calls it: the name or the path.
        rows: (n_rows, *input_shape) uint8 or float32, or a table without its target.
        labels: (n_rows,) integers or texts.
        digests: Identify all its arrays, test arrays included, or the file's bytes and the target.
        archive: The ``.npz`` that holds test arrays of its own; None where there are none.
        n_test: Rows of those arrays.
    """

    name: str
    place: str
    rows: Array | pd.DataFrame
    labels: Array
    digests: tuple[str, ...]
    archive: Path | None = None
    n_test: int = 0


def read_source(config: DataConfig, folders: Sequence[Path] = ()) -> Source:
    """Read rows and labels; arguments and errors are those of ``datasets.load``."""
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
    """Rows of an array as ``uint8`` where they are that, else as ``float32``.

    Raises:
        DataError: NaN or infinite values, or larger than ``float32`` holds.
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
    has_test = x_name == "x_train" and any(name in headers for name in TEST_ARRAYS)
    problems = _pair_problems(headers, x_name, y_name)
    if has_test:
        problems += _pair_problems(headers, *TEST_ARRAYS)
    if not problems and has_test and headers["x_test"].shape[1:] != headers[x_name].shape[1:]:
        shapes = f"{headers[x_name].shape} and {headers['x_test'].shape}"
        problems.append(f"rows of x_train and x_test must have one shape, got arrays of {shapes}")
    if problems:
        raise DataError([f"{path}: {problem}" for problem in problems])
    used = (x_name, y_name, *(TEST_ARRAYS if has_test else ()))
    require_memory(path, sum(headers[array].n_bytes_kept for array in used))
    (x, y), digests = read_arrays(path, headers, (x_name, y_name))
    x, y = convert_inputs(x, f"{path}, {x_name}"), clean_labels(y, f"{path}, {y_name}")
    if not has_test:
        return Source(name, str(path), x, y, tuple(digests))
    digests += hash_arrays(path, headers, TEST_ARRAYS)
    return Source(name, str(path), x, y, tuple(digests), path, headers["x_test"].shape[0])


def _pair_problems(headers: Mapping[str, Header], x_name: str, y_name: str) -> list[str]:
    """What is wrong with a pair of arrays, as far as their headers tell."""
    missing = [name for name in (x_name, y_name) if name not in headers]
    if missing:
        return [
            "must hold x_train and y_train (and may hold x_test and y_test), or x and y, "
            f"got {', '.join(headers) or 'none'}: add {' and '.join(missing)}"
        ]
    x, y, problems = headers[x_name], headers[y_name], []
    for name, header, kinds in ((x_name, x, "biuf"), (y_name, y, "biufUS")):
        if header.dtype.hasobject:
            problems.append(f"{name} must not hold pickled objects, which are never opened: save plain numbers")
        elif header.dtype.kind not in kinds:
            what = "real numbers" if name == x_name else "whole numbers or text"
            problems.append(f"{name} must hold {what}, got {header.dtype}: convert it")
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
    empty = [name for name in frame.columns if name != target and frame[name].isna().all()]
    if empty:
        raise DataError([f"{path}, column {name!r}: must hold values, got none in any row: drop it" for name in empty])
    labels = labels_of_column(frame.pop(target), f"{path}, column {target!r}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(path.stem, str(path), frame, labels, (digest, target))
