"""Results on disk until both databases have them: written whole or not at all, and read again after a crash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import UnavailableError
from pipelines.history import EpochReport

MODEL_FILE = "model.h5"
CHECKPOINT_FILE = "checkpoint.h5"
CURVES_FILE = "learning_curves.svg"
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
"""What is logged of each epoch."""
_ENTRY_FILE = "entry.json"


def now_ms() -> int:
    """The time as runs have it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when it begins.

    Attributes:
        study: The study's name, which is the experiment's too.
        run_name: Unique in the study: ``trial-0007``.
        started_ms: Unix time in milliseconds.
        params: MLflow's params.
        tags: MLflow's tags.
    """

    study: str
    run_name: str
    started_ms: int
    params: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch: step from 1, Unix time in milliseconds, values by name."""

    step: int
    at_ms: int
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, report: EpochReport) -> Epoch:
        """What is logged of an epoch that has just ended."""
        metrics = {name: getattr(report, name) for name in METRICS}
        return cls(report.epoch, now_ms(), metrics)


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished run.

    Attributes:
        start: What was known when it began.
        ended_ms: Unix time in milliseconds.
        state: Optuna's state: COMPLETE, PRUNED or FAIL; INTERRUPTED for a run that is no trial.
        value: What Optuna is told for COMPLETE.
        result: What Optuna's trial keeps besides.
        history: Every epoch that counts.
        metrics: Once-per-run metrics.
        tags: Tags that are known at the end.
        number: The trial's number; None for a run that is no trial.
        run_id: MLflow's run, where it was open already.
    """

    start: RunStart
    ended_ms: int
    state: str
    value: float | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    number: int | None = None
    run_id: str | None = None


def study_slug(study: str) -> str:
    """A file name for a study, whatever characters its name has."""
    return hashlib.sha256(study.encode()).hexdigest()[:16]


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
