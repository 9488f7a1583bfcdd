"""Optuna's storage on a database server that may be away for a while: restarted, failed over, unplugged."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage

from pipelines.errors import UnavailableError

OUTAGE_S = 600.0
"""How long a server may be away before the search ends; what was finished by then is kept."""
_PAUSE_S = 0.5

logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class DatabaseAwayError(UnavailableError):
    """The server has been away for too long."""


def retry(call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Makes a call to the database that is tried again while the server is away.

    Raises:
        AwayError: It has been away for too long.
    """

    @functools.wraps(call)
    def retrying_call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        away_since: float | None = None
        while True:
            try:
                result = call(*args, **kwargs)
            except (StorageInternalError, sa.exc.DBAPIError) as error:
                if not _is_away(error):
                    raise
                away_since = _wait(away_since)
            except UpdateFinishedTrialError:
                if away_since is None:
                    raise
                return cast(_R, True)  # the write went through, and only its confirmation was lost
            else:
                if away_since is not None:
                    logger.warning("Optuna's database answers again")
                return result

    return retrying_call


def _is_away(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # A connection that broke in the middle of an answer is a plain DatabaseError to psycopg2; SQLAlchemy knows better.
    if isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated:
        return True
    # A session whose connection broke under it has to be rolled back, which it is by now.
    return isinstance(cause, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.PendingRollbackError))


def _wait(away_since: float | None) -> float:
    """A pause before the next try; returns when the server was first missed."""
    if away_since is None:
        logger.warning("Optuna's database does not answer; the search waits for it")
        away_since = time.monotonic()
    if time.monotonic() - away_since > OUTAGE_S:
        raise DatabaseAwayError(
            f"Optuna's database: must answer, but was away for {OUTAGE_S:g} s: once it is back the same command goes on"
        )
    time.sleep(_PAUSE_S)
    return away_since


class RetryingStorage(RDBStorage):
    """Optuna's own, each of whose calls waits for a server that is away."""


for _name, _method in vars(RDBStorage).items():
    if inspect.isfunction(_method) and not _name.startswith("__"):
        _names = set(inspect.signature(_method).parameters)
        if "self" in _names and "session" not in _names:  # one that opens a session of its own
            setattr(RetryingStorage, _name, retry(_method))
