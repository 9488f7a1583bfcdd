"""A home that cannot be written, and a process that respects it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def as_a_user_without_rights(*command: str) -> list[str]:
    """Root writes wherever it likes, unless it gives up its capabilities."""
    if os.geteuid():
        return list(command)
    if not shutil.which("setpriv"):
        pytest.skip("root needs setpriv to give up its capabilities")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]


@contextmanager
def unwritable(*homes: Path) -> Iterator[None]:
    """Takes the right to write their folders from everybody, for as long as the block takes."""
    folders = [path for home in homes for path in (home, *filter(Path.is_dir, home.rglob("*")))]
    for path in folders:
        path.chmod(0o500)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o700)
