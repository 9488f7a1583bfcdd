"""Keeps results on disk until Optuna and MLflow have them. An entry is written completely or not at all."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipelines.errors import UnavailableError
from search.home.locks import is_locked, lock_file, open_lock
from search.home.settings import Settings, study_slug
from search.tracking.entries import Entry

_ENTRY_FILE = "entry.json"
REMOVED = ".old.tmp"
"""End of the name of an entry that is being deleted."""


def write_entry(spool: Path, entry: Entry, files: Mapping[str, bytes]) -> Path:
    """Writes a finished run to disk; after this returns, neither a crash nor a power cut loses it.

    Args:
        spool: The spool's folder.
        entry: The run.
        files: Artifacts by file name; empty ones are left out.

    Returns:
        The entry's folder.

    Raises:
        UnavailableError: The disk is full or the folder cannot be written.
    """
    folder = spool / study_slug(entry.start.study) / entry.start.run_name
    unfinished = folder.with_name(folder.name + ".tmp")
    contents = {name: content for name, content in files.items() if content}
    contents[_ENTRY_FILE] = entry.to_json().encode()
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)  # without parents: a home that somebody deleted must stay deleted
        unfinished.mkdir()
        for name, content in contents.items():
            (unfinished / name).write_bytes(content)
            _write_through(unfinished / name)
        _write_through(unfinished)
        if folder.exists():
            remove_entry(folder)
        unfinished.rename(folder)
        _write_through(folder.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UnavailableError(f"spool {spool}: must take a finished trial, got {error.strerror}") from error
    return folder


def _write_through(path: Path) -> None:
    """Waits until the disk has a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_entry(folder: Path) -> Entry:
    """Reads an entry that ``write_entry`` wrote."""
    return Entry.from_json((folder / _ENTRY_FILE).read_text())


def artifacts(folder: Path) -> list[Path]:
    """The files of an entry to upload to MLflow."""
    return sorted(path for path in folder.iterdir() if path.name != _ENTRY_FILE)


def remove_entry(folder: Path) -> None:
    """Deletes an entry, first its name: a process killed meanwhile must not leave an entry without its model."""
    going = folder.with_name(folder.name + REMOVED)
    shutil.rmtree(going, ignore_errors=True)
    with suppress(OSError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def entries(spool: Path, study: str) -> Iterator[Path]:
    """The folders of a study's entries, the oldest trial first."""
    found = (spool / study_slug(study)).glob(f"*/{_ENTRY_FILE}")
    yield from sorted(path.parent for path in found if path.parent.suffix != ".tmp")


def collect_spools(settings: Settings, name: str) -> list[Path]:
    """Moves the entries of dead processes to this process's spool; returns their new folders."""
    moved: list[Path] = []
    places = (replace(settings, process_index=index) for index in itertools.count())
    for other in itertools.takewhile(lambda place: lock_file(place, name).exists(), places):
        if other.process_index == settings.process_index:
            continue
        with open_lock(lock_file(other, name)) as file:
            left = [] if is_locked(file) else list(entries(other.spool, name))
            for folder in left:
                target = settings.spool / folder.parent.name / folder.name
                target.parent.mkdir(parents=True, exist_ok=True)
                remove_entry(target)
                moved.append(folder.rename(target))
    return moved


def has_spooled(settings: Settings, name: str) -> bool:
    """Whether a spool of this home has results of a study."""
    return any(any(entries(spool, name)) for spool in settings.home.glob("spool*"))
