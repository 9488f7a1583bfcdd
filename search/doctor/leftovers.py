"""Finds files and folders in the spool and the artifacts that belong to nothing."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from search.doctor.findings import Finding
from search.doctor.view import readable_entry
from search.home.settings import Settings
from search.tracking.spool import REMOVED

SET_ASIDE = "set-aside"
"""Folder of the home for unreadable files, which may still hold results."""


def spool_leftovers(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Finds what is no result in a study's folder of the spool; the caller holds the study's lock."""
    for path in sorted(folder.glob("*")):
        if path.suffix == ".tmp":
            what = "deletes it: a process died while writing it, and its trial is trained again"
            if path.name.endswith(REMOVED):
                what = "deletes it: a process died while deleting it, and MLflow has its run"
            yield Finding("unfinished file in the spool", _place(settings, path), what, partial(shutil.rmtree, path))
        elif readable_entry(path) is None:
            yield unreadable(settings, path)


def unreadable(settings: Settings, path: Path) -> Finding:
    """The finding for something in the spool that cannot be read."""
    what = f"moves it to {SET_ASIDE}/ in the home: it cannot be read, but may hold results"
    return Finding("unreadable in the spool", _place(settings, path), what, partial(_set_aside, settings, path))


def _set_aside(settings: Settings, path: Path) -> None:
    folder = settings.home / SET_ASIDE
    folder.mkdir(exist_ok=True, mode=0o700)
    name = f"{path.parent.name}-{path.name}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    path.rename(next(folder / name for name in names if not (folder / name).exists()))


def artifact_leftovers(settings: Settings, run_ids: set[str]) -> tuple[list[Finding], list[str]]:
    """Finds empty folders of unknown runs, and returns a remark about those with files.

    Files stay: another MLflow database, or a backup of this one, may know their run.

    Args:
        settings: The home.
        run_ids: Ids of all runs, deleted ones included.
    """
    folders = sorted((settings.home / "artifacts").glob("?" * 32))
    unknown = [path for path in folders if path.is_dir() and path.name not in run_ids]
    full = [path for path in unknown if any(file.is_file() for file in path.rglob("*"))]
    findings = [
        Finding("empty folder of no run", _place(settings, path), "deletes it", partial(_remove_empty, path))
        for path in unknown
        if path not in full
    ]
    many = f"{len(full)} folders of artifacts belong" if len(full) > 1 else "1 folder of artifacts belongs"
    return findings, [f"{many} to no run in MLflow; skipped: {_place(settings, path)}" for path in full[:1]]


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # a file was added since the check
        for inner, _, _ in os.walk(folder, topdown=False):
            Path(inner).rmdir()


def _place(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.home))
