"""Finds the file of a source by name or path, or downloads it with Keras."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config import DataConfig, Scaling
from pipelines.errors import DataError, NotFoundError, UnavailableError
from pipelines.keras_settings import tensorflow_backend
from pipelines.native_output import quiet

if TYPE_CHECKING:  # the command line imports this module
    import numpy as np

SOURCES = ("digits", "mnist", "fashion_mnist")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
SUFFIXES = (".npz", *TABLE_SUFFIXES)
_KERAS_CACHE = Path("~/.keras/datasets")


def is_table(source: str) -> bool:
    """Whether a source is a file of rows and columns by its name."""
    return suffix_of(Path(source)) in TABLE_SUFFIXES


def is_available(source: str, folders: Sequence[Path] = ()) -> bool:
    """Whether a built-in source can be loaded without the network."""
    return source == "digits" or (source in SOURCES and _find(source, folders) is not None)


def locate(source: str, folders: Sequence[Path] = ()) -> Path:
    """Returns the file of a source; ``digits`` has none.

    Args:
        source: ``mnist``, ``fashion_mnist`` or a path.
        folders: Where ``NAME.npz`` is looked for, in this order; a download goes to the last.

    Raises:
        DataError: The source is neither a known name nor a path with a known suffix.
        NotFoundError: The file does not exist.
        UnavailableError: A download failed.
    """
    if source in SOURCES:
        return _find(source, folders) or _download(source, folders)
    path, is_file = _check_path(source)
    known = ", ".join(SOURCES)
    if suffix_of(path) not in SUFFIXES:
        rule = f"a file must end in {', '.join(SUFFIXES)}" if path.suffix or path.exists() else "unknown source"
        found = f"{source!r}{nearest(source, SOURCES)}"
        raise DataError(f"data.source: {rule}, got {found}: choose {known} or the path of such a file")
    if path.is_dir():
        raise DataError(f"data.source: must be a file, got the folder {source!r}: join its files into one")
    if not is_file:
        raise NotFoundError(f"data.source: no such file, got {source!r}: check the path, or choose {known}")
    return path


def suffix_of(path: Path) -> str:
    """Returns the end of a file's name in lower case, with the one before ``.gz``."""
    return "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()


def scaling_of(config: DataConfig) -> Scaling:
    """Returns the scaling of a source: ``auto`` is ``minmax`` for arrays and pictures."""
    if is_table(config.source):
        return config.scaling or "auto"
    return "minmax" if config.scaling in (None, "auto") else config.scaling


def stem_of(source: str) -> str:
    """Returns the short name of a source: a file's name without its folder and ``suffix_of``."""
    path = Path(source)
    return path.name[: len(path.name) - len(suffix_of(path))]


def _check_path(source: str) -> tuple[Path, bool]:
    """Returns the path and whether it is a file."""
    try:
        path = Path(source).expanduser()
        return path, path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, an unknown user, a null byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"data.source: must be the path of a file, got {source!r} ({reason}): check it") from error


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns a hint with the nearest valid name, or an empty text."""
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    paths = [folder.expanduser() / f"{name}.npz" for folder in folders or (_KERAS_CACHE,)]
    return next((path for path in paths if path.is_file()), None)


def _download(name: str, folders: Sequence[Path]) -> Path:
    """Downloads a built-in source and saves it as ``NAME.npz`` in the last folder."""
    path = (folders[-1] if folders else _KERAS_CACHE).expanduser() / f"{name}.npz"
    try:
        with quiet(), tensorflow_backend():
            from keras import datasets
        with contextlib.redirect_stdout(sys.stderr):  # Keras's progress bar; stdout is for results
            training, test = getattr(datasets, name).load_data()
        if not path.is_file():  # without folders, Keras's own copy is the file
            _save(path, training, test)
    except Exception as error:  # Keras raises a bare Exception for a failed download
        remedy = f"put {name}.npz, as Keras publishes it, at {path}"
        raise UnavailableError(f"{name}: could not be downloaded ({error}): {remedy}") from error
    return path


def _save(path: Path, training: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez_compressed(partial, x_train=training[0], y_train=training[1], x_test=test[0], y_test=test[1])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
