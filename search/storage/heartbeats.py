"""Who works on what: the lock of a study, the spools of its processes, and the trials that dead ones left."""

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
"""A process that was not heard of for so long is dead."""


def is_requeued(trial: optuna.Trial) -> bool:
    """Whether a trial was in training before, in a process that let go of it or died."""
    return REQUEUED in trial.user_attrs


def requeue_abandoned(settings: Settings, study: StoredStudy) -> list[FrozenTrial]:
    """Parks the trials that dead processes left, and returns them.

    With the study's lock in hand every running trial is one; on a shared database the heartbeat decides.
    """
    with exclusive_access(settings, study):
        study.refresh()
        if settings.is_shared:
            _beat_for_the_silent(settings, study)
        left = abandoned(settings, study)
        study.refresh(*(trial.number for trial in left))
        left = [trial for trial in left if not study.trial(trial.number).state.is_finished()]
        for trial in left:
            study.requeue(trial.number)
    return left


def abandoned(settings: Settings, study: StoredStudy) -> list[FrozenTrial]:
    """The running trials that nobody trains; see ``park_abandoned``."""
    running: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    if not settings.is_shared:
        return running
    long_ago, grace_s = datetime.now() - timedelta(0, SILENT_S), 2 * open_storage(settings).get_heartbeat_interval()
    mute_s = {t.number: 0.0 if (t.datetime_start or long_ago) > long_ago else grace_s + 1 for t in running}
    silent_s = mute_s | _silent_s(settings, study.study_name)
    return [trial for trial in running if silent_s[trial.number] > grace_s]


def is_searched(settings: Settings, study: StoredStudy) -> bool:
    """Whether some process works on a study of a shared database: it beats, or has just ended a trial."""
    left = {trial.number for trial in abandoned(settings, study)}
    long_ago = datetime.now() - timedelta(0, SILENT_S)
    return any(
        (t.state == TrialState.RUNNING and t.number not in left)
        or (t.datetime_complete is not None and t.datetime_complete > long_ago)
        for t in study.get_trials(deepcopy=False)
    )


def _beat_for_the_silent(settings: Settings, study: StoredStudy) -> None:
    """A process that died before its trial's first heartbeat would leave it alive for ever: its time runs from now."""
    beating = _silent_s(settings, study.study_name)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number not in beating:
            study.record_heartbeat(trial.number)


@retry
def _silent_s(settings: Settings, name: str) -> dict[int, float]:
    """Seconds since the last heartbeat of a study's running trials, by number."""
    query = sa.text(
        "SELECT number, CURRENT_TIMESTAMP, heartbeat FROM trials JOIN trial_heartbeats USING (trial_id)"
        " JOIN studies USING (study_id) WHERE study_name = :name AND state = 'RUNNING'"
    )
    with open_storage(settings).engine.connect() as connection:
        beats = connection.execute(query, {"name": name}).all()
    return {number: (now.replace(tzinfo=None) - beat).total_seconds() for number, now, beat in beats}
