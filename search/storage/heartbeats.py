"""Heartbeats of trials on a shared database, and the trials that dead processes left running."""

from __future__ import annotations

from datetime import datetime, timedelta

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from search.home.settings import Settings
from search.storage.advisory_locks import exclusive_access
from search.storage.attributes import REQUEUED
from search.storage.database import HEARTBEAT_S, open_storage
from search.storage.retries import retry
from search.storage.stored_study import StoredStudy

SILENT_S = 3 * HEARTBEAT_S
"""Seconds without a heartbeat after which a process counts as dead."""


def is_requeued(trial: optuna.Trial) -> bool:
    """Whether a trial was in training before, in a process that was interrupted or died."""
    return REQUEUED in trial.user_attrs


def requeue_abandoned(settings: Settings, study: StoredStudy) -> list[FrozenTrial]:
    """Requeues the trials that dead processes left running, and returns them.

    Behind the study's lock every running trial is one; on a shared database the heartbeat decides.
    """
    with exclusive_access(settings, study):
        study.refresh(*(trial.number for trial in _running(study)))
        if settings.is_shared:
            # A process that died before the first heartbeat of its trial never gets one: its time runs from now.
            silent_s = _silent_s(settings, study.study_name)
            for trial in _running(study):
                if trial.number not in silent_s:
                    study.record_heartbeat(trial.number)
        return [trial for trial in abandoned(settings, study) if study.requeue(trial.number)]


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
    """Whether a process searches a study of a shared database: a trial has a heartbeat, or has just ended."""
    trained = len(_running(study)) > len(abandoned(settings, study))
    return trained or any(_is_recent(trial.datetime_complete) for trial in study.get_trials(deepcopy=False))


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
