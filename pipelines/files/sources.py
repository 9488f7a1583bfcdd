"""The name or path of a source -> a file on this machine: found, or fetched with Keras's downloader."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import DataError, NotFoundError, UnavailableError
from pipelines.native_output import quiet

SOURCES = ("digits", "mnist", "fashion_mnist")
_SUFFIXES = (".npz", ".csv", ".parquet")
_KERAS_CACHE = Path("~/.keras/datasets")


def is_available(source: str, folders: Sequence[Path] = ()) -> bool:
    """Whether a built-in source can be loaded without the network."""
    return source == "digits" or (source in SOURCES and _find(source, folders) is not None)


def locate(source: str, folders: Sequence[Path] = ()) -> Path:
    """The file of a source; of ``digits`` there is none.

    Args:
        source: ``mnist``, ``fashion_mnist`` or a path.
        folders: Where ``NAME.npz`` is looked for, in this order; a download goes to the last.

    Raises:
        DataError: Neither a known name nor a path with a known suffix.
        NotFoundError: The file does not exist.
        UnavailableError: A download failed.
    """
    if source in SOURCES:
        return _find(source, folders) or _download(source, folders)
    path, is_file = _look(source)
    known = ", ".join(SOURCES)
    if path.suffix.lower() not in _SUFFIXES:
        rule = "a file must end in .npz, .csv or .parquet" if path.suffix or path.exists() else "unknown source"
        raise DataError(
            f"data.source: {rule}, got {source!r}{nearest(source, SOURCES)}: choose {known} or the path of such a file"
        )
    if not is_file:
        raise NotFoundError(f"data.source: no such file, got {source!r}: check the path, or choose {known}")
    return path


def _look(source: str) -> tuple[Path, bool]:
    """The path, and whether it is that of a file."""
    try:
        path = Path(source).expanduser()
        return path, path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a null byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"data.source: must be the path of a file, got {source!r} ({reason})") from error


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the nearest valid name; empty where none is near."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    paths = [folder.expanduser() / f"{name}.npz" for folder in folders or (_KERAS_CACHE,)]
    return next((path for path in paths if path.is_file()), None)


def _download(name: str, folders: Sequence[Path]) -> Path:
    """Fetch a built-in source and keep it as ``NAME.npz`` in the last folder."""
    path = (folders[-1] if folders else _KERAS_CACHE).expanduser() / f"{name}.npz"
    try:
        with quiet():
            from keras import datasets
        with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for results
            training, test = getattr(datasets, name).load_data()
        if not path.is_file():  # without folders, Keras's own copy is already the file wanted
            _save(path, training, test)
    except Exception as error:  # Keras raises a bare Exception for a download that fails
        raise UnavailableError(
            f"{name}: could not be downloaded ({error}): put {name}.npz, as Keras publishes it, at {path}"
        ) from error
    return path


def _save(path: Path, training: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(partial, x_train=training[0], y_train=training[1], x_test=test[0], y_test=test[1])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
