"""Looks at a home that cannot be written: its databases are copied, because SQLite writes beside those it reads."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import UnavailableError
from search.home.addresses import sqlite_address, sqlite_file
from search.home.relocation import correct_addresses
from search.home.settings import DATABASE_FILES, Settings
from search.home.text import one_line

_TRIES = 3


@contextmanager
def readable(settings: Settings) -> Iterator[Settings]:
    """A home as it is, or with copies of its databases where it cannot be written; then nothing in it is changed.

    Yields:
        The settings; for as long as the block takes, with the copies instead of the databases. Addresses outside of the
        home stay.

    Raises:
        UnavailableError: A database cannot be read.
    """
    if can_write(settings):
        yield settings
        return
    with TemporaryDirectory(prefix="mlp-search-") as name:
        try:
            copied = _copies(settings, Path(name))
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError(f"home {settings.home}: must be readable, got {one_line(error)}") from error
        yield copied


def _copies(settings: Settings, folder: Path) -> Settings:
    tracking, registry, storage = (
        _copied(address, settings.home, folder)
        for address in (settings.tracking_uri, settings.registry_uri, settings.optuna_storage)
    )
    for file in {sqlite_file(tracking), sqlite_file(registry)}:
        if settings.artifact_root and file and file.parent == folder and file.exists():
            correct_addresses(file, settings)
    return replace(settings, tracking_uri=tracking, registry_uri=registry, optuna_storage=storage)


def _copied(address: str, home: Path, folder: Path) -> str:
    """The address of a copy in a folder of the database of an address, if that lies in the home."""
    file = sqlite_file(address)
    if not file or not file.is_relative_to(home):
        return address
    target = folder / file.name
    if file.exists() and not target.exists():
        _copy(file, target)
    return sqlite_address(target)


def _copy(file: Path, target: Path) -> None:
    log = target.with_name(target.name + "-wal")
    for _ in range(_TRIES):
        log.unlink(missing_ok=True)  # of the try before
        with suppress(FileNotFoundError):  # the last process that closes the database deletes its log
            before = _state(file)
            for part in before:
                shutil.copyfile(part, target.with_name(part.name))
            if _state(file) == before:
                return
    # Another process writes it. SQLite's own copy is of one moment, though it may change the file of shared memory.
    log.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def _state(file: Path) -> dict[Path, tuple[int, int]]:
    """The sizes and times of change of a database and of the log beside it, which a dead process may have left."""
    parts = [file, file.with_name(file.name + "-wal")]
    return {part: (part.stat().st_size, part.stat().st_mtime_ns) for part in parts if part.exists()}


def can_write(settings: Settings) -> bool:
    """Whether this process can write a home and the databases in it."""
    databases = [path for name in DATABASE_FILES for path in settings.home.glob(name)]
    return os.access(settings.home, os.W_OK | os.X_OK) and all(os.access(path, os.W_OK) for path in databases)
