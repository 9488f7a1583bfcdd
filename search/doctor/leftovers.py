"""What lies in the spool and in the home and belongs to nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from search.doctor.findings import Finding
from search.doctor.view import readable_entry
from search.home.settings import Settings, study_slug

SET_ASIDE = "set-aside"
"""Folder of the home for what cannot be read, and cannot be proven to be worth nothing either."""


def spool_leftovers(settings: Settings, folder: Path) -> Iterator[Finding]:
    """What lies in a study's part of the spool and is no result; the study's lock is in hand."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix == ".tmp":
            what = "deletes it: a process died while it wrote, and its trial is trained again"
            mend = partial(shutil.rmtree, path)
            yield Finding("unfinished file in the spool", _place(settings, path), what, mend)
        elif readable_entry(path) is None:
            yield unreadable(settings, path)


def unknown_in_spool(settings: Settings, names: set[str]) -> tuple[list[Path], list[Path]]:
    """What lies in the spool outside of the studies' parts: folders, and files."""
    known = {study_slug(name) for name in names}
    paths = sorted(settings.spool.iterdir()) if settings.spool.is_dir() else []
    folders = [path for path in paths if path.is_dir() and path.name not in known]
    return folders, [path for path in paths if not path.is_dir()]


def unreadable(settings: Settings, path: Path) -> Finding:
    """What is in the spool and is no result that can be read."""
    what = f"moves it to {SET_ASIDE}/ in the home: it cannot be read, and cannot be proven to be worth nothing"
    return Finding("unreadable in the spool", _place(settings, path), what, partial(_set_aside, settings, path))


def _set_aside(settings: Settings, path: Path) -> None:
    folder = settings.home / SET_ASIDE
    folder.mkdir(exist_ok=True, mode=0o700)
    number, target = 1, folder / f"{path.parent.name}-{path.name}"
    while target.exists():
        number, target = number + 1, folder / f"{path.parent.name}-{path.name}-{number}"
    path.rename(target)


def artifact_leftovers(settings: Settings, run_ids: set[str]) -> tuple[list[Finding], list[str]]:
    """Folders of runs that MLflow does not know, deleted ones included: empty ones, and a line on the others.

    Files are left where they lie: another MLflow database, or a backup of this one, may know their run.
    """
    root = settings.home / "artifacts"
    unknown = [
        path
        for path in (sorted(root.iterdir()) if root.is_dir() else ())
        if path.is_dir() and len(path.name) == 32 and path.name not in run_ids
    ]
    full = [path for path in unknown if any(file.is_file() for file in path.rglob("*"))]
    findings = [
        Finding("empty folder of no run", _place(settings, path), "deletes it", partial(_remove_empty, path))
        for path in unknown
        if path not in full
    ]
    if not full:
        return findings, []
    many = f"{len(full)} folders of artifacts belong" if len(full) > 1 else "1 folder of artifacts belongs"
    return findings, [f"{many} to no run that MLflow knows here, left alone: {_place(settings, full[0])}"]


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # a file has come since it was looked at
        for inner in sorted(folder.rglob("*"), reverse=True):
            inner.rmdir()
        folder.rmdir()


def _place(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.home))
