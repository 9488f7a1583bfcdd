"""MLflow's database in a new home."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path

from search.home.addresses import sqlite_address, sqlite_file
from search.home.settings import MIGRATING
from search.tracking.connection.client import silence_mlflow


def make_database(address: str) -> None:
    """Creates MLflow's SQLite file where there is none, completely or not at all.

    A process killed before its last table would leave a file that no process can use.
    """
    path = sqlite_file(address)
    if not path or path.exists() or not path.parent.is_dir():  # opening the file reports a missing folder
        return
    with tempfile.TemporaryDirectory(prefix="mlflow-db-", dir=path.parent) as folder:
        made = Path(folder, path.name)
        made.touch(mode=0o600)
        _create_tables(made, (path.parent / "artifacts").as_uri())
        with suppress(FileExistsError):  # another process was faster, and its file may have runs by now
            path.hardlink_to(made)


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
