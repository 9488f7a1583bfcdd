"""Calls to a database server that may be away for a while: restarted, failed over, unplugged."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa

from pipelines.errors import UnavailableError

OUTAGE_S = 600.0
"""The longest outage of a server before the search ends; trials finished by then are kept."""
_PAUSE_S = 0.5

logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class DatabaseAwayError(UnavailableError):
    """The server has been away for too long."""


def retry(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Retries a call to the database while the server is away.

    Raises:
        DatabaseAwayError: It has been away for ``OUTAGE_S``.
    """

    @functools.wraps(call)
    def retrying_call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        away_since: float | None = None
        while True:
            try:
                result = call(*args, **kwargs)
            except (optuna.exceptions.StorageInternalError, sa.exc.DBAPIError) as error:
                if not _is_away(error):
                    raise
                away_since = _pause(away_since)
            else:
                if away_since is not None:
                    logger.warning("Optuna's database answers again")
                return result

    return retrying_call


def _is_away(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    # A connection that broke in the middle of an answer is a plain DatabaseError to psycopg2; SQLAlchemy knows better.
    if isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated:
        return True
    # A session whose connection broke has to be rolled back, which it is by now.
    return isinstance(cause, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.PendingRollbackError))


def _pause(away_since: float | None) -> float:
    """Waits before the next try; returns the time at which the server was first away."""
    if away_since is None:
        logger.warning("Optuna's database does not answer; the search waits for it")
        away_since = time.monotonic()
    if time.monotonic() - away_since > OUTAGE_S:
        raise DatabaseAwayError(
            f"Optuna's database: must answer, but was away for {OUTAGE_S:g} s: once it is back, run the same command"
            " again to resume"
        )
    time.sleep(_PAUSE_S)
    return away_since


class RetryingStorage(optuna.storages.RDBStorage):
    """Optuna's storage, each of whose calls is retried while the server is away."""

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        # ``_get_trials`` is not documented: Optuna's own cache, through which a study is read, calls it.
        is_call = inspect.ismethod(member) and (name == "_get_trials" or not name.startswith("_"))
        return retry(member) if is_call else member
