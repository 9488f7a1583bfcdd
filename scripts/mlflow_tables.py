"""Writes mlflow.sql of search/tracking/connection: the tables to which the installed MLflow migrates a SQLite file."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

TARGET = Path(__file__).resolve().parents[1] / "search" / "tracking" / "connection" / "mlflow.sql"


def main() -> int:
    """Migrates a new file and writes its statements, without the experiment that MLflow adds at the first opening."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mlflow.db")
        SqlAlchemyStore(f"sqlite:///{file}", folder).engine.dispose()
        with closing(sqlite3.connect(file)) as database:
            statements = [line for line in database.iterdump() if not line.startswith('INSERT INTO "experiments"')]
    TARGET.write_text("\n".join([f"-- MLflow {mlflow.__version__}", *statements, ""]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
