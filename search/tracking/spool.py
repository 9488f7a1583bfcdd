"""Results on disk until both databases have them: written whole or not at all, and read again after a crash."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from pipelines.errors import UnavailableError
from search.home.locks import is_locked, lock_file
from search.home.settings import Settings, study_slug
from search.tracking.entries import Entry, Epoch, RunStart

_ENTRY_FILE = "entry.json"


def write_entry(spool: Path, entry: Entry, files: Mapping[str, bytes]) -> Path:
    """Puts a finished run on disk: after this returns, a crash does not lose it.

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
    contents[_ENTRY_FILE] = json.dumps(asdict(entry)).encode()
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)  # without its parents: a home that somebody deleted is not to come back
        unfinished.mkdir()
        for name, content in contents.items():
            _write_through(unfinished / name, content)
        _sync_folder(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UnavailableError(f"spool {spool}: must take a finished trial, got {error.strerror}") from error
    return folder


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_entry(folder: Path) -> Entry:
    """Reads an entry that ``write_entry`` wrote."""
    document = json.loads((folder / _ENTRY_FILE).read_text())
    document["start"] = RunStart(**document["start"])
    document["history"] = tuple(Epoch(**epoch) for epoch in document["history"])
    return Entry(**document)


def artifacts(folder: Path) -> list[Path]:
    """The files of an entry that go to MLflow."""
    return sorted(path for path in folder.iterdir() if path.name != _ENTRY_FILE)


def move_entry(folder: Path, spool: Path) -> Path:
    """Takes an entry over from the spool of another process, whole or not at all; returns its new folder."""
    target = spool / folder.parent.name / folder.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    return folder.rename(target)


def remove_entry(folder: Path) -> None:
    """Takes a delivered entry away."""
    shutil.rmtree(folder, ignore_errors=True)


def entries(spool: Path, study: str) -> Iterator[Path]:
    """The folders of a study's entries that wait, oldest trial first."""
    folder = spool / study_slug(study)
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if (path / _ENTRY_FILE).is_file() and path.suffix != ".tmp")


def collect_spools(settings: Settings, name: str) -> list[Path]:
    """Moves what processes that are gone left in their spools to this process's own; returns the moved entries."""
    moved: list[Path] = []
    for index in itertools.count():
        other = replace(settings, process_index=index)
        if not lock_file(other, name).exists():
            return moved
        if index != settings.process_index:
            with lock_file(other, name).open("a") as file:
                left = [] if is_locked(file) else list(entries(other.spool, name))
                moved += [move_entry(folder, settings.spool) for folder in left]
    return moved


def has_spooled(settings: Settings, name: str) -> bool:
    """Whether results of a study wait in a spool of this home."""
    spools = settings.home.glob("spool*")
    return any(any(entries(spool, name)) for spool in spools)
