"""Locks of a PostgreSQL server that several searching processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

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
    """As ``study_lock``, for what only one process may do on a shared database too, whoever searches there.

    Raises:
        UnavailableError: Another process does it.
    """
    with study_lock(settings, name) as own, ExitStack() as stack:
        if is_postgresql(settings.optuna_storage):
            # A connection outside of the pool: the server lets go of its lock with it, however this process ends.
            connection = stack.enter_context(open_storage(settings).engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT").detach()
            stack.callback(_let_go, connection)
            query = sa.text("SELECT pg_try_advisory_lock(:key)")
            if not connection.execute(query, {"key": -_key(name)}).scalar_one():
                raise UnavailableError(
                    f"study {name!r}: another process trains its finalists or opens its sealed test: wait for it"
                )
        yield own


def _let_go(connection: sa.Connection) -> None:
    """At once: the server notices a moment late that a connection has ended, and would refuse who comes until then."""
    with suppress(sa.exc.SQLAlchemyError):  # it is gone, and the lock with it
        connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))


def _key(name: str) -> int:
    """Of the server's locks for a study: the number guards its trials, its negative its finalists and its seal."""
    return int(study_slug(name)[:15], 16)


@contextmanager
def exclusive_access(settings: Settings, study: optuna.Study) -> Iterator[None]:
    """Keeps the other processes of a shared database from asking, telling and parking: what is read stays true.

    Behind the lock of an embedded study there are none.
    """
    engine = open_storage(settings).engine if settings.is_shared else None
    if engine is None or engine.dialect.name != "postgresql":
        yield
        return
    connection = _locked(engine, _key(study.study_name))
    try:
        yield
    finally:
        with suppress(sa.exc.SQLAlchemyError):  # a connection that broke has let go by itself
            connection.close()


@retry
def _locked(engine: sa.Engine, key: int) -> sa.Connection:
    """A connection that holds a lock of the server's until it is closed."""
    connection = engine.connect()
    try:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except sa.exc.SQLAlchemyError:
        connection.close()
        raise
    return connection
