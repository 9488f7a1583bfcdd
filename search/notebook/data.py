"""Data of a Python process as a file, from which a study reads its rows."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from pipelines.errors import DataError, InputError, UnavailableError
from pipelines.files.sources import SOURCES
from search.home.settings import prepare_home, read_settings
from search.spec.rules import NAME_RULE, is_name

if TYPE_CHECKING:
    import pandas as pd


def save_data(
    name: str, frame: pd.DataFrame | None = None, *, home: Path | None = None, **arrays: np.ndarray | pd.Series
) -> str:
    """Saves a frame or arrays in the folder ``datasets`` of the home, for ``default_spec``.

    ``search.default_spec(search.save_data("houses", frame), target="price")`` is a study of a frame, and
    ``search.default_spec(search.save_data("shapes", x=inputs, y=labels))`` one of arrays.

    Args:
        name: The file's name without its end; a study of it has this name, too.
        frame: A row for each example, and a column for the target. The index is not saved.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        **arrays: The arrays of a ``.npz``: ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Returns:
        The path of the file. Equal data of the same name is the same file.

    Raises:
        DataError: A file cannot hold the data.
        InputError: The name is not valid, or other data has it.
        UnavailableError: The home cannot be written.
    """
    if not isinstance(name, str) or not is_name(name) or name in SOURCES:
        raise InputError(f"name: {NAME_RULE}, and not be that of a built-in dataset, got {name!r}: choose another")
    if (frame is None) == (not arrays):
        raise InputError(f"save_data({name!r}): needs a frame, or arrays such as x and y: give one of the two")
    if wrong := {"file", "allow_pickle"} & arrays.keys():
        raise InputError(f"save_data({name!r}): must not have an array named {', '.join(sorted(wrong))}: rename it")
    settings = read_settings(home)
    prepare_home(settings)
    table, archive = (settings.home / "datasets" / f"{name}{end}" for end in (".parquet", ".npz"))
    if frame is not None:
        return _save(table, archive, partial(_write_frame, frame))
    plain = {key: _as_array(key, values) for key, values in arrays.items()}
    _require_labels(plain)
    if not any({f"x{end}", f"y{end}"} <= arrays.keys() for end in ("", "_train")):
        found = ", ".join(arrays)
        raise InputError(f"save_data({name!r}): must have x and y, or x_train and y_train, got {found}: rename them")
    # mypy takes the arrays for the function's flag.
    return _save(archive, table, lambda path: np.savez(path, **plain))  # type: ignore[arg-type]


def _require_labels(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs and labels of different numbers of rows, here rather than when the file is read."""
    for end in ("", "_train", "_val", "_test"):
        x, y = (np.shape(arrays.get(f"{key}{end}", ())) for key in ("x", "y"))
        if x[:1] != y[:1]:
            raise DataError(f"x{end} and y{end}: must have a row for each label, got shapes {x} and {y}: correct them")


def _save(path: Path, other: Path, write: Callable[[Path], None]) -> str:
    """Writes the file unless it is there with the same data, and returns its path; ``other`` has the same name."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        write(unfinished)
        for there in (path, other):
            if there.exists() and not _are_equal(unfinished, there):
                raise InputError(
                    f"{there}: must hold the same data, got other: choose another name, or delete the file"
                )
        if not path.exists():  # an equal file may have other bytes, which a study knows
            unfinished.replace(path)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written ({error.strerror or error}): choose another home") from error
    finally:
        with suppress(OSError):  # a name that is too long for the folder is too long here
            unfinished.unlink(missing_ok=True)
    return str(path)


def _write_frame(frame: object, path: Path) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(frame, pd.DataFrame):
        found = type(frame).__name__
        raise DataError(f"frame: must be a pandas frame, got {found}: give arrays by name, such as x=... and y=...")
    try:
        pq.write_table(pa.Table.from_pandas(frame.rename(columns=str), preserve_index=False), path)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        rule = "each column must hold numbers, dates, truth values or texts alone"
        reason = "; ".join(str(part) for part in error.args)
        raise DataError(f"frame: {rule} ({reason}): convert it, or leave it out") from error


def _are_equal(new: Path, old: Path) -> bool:
    """Whether two files hold the same: equal values may be written as other bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if new.suffix != old.suffix:
        return False
    if filecmp.cmp(new, old, shallow=False):
        return True
    try:
        if new.suffix == ".parquet":
            return bool(pq.read_table(new).equals(pq.read_table(old)))
        with np.load(new) as now, np.load(old) as then:
            return set(now.files) == set(then.files) and all(_are_same(now[key], then[key]) for key in now.files)
    except (pa.ArrowException, ValueError, BadZipFile):  # the file of that name is no table or no archive
        return False


def _are_same(now: np.ndarray, then: np.ndarray) -> bool:
    are_numbers = now.dtype.kind == then.dtype.kind == "f"
    return now.dtype.newbyteorder("=") == then.dtype.newbyteorder("=") and np.array_equal(now, then, are_numbers)


def _as_array(key: str, values: object) -> np.ndarray:
    """The array as a ``.npz`` holds it without pickles."""
    if np.ma.is_masked(values):
        raise DataError(f"{key}: must have no masked values, which no file keeps: fill them first")
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of several lengths
        raise DataError(f"{key}: must be an array ({error}): convert it") from error
    if array.dtype == object:
        array = _of_objects(key, array)
    if array.dtype.kind == "c":
        raise DataError(f"{key}: must hold real numbers, got {array.dtype}: convert them")
    return array


def _of_objects(key: str, array: np.ndarray) -> np.ndarray:
    """An array of Python's objects as one of truth values, of numbers or of texts."""
    values = list(array.flat)
    are_alike = any(all(isinstance(value, kind) for value in values) for kind in (bool | np.bool_, str))
    are_alike |= all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    made = np.asarray(values) if are_alike else array
    if values and made.dtype == object:
        odd = next((value for value in values if not isinstance(value, str | Real | np.bool_)), values[-1])
        rule = "must hold truth values, numbers or texts alone"
        raise DataError(f"{key}: {rule}, got {odd!r}: convert it, or give a frame")
    return made.reshape(array.shape) if values else array.astype(str)
