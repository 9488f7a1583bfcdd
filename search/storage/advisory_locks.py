"""Advisory locks of a PostgreSQL server that several searching processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import optuna
import sqlalchemy as sa

from pipelines.errors import UnavailableError
from search.home.addresses import is_postgresql
from search.home.locks import study_lock
from search.home.settings import Settings, study_slug
from search.storage.database import open_storage
from search.storage.retries import retry


@contextmanager
def sole_lock(settings: Settings, name: str) -> Iterator[Settings]:
    """Locks a study as ``study_lock`` does, and on a shared database against every other process of this lock.

    Yields:
        The settings of this process.

    Raises:
        UnavailableError: Another process holds the lock.
    """
    with study_lock(settings, name) as own:
        if not is_postgresql(settings.optuna_storage):
            yield own
            return
        # A connection outside of the pool: the server frees its lock with it, however this process ends.
        with open_storage(settings).engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").detach()
            query = sa.text("SELECT pg_try_advisory_lock(:key)")
            if not connection.execute(query, {"key": -_key(name)}).scalar_one():
                raise UnavailableError(
                    f"study {name!r}: another process trains its finalists or opens its held-out test: wait for it"
                )
            try:
                yield own
            finally:
                # The server notices a closed connection late, and would refuse the next process until then.
                with suppress(sa.exc.SQLAlchemyError):  # the connection is gone, and the lock with it
                    connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))


def _key(name: str) -> int:
    """Key of a study's locks: the number guards its trials, its negative its finalists and its held-out test."""
    return int(study_slug(name)[:15], 16)


@contextmanager
def exclusive_access(settings: Settings, study: optuna.Study) -> Iterator[None]:
    """Keeps the other processes of a shared database from asking, telling and requeueing: what is read stays true.

    Behind the lock of an embedded study there are no others.
    """
    if not is_postgresql(settings.optuna_storage):
        yield
        return
    connection = _locked(open_storage(settings).engine, _key(study.study_name))
    try:
        yield
    finally:
        with suppress(sa.exc.SQLAlchemyError):  # a connection that broke has freed the lock by itself
            connection.close()


@retry
def _locked(engine: sa.Engine, key: int) -> sa.Connection:
    """A connection that holds an advisory lock until it is closed."""
    connection = engine.connect()
    try:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except sa.exc.SQLAlchemyError:
        connection.close()
        raise
    return connection
