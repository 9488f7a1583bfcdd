"""MLflow's database in a new home."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from search.home.addresses import sqlite_address, sqlite_file
from search.home.settings import MIGRATING, make_whole
from search.tracking.connection.client import silence_mlflow


def make_database(address: str) -> None:
    """Creates MLflow's SQLite file where there is none."""
    if path := sqlite_file(address):
        make_whole(path, lambda made: _create_tables(made, (path.parent / "artifacts").as_uri()))


def _create_tables(file: Path, artifacts: str) -> None:
    """Fills a new file with MLflow's tables.

    The fifty migrations that MLflow runs take a second of a processor. ``scripts/mlflow_tables.py`` has written down
    what they come to; another version of MLflow runs its own.
    """
    import mlflow
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    silence_mlflow()  # after the import, which sets the level of its messages
    tables = resources.files(__package__).joinpath("mlflow.sql").read_text(encoding="utf-8")
    if tables.startswith(f"-- MLflow {mlflow.__version__}\n"):
        with closing(sqlite3.connect(file)) as database:
            database.executescript(tables)
    with MIGRATING:
        SqlAlchemyStore(sqlite_address(file), artifacts).engine.dispose()  # checks the tables' version
