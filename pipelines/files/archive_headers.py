"""Checks the headers of an archive's inputs and labels: names, types and shapes, before an array is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Header, read_array, require_memory


def require_usable(path: Path, headers: Mapping[str, Header], pairs: Sequence[tuple[str, str]]) -> None:
    """Checks pairs of inputs and labels.

    Args:
        path: The archive.
        headers: Of its arrays, by name.
        pairs: Names of the inputs and labels of each split, the training rows first.

    Raises:
        DataError: Every problem that the headers show.
    """
    problems = [problem for pair in pairs for problem in _pair_problems(path, headers, *pair)]
    first = pairs[0][0]
    if not problems:
        shape = headers[first].shape
        problems = [
            f"rows of {first} and {name} must have one shape, got arrays of {shape} and {headers[name].shape}"
            for name, _ in pairs[1:]
            if headers[name].shape[1:] != shape[1:]
        ]
    if problems:
        raise DataError([f"{path}: {problem}" for problem in problems])


def _pair_problems(path: Path, headers: Mapping[str, Header], x_name: str, y_name: str) -> list[str]:
    missing = [name for name in (x_name, y_name) if name not in headers]
    if missing:
        return [
            "must hold x_train and y_train (and may hold x_val and y_val, x_test and y_test), or x and y, "
            f"got {', '.join(headers) or 'none'}: add {' and '.join(missing)}"
        ]
    x, y = headers[x_name], headers[y_name]
    allowed = {x_name: ("biuf", "real numbers"), y_name: ("biufUS", "numbers or text")}
    problems = []
    for name, (kinds, what) in allowed.items():
        if headers[name].dtype.hasobject:
            problems.append(f"{name} must not hold pickled objects, which are never opened: save plain numbers")
        elif headers[name].dtype.kind not in kinds:
            problems.append(f"{name} must hold {what}, got {headers[name].dtype}: convert it")
    if len(x.shape) < 2 or 0 in x.shape:
        problems.append(f"{x_name} must be (n_rows, n_features, ...), none of them 0, got shape {x.shape}")
    if len(y.shape) != 1 and y.shape[1:] != (1,):
        hint = _label_hint(path, y_name, y) if len(y.shape) == 2 and not problems else ""
        problems.append(f"{y_name} must be (n_rows,), got shape {y.shape}{hint}")
    elif x.shape[:1] != y.shape[:1]:
        problems.append(f"{x_name} and {y_name} must have as many rows, got shapes {x.shape} and {y.shape}")
    return problems


def _label_hint(path: Path, name: str, header: Header) -> str:
    """Returns what to do with (n_rows, n) labels: only those with a single 1 a row have an ``argmax``."""
    require_memory(path, header.n_bytes_kept)
    labels = read_array(path, name, header)[0]
    if labels.dtype.kind in "biuf" and ((labels == 1).sum(axis=1) == 1).all() and np.isin(labels, (0, 1)).all():
        return f": use class numbers, {name}.argmax(axis=1)"
    return ": several labels a row are not supported, train a model for each column of labels"
