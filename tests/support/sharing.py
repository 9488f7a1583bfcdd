"""Objects made once for a whole test run, although each xdist worker is a process with session fixtures of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def run_lock(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Holds a lock against the other workers; gives a path of this name in the shared folder."""
    path = run_folder(factory) / name
    with FileLock(f"{path}.lock"):
        yield path


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A file or folder that the first worker to ask makes, whole or not at all, and all workers read."""
    with run_lock(factory, name) as path:
        if not path.exists():
            unfinished = path.with_name(f"{name}.unfinished")
            make(unfinished)
            unfinished.rename(path)
    return path
