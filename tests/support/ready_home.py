"""Ready-made homes to copy: a finished one, or MLflow's empty database, whose fifty migrations take seconds."""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

sources: list[Callable[[], Path]] = []
"""What makes the file when it is first wanted and then knows where it is; the session's fixture puts it here."""


def copy_database(path: Path) -> None:
    """Puts the ready-made file at ``path``, whole or not at all; what lies there already stays."""
    copied = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    shutil.copy(sources[-1](), copied)
    with suppress(FileExistsError):  # another process was faster
        path.hardlink_to(copied)
    copied.unlink()


def prepare(home: Path) -> Path:
    """Makes a home with MLflow's tables for a command in another process; one that exists stays as it is."""
    if not home.exists():
        home.mkdir(parents=True, mode=0o700)
        copy_database(home / "mlflow.db")
    return home


def copy_home(home: Path, copy: Path) -> Path:
    """Copies a home, whose runs then have their artifacts in the copy."""
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("*.db*"))
    for name in ("optuna.db", "mlflow.db"):
        with closing(sqlite3.connect(home / name)) as source, closing(sqlite3.connect(copy / name)) as target:
            source.backup(target)
    with closing(sqlite3.connect(copy / "mlflow.db")) as database:
        (there,) = database.execute("SELECT artifact_location FROM experiments ORDER BY experiment_id DESC").fetchone()
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            changed = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(changed, [there, (copy / "artifacts").as_uri()])
        database.commit()
    return copy
