"""Opens Optuna's database, embedded or on a server, and reports its errors in one line."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import optuna
import sqlalchemy as sa

from pipelines.errors import UnavailableError
from search.home.addresses import is_postgresql, sqlite_address, sqlite_file
from search.home.settings import MIGRATING, Settings, make_private, make_whole, prepare_sqlite
from search.home.text import one_line, redact
from search.storage.retries import RetryingStorage
from search.storage.transactions import DIALECTS

HEARTBEAT_S = 20
"""Interval of heartbeats on a shared database."""
_TABLES_KEY = 0x6D6C70_7461626C
"""Key of the lock of a database's tables; those of studies are hashes of their names."""
_CHECKED: set[str] = set()
"""Schemas that Optuna found to be its own: its check reads each of its migrations, 35 ms at every opening."""

# libpq's own limit for each connection, MLflow's too: without it a server that accepts and never answers is waited for
# without end, in code that no signal interrupts.
os.environ.setdefault("PGCONNECT_TIMEOUT", "15")
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats, GPSampler


def open_storage(settings: Settings) -> optuna.storages.RDBStorage:
    """Opens Optuna's database, and creates it where there is none.

    Raises:
        UnavailableError: The database cannot be reached or opened.
    """
    make_private(settings)
    try:
        if (kind := sa.make_url(settings.optuna_storage).get_backend_name()) not in DIALECTS:
            raise ValueError(f"must be SQLite or PostgreSQL, got {kind}")
        with MIGRATING:
            return _shared(settings.optuna_storage) if settings.is_shared else _embedded(settings.optuna_storage)
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, ImportError, ValueError, RuntimeError) as error:
        driver = "its driver is not installed: pip install 'mlp-search[postgres]'"
        why = driver if isinstance(error, ImportError) else one_line(error)
        raise UnavailableError(f"Optuna's database {redact(settings.optuna_storage)}: {why}") from error


@contextmanager
def storage_errors(settings: Settings) -> Iterator[None]:
    """Reports an error of Optuna's database inside the block in one line.

    Raises:
        UnavailableError: The database has failed.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise UnavailableError(
            f"Optuna's database {redact(settings.optuna_storage)}: {_why(error)}; finished trials are kept: to resume"
            " once this is repaired, run the same command again"
        ) from error


def _why(failure: Exception) -> str:
    cause = failure.__cause__ or failure
    return one_line(getattr(cause, "orig", None) or cause)


def reason(error: Exception) -> str:
    """The line in which a database says why it failed; empty for another error, such as a bug of ours."""
    failures = (optuna.exceptions.StorageInternalError, sa.exc.DBAPIError, sqlite3.Error)
    return _why(error) if isinstance(error, failures) else ""


def _embedded(address: str) -> optuna.storages.RDBStorage:
    if path := sqlite_file(address):
        make_whole(path, _create_tables)
    prepare_sqlite(address)
    options = {"connect_args": {"timeout": 60}}
    storage = optuna.storages.RDBStorage(address, options, skip_compatibility_check=True)
    if (schema := storage.get_current_version()) not in _CHECKED:
        storage = optuna.storages.RDBStorage(address, options)
        _CHECKED.add(schema)
    # A power cut may lose the last commits, never the file: trials that only they held are trained again.
    sa.event.listen(storage.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=NORMAL"))
    storage.engine.dispose()
    return storage


def _create_tables(file: Path) -> None:
    storage = optuna.storages.RDBStorage(sqlite_address(file))
    _CHECKED.add(storage.get_current_version())
    storage.engine.dispose()


@cache
def _shared(address: str) -> optuna.storages.RDBStorage:
    """One storage for a process: each has connections of its own, and a server allows only so many."""
    with creating_tables(address):
        return RetryingStorage(address, heartbeat_interval=HEARTBEAT_S)


@contextmanager
def creating_tables(address: str) -> Iterator[None]:
    """Lets one process at a time create tables in a PostgreSQL database; the others wait, and then find them.

    Does nothing for another address.

    Raises:
        SQLAlchemyError: The database cannot be reached.
    """
    if not is_postgresql(address):
        yield
        return
    with sa.create_engine(address, poolclass=sa.NullPool).connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TABLES_KEY})
        yield


def name_objective(storage: optuna.storages.RDBStorage, study: str, objective: str) -> None:
    """Gives a study's objective its name, which Optuna's dashboard shows."""
    stored = optuna.Study(study, storage)
    if stored.metric_names != [objective]:
        stored.set_metric_names([objective])
