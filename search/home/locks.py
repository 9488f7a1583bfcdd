"""File locks: one searching process for each study of an embedded database, one spool for each process."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from pipelines.errors import UnavailableError
from search.home.settings import Settings, study_slug

_LOOKS, _LOOK_S = 4, 0.05


class SearchedError(UnavailableError):
    """Another process searches the study."""


@contextmanager
def study_lock(settings: Settings, name: str) -> Iterator[Settings]:
    """Locks a study of an embedded database for this process; the operating system frees the lock when it ends.

    On a shared database each process gets a ``process_index`` of its own, and with it a lock and a spool.

    Yields:
        The settings of this process.

    Raises:
        SearchedError: Another process searches it.
        UnavailableError: The home's file system has no locks.
    """
    for index in itertools.count() if settings.is_shared else (0,):
        own = replace(settings, process_index=index)
        with open_lock(lock_file(own, name)) as file:
            if is_locked(file) and (settings.is_shared or not _becomes_free(file)):
                continue
            if os.access(own.home, os.W_OK):
                own.spool.mkdir(exist_ok=True, mode=0o700)
            yield own
            return
    raise SearchedError(
        f"study {name!r}: is being searched by another process on this home, or its finalists are trained: wait for it,"
        " or take another study; several processes on one study need OPTUNA_STORAGE on PostgreSQL"
    )


def _becomes_free(file: IO[str]) -> bool:
    """Whether this process gets a lock after a moment: another one may have looked at it for less than that."""
    for _ in range(_LOOKS):
        time.sleep(_LOOK_S)
        if not is_locked(file):
            return True
    return False


def is_study_held(settings: Settings, name: str) -> bool:
    """Whether a process of this home searches a study, or works on it alone; the lock is not taken.

    Raises:
        OSError: This process may not look, or the file system has no locks.
    """
    slug = study_slug(name)
    return any(map(_is_held, [settings.locks / f"{slug}.lock", *settings.locks.glob(f"{slug}-*.lock")]))


def is_any_held(settings: Settings, pattern: str) -> bool:
    """Whether a process of this home holds one of the locks that a pattern names; none is taken."""
    return any(map(_is_held, settings.locks.glob(pattern)))


def _is_held(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def slug_lock(settings: Settings, slug: str) -> Iterator[bool]:
    """Whether no process of this home searches the study of a slug; none can start to inside the block."""
    with open_lock(settings.locks / f"{slug}.lock") as file:
        yield not is_locked(file)


def lock_file(settings: Settings, name: str) -> Path:
    """The lock file of a study for this process's index."""
    suffix = f"-{settings.process_index}" if settings.process_index else ""
    return settings.locks / f"{study_slug(name)}{suffix}.lock"


def open_lock(path: Path) -> IO[str]:
    """Opens a lock file, which is private to the user: whoever can open it can hold the lock.

    In a home that can only be read, a missing file is replaced by one of this process: nobody holds that lock.
    """
    try:
        return open(path, "a", opener=partial(os.open, mode=0o600))
    except OSError:
        if os.access(path.parent, os.W_OK):
            raise
        return path.open() if path.exists() else tempfile.TemporaryFile("w")


def is_locked(file: IO[str]) -> bool:
    """Whether another process holds the lock of a file; where none does, this process takes it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise UnavailableError(
            f"{file.name}: must be on a file system with locks, got {error.strerror}: move the home with --home"
        ) from error
    return False
