"""Sharing of a study by several searching processes: advisory locks, heartbeats, trials left by dead processes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import UnavailableError
from search.home.locks import study_lock
from search.home.settings import Settings, study_slug
from search.storage.database import HEARTBEAT_S, open_storage
from search.storage.retries import retry
from search.storage.stored_study import StoredStudy

SILENT_S = 3 * HEARTBEAT_S
"""Seconds without a heartbeat after which a process counts as dead."""


class FinalsError(UnavailableError):
    """Another process trains the finalists of the study, or opens its held-out test."""


@contextmanager
def sole_lock(settings: Settings, name: str) -> Iterator[Settings]:
    """Locks a study as ``study_lock`` does, and on a shared database against every other process of this lock.

    Yields:
        The settings of this process.

    Raises:
        FinalsError: Another process holds the lock.
        UnavailableError: As for ``study_lock``.
    """
    with study_lock(settings, name) as own:
        if not settings.is_shared:
            yield own
            return
        with _own_connection(settings) as connection:
            query = sa.text("SELECT pg_try_advisory_lock(:key)")
            if not connection.execute(query, {"key": -_key(name)}).scalar_one():
                raise FinalsError(
                    f"study {name!r}: another process trains its finalists or opens its held-out test, or the doctor"
                    " repairs it: wait for it"
                )
            yield own


@contextmanager
def _own_connection(settings: Settings) -> Iterator[sa.Connection]:
    """A connection outside of the pool: the server frees its locks with it, however this process ends."""
    with open_storage(settings).engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").detach()
        # The server finds out within a minute that this machine has lost its power or its network, not after hours.
        for setting in ("idle = 20", "interval = 10", "count = 3"):
            connection.execute(sa.text(f"SET tcp_keepalives_{setting}"))
        try:
            yield connection
        finally:
            # The server notices a closed connection late, and would refuse the next process until then.
            with suppress(sa.exc.SQLAlchemyError):  # the connection is gone, and the lock with it
                connection.execute(sa.text("SELECT pg_advisory_unlock_all()"))


@contextmanager
def search_lock(settings: Settings, name: str) -> Iterator[None]:
    """Shows the other processes of a shared database that this one searches a study, until the block or it ends."""
    if not settings.is_shared:
        yield
        return
    with _own_connection(settings) as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock_shared(:key)"), {"key": _search_key(name)})
        yield


def _key(name: str) -> int:
    """Key of a study's locks: the number guards its trials, its negative its finalists and its held-out test."""
    return int(study_slug(name)[:15], 16)


def _search_key(name: str) -> int:
    """Key of the lock that every process shares which searches a study."""
    return _key(name) | 1 << 61


@contextmanager
def exclusive_access(settings: Settings, study: optuna.Study) -> Iterator[None]:
    """Keeps the other processes of a shared database from asking, telling and requeueing: what is read stays true.

    Behind the lock of an embedded study there are no others.
    """
    if not settings.is_shared:
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


def requeue_abandoned(settings: Settings, study: StoredStudy) -> list[FrozenTrial]:
    """Requeues the trials that dead processes left running, and returns them.

    Behind the study's lock every running trial is one; on a shared database the heartbeat decides.
    """
    began = time.monotonic()
    with exclusive_access(settings, study):
        study.refresh(*(trial.number for trial in _running(study)))
        if settings.is_shared:
            # A process that died before the first heartbeat of its trial never gets one: its time runs from now.
            silent_s = _silent_s(settings, study.study_name)
            for trial in _running(study):
                if trial.number not in silent_s:
                    study.record_heartbeat(trial.number)
        dead = abandoned(settings, study)
        if settings.is_shared and time.monotonic() - began > HEARTBEAT_S:
            return []  # the database was away meanwhile, also from processes that live
        return [trial for trial in dead if study.requeue(trial.number)]


def abandoned(settings: Settings, study: StoredStudy) -> list[FrozenTrial]:
    """The running trials that no process trains; see ``requeue_abandoned``."""
    if not settings.is_shared:
        return _running(study)
    silent_s = _silent_s(settings, study.study_name)
    grace_s = 2 * open_storage(settings).get_heartbeat_interval()
    return [
        trial
        for trial in _running(study)
        if (silent_s[trial.number] > grace_s if trial.number in silent_s else not _is_recent(trial.datetime_start))
    ]


def is_searched(settings: Settings, study: StoredStudy) -> bool:
    """Whether a process searches a study of a shared database: it holds ``search_lock``, or a trial has a heartbeat.

    The database's server loses locks where it is restarted.
    """
    return len(_running(study)) > len(abandoned(settings, study)) or _n_searching(settings, study.study_name) > 0


@retry
def _n_searching(settings: Settings, name: str) -> int:
    """Number of processes that hold ``search_lock``."""
    # A lock's key is in two columns of 32 bits.
    query = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (classid::bigint << 32) | objid::bigint = :key"
    )
    with open_storage(settings).engine.connect() as connection:
        return int(connection.execute(query, {"key": _search_key(name)}).scalar_one())


def have_beaten(settings: Settings, study: StoredStudy, numbers: Collection[int], within_s: float) -> bool:
    """Whether each of these running trials of a shared database had a heartbeat in the last seconds."""
    silent_s = _silent_s(settings, study.study_name) if numbers else {}
    return all(silent_s.get(number, within_s) < within_s for number in numbers)


def _running(study: StoredStudy) -> list[FrozenTrial]:
    return list(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def _is_recent(time: datetime | None) -> bool:
    return time is not None and time > datetime.now() - timedelta(seconds=SILENT_S)


@retry
def _silent_s(settings: Settings, name: str) -> dict[int, float]:
    """Seconds since the last heartbeat of a study's running trials, by number."""
    # Optuna's own query, behind its ``fail_stale_trials``, is private.
    query = sa.text(
        "SELECT number, CURRENT_TIMESTAMP, heartbeat FROM trials JOIN trial_heartbeats USING (trial_id)"
        " JOIN studies USING (study_id) WHERE study_name = :name AND state = 'RUNNING'"
    )
    with open_storage(settings).engine.connect() as connection:
        beats = connection.execute(query, {"name": name}).all()
    return {number: (now.replace(tzinfo=None) - beat).total_seconds() for number, now, beat in beats}
