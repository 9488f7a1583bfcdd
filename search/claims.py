"""Who works on what: the lock of a study, the spools of its processes, and the trials that dead ones left."""

from __future__ import annotations

import fcntl
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import UnavailableError
from search.patience import patient
from search.settings import Settings
from search.spool import entries, move_entry, study_slug
from search.storage import HEARTBEAT_S, open_storage

SILENT_S = 3 * HEARTBEAT_S
"""A process that was not heard of for so long is dead."""
PARKED = "parked"
"""Attribute of a trial: it was in training before."""


class SearchedError(UnavailableError):
    """Another process has the study in hand."""


@contextmanager
def study_lock(settings: Settings, name: str) -> Iterator[Settings]:
    """Keeps a study of the embedded database to one searching process; the system lets go when that ends.

    On a shared database each process gets a lane of its own.

    Yields:
        The settings of this process.

    Raises:
        SearchedError: Another process searches it.
        UnavailableError: The home's file system has no locks.
    """
    for lane in itertools.count() if settings.is_shared else (0,):
        own = replace(settings, lane=lane)
        with _lock_file(own, name).open("a") as file:
            if _is_locked(file):
                continue
            own.spool.mkdir(exist_ok=True, mode=0o700)
            yield own
            return
    raise SearchedError(
        f"study {name!r}: is being searched by another process on this home: wait for it, or choose another"
        " --study; several processes on one study need OPTUNA_STORAGE on PostgreSQL"
    )


@contextmanager
def unknown_lock(settings: Settings, slug: str) -> Iterator[bool]:
    """Whether no process of this home has a study in hand of which only the slug is known; none gets it meanwhile."""
    with (settings.locks / f"{slug}.lock").open("a") as file:
        yield not _is_locked(file)


@contextmanager
def sole_lock(settings: Settings, name: str) -> Iterator[Settings]:
    """As ``study_lock``, for what only one process may do on a shared database too, whoever searches there.

    Raises:
        UnavailableError: Another process does it.
    """
    with study_lock(settings, name) as own, ExitStack() as stack:
        if settings.optuna_storage.startswith("postgresql"):
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


def _lock_file(settings: Settings, name: str) -> Path:
    lane = f"-{settings.lane}" if settings.lane else ""
    return settings.locks / f"{study_slug(name)}{lane}.lock"


def _is_locked(file: IO[str]) -> bool:
    """Whether another process has locked a file; else this one has now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise UnavailableError(
            f"{file.name}: must be on a file system with locks, got {error.strerror}: move the home with --home"
        ) from error
    return False


def gather_spools(settings: Settings, name: str) -> list[Path]:
    """Moves what processes that are gone left in their spools to this process's own; returns the moved entries."""
    moved: list[Path] = []
    for lane in itertools.count():
        other = replace(settings, lane=lane)
        if not _lock_file(other, name).exists():
            return moved
        if lane != settings.lane:
            with _lock_file(other, name).open("a") as file:
                left = [] if _is_locked(file) else list(entries(other.spool, name))
                moved += [move_entry(folder, settings.spool) for folder in left]
    return moved


def has_spooled(settings: Settings, name: str) -> bool:
    """Whether results of a study wait in a spool of this home."""
    spools = settings.home.glob("spool*")
    return any(any(entries(spool, name)) for spool in spools)


def park(study: optuna.Study, trial_id: int) -> bool:
    """Lets go of a trial that was not finished: the next process that asks trains it again, with its own seed.

    Returns:
        False where another process of a shared database has finished it meanwhile.
    """
    try:
        study._storage.set_trial_user_attr(trial_id, PARKED, True)
        study._storage.set_trial_state_values(trial_id, TrialState.WAITING)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    return True


def is_parked(trial: optuna.Trial) -> bool:
    """Whether a trial was in training before, in a process that let go of it or died."""
    return PARKED in trial.user_attrs


@contextmanager
def alone(settings: Settings, study: optuna.Study) -> Iterator[None]:
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


@patient
def _locked(engine: sa.Engine, key: int) -> sa.Connection:
    """A connection that holds a lock of the server's until it is closed."""
    connection = engine.connect()
    try:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except sa.exc.SQLAlchemyError:
        connection.close()
        raise
    return connection


def park_abandoned(settings: Settings, study: optuna.Study) -> list[FrozenTrial]:
    """Parks the trials that dead processes left, and returns them.

    With the study's lock in hand every running trial is one; on a shared database the heartbeat decides.
    """
    storage = study._storage
    with alone(settings, study):
        storage.refresh()
        if settings.is_shared:
            _beat_for_the_silent(settings, study)
        left = abandoned(settings, study)
        storage.refresh(*(trial._trial_id for trial in left))
        left = [trial for trial in left if not storage.get_trial(trial._trial_id).state.is_finished()]
        for trial in left:
            park(study, trial._trial_id)
    return left


def abandoned(settings: Settings, study: optuna.Study) -> list[FrozenTrial]:
    """The running trials that nobody trains; see ``park_abandoned``."""
    running: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if not settings.is_shared:
        return running
    long_ago, grace_s = datetime.now() - timedelta(0, SILENT_S), 2 * open_storage(settings).get_heartbeat_interval()
    mute_s = {t.number: 0.0 if (t.datetime_start or long_ago) > long_ago else grace_s + 1 for t in running}
    silent_s = mute_s | _silent_s(settings, study.study_name)
    return [trial for trial in running if silent_s[trial.number] > grace_s]


def is_searched(settings: Settings, study: optuna.Study) -> bool:
    """Whether some process works on a study of a shared database: it beats, or has just ended a trial."""
    left = {trial.number for trial in abandoned(settings, study)}
    long_ago = datetime.now() - timedelta(0, SILENT_S)
    return any(
        (t.state == TrialState.RUNNING and t.number not in left)
        or (t.datetime_complete is not None and t.datetime_complete > long_ago)
        for t in study.get_trials(deepcopy=False)
    )


def _beat_for_the_silent(settings: Settings, study: optuna.Study) -> None:
    """A process that died before its trial's first heartbeat would leave it alive for ever: its time runs from now."""
    beating = _silent_s(settings, study.study_name)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number not in beating:
            study._storage.record_heartbeat(trial._trial_id)


@patient
def _silent_s(settings: Settings, name: str) -> dict[int, float]:
    """Seconds since the last heartbeat of a study's running trials, by number."""
    query = sa.text(
        "SELECT number, CURRENT_TIMESTAMP, heartbeat FROM trials JOIN trial_heartbeats USING (trial_id)"
        " JOIN studies USING (study_id) WHERE study_name = :name AND state = 'RUNNING'"
    )
    with open_storage(settings).engine.connect() as connection:
        beats = connection.execute(query, {"name": name}).all()
    return {number: (now.replace(tzinfo=None) - beat).total_seconds() for number, now, beat in beats}
