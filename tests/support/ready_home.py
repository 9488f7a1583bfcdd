"""Copies of a finished home."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


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
