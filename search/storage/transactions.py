"""Writes to Optuna's tables: several of them in one transaction, with a statement for each table.

``RDBStorage`` makes each write a transaction of its own, so that several of them are not all made or none. It is slow,
too: a trial of ten epochs takes 24 ms of processor time through its calls, 12 ms with a transaction here for each
report, and 3 ms where eight trials share one, on SQLite with six searched dimensions. Therefore Optuna's models, which
are not part of its documented interface, are used here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pipelines.errors import UnavailableError

Row: TypeAlias = Any  # of a table that Optuna declares without types
Rows: TypeAlias = Sequence[Row]
DIALECTS: dict[str, Row] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
"""The insert statement of each supported kind of database."""
_Trial = models.TrialModel
_Note = models.TrialSystemAttributeModel
_FIELDS = ("state", "datetime_start", "datetime_complete")


class StudyDeletedError(UnavailableError):
    """The study, or a trial of it, was deleted while this process searched it."""

    def __init__(self) -> None:
        super().__init__(
            "the study: must stay in Optuna's database while it is searched, but was deleted; its runs in MLflow have"
            " ended: to start it anew, run the same command again"
        )


@dataclass(frozen=True, slots=True)
class Writes:
    """The writes of one transaction to a study.

    Attributes:
        trials: Trials by number, as they were before and as they are now; a new one was None before.
        study_attrs: User attributes of the study.
        heartbeats: Numbers of the trials that this process trains.
    """

    trials: Mapping[int, tuple[FrozenTrial | None, FrozenTrial]]
    study_attrs: Mapping[str, object]
    heartbeats: Collection[int]


def commit(engine: sa.Engine, study_id: int, writes: Writes, ids: dict[int, int]) -> set[int]:
    """Makes all writes in one transaction; after an outage the same call may be made again.

    Args:
        engine: The database.
        study_id: The study's id there.
        writes: The writes.
        ids: Ids of the study's trials there by number; those of new trials are added.

    Returns:
        Numbers of the trials that another process has finished: the writes to them are left out.

    Raises:
        StudyDeletedError: Another program has deleted the study or a trial.
        UnavailableError: Another program has taken a new trial's number.
    """
    with Session(engine) as session, session.begin():
        _require_study(session, study_id)
        started = {number: after for number, (before, after) in writes.trials.items() if before is None}
        new = _start(session, study_id, started, newest_id(ids))
        known = _locked(session, [ids[number] for number in writes.trials.keys() - started.keys()])
        ended = {number: row for number, row in known.items() if row.state.is_finished()}
        finished = {number for number, row in ended.items() if not _equals(row, writes.trials[number][1])}
        rows: dict[Row, list[dict[str, object]]] = defaultdict(list)
        for number, (before, after) in writes.trials.items():
            if number in finished:
                continue
            if before and before.state != after.state:
                _move(known[number], after)
            for model, row in _differences(before, after):
                rows[model].append({"trial_id": new.get(number) or ids[number], **row})
        rows[models.TrialHeartbeatModel] = [{"trial_id": new.get(n) or ids[n]} for n in writes.heartbeats]
        rows[models.StudyUserAttributeModel] = [
            {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            for key, value in writes.study_attrs.items()
        ]
        for model, gathered in rows.items():
            if gathered:
                session.connection().execute(_upsert(model, engine.dialect.name), gathered)
    ids |= new  # not before: where the confirmation is lost, the next try finds the new trials in the database
    return finished


def newest_id(ids: Mapping[int, int]) -> int:
    """The database's id of the newest trial, -1 where there is none; trials are numbered from 0 without a gap."""
    return ids.get(len(ids) - 1, -1)


def read_changes(engine: sa.Engine, study_id: int, after: int, ids: Collection[int]) -> tuple[Rows, Rows]:
    """Reads what other processes may have changed.

    Args:
        engine: The database.
        study_id: The study's id there.
        after: Trials with a higher id are read.
        ids: Trials that are read too.

    Returns:
        Id, number and state of each trial, in the order of their numbers; and of those in ``ids`` the number, key and
        JSON value of each attribute that a pruner keeps.
    """
    chosen = sa.or_(_Trial.trial_id > after, _Trial.trial_id.in_(ids))
    states = sa.select(_Trial.trial_id, _Trial.number, _Trial.state).where(_Trial.study_id == study_id, chosen)
    notes = sa.select(_Trial.number, _Note.key, _Note.value_json).join_from(_Trial, _Note)
    with engine.connect() as connection:
        trials = connection.execute(states.order_by(_Trial.trial_id)).all()
        return trials, connection.execute(notes.where(_Trial.trial_id.in_(ids))).all() if ids else []


def rename(engine: sa.Engine, name: str, new: str, attrs: Mapping[str, object]) -> None:
    """Gives a study another name, which Optuna itself cannot, and replaces user attributes of it.

    Args:
        engine: The database.
        name: The study's name.
        new: Its new name.
        attrs: The attributes to replace.
    """
    model = models.StudyUserAttributeModel
    with Session(engine) as session, session.begin():
        study = session.scalars(sa.select(models.StudyModel).where(models.StudyModel.study_name == name)).one()
        study.study_name = new
        for key, value in attrs.items():
            row = sa.update(model).where(model.study_id == study.study_id, model.key == key)
            session.execute(row.values(value_json=json.dumps(value)))


def _start(session: Session, study_id: int, started: Mapping[int, FrozenTrial], after: int) -> dict[int, int]:
    """Inserts new trials, unless an earlier try has, whose connection broke; returns their ids by number."""
    if not started:
        return {}
    later = sa.select(_Trial).where(_Trial.study_id == study_id, _Trial.trial_id > after)
    found = {row.number: row for row in session.scalars(later)}
    if any(number not in started or not _equals(row, started[number]) for number, row in found.items()):
        raise UnavailableError(
            "the study: another program started a trial of the same number: to resume, run the same command again"
        )
    new = [_move(_Trial(study_id=study_id, number=n), trial) for n, trial in started.items() if n not in found]
    session.add_all(new)
    session.flush()
    return {row.number: row.trial_id for row in (*found.values(), *new)}


def _require_study(session: Session, study_id: int) -> None:
    """Checks that a study exists; a server keeps it until the transaction ends."""
    row = sa.select(models.StudyModel.study_id).where(models.StudyModel.study_id == study_id)
    if session.scalar(row.with_for_update(read=True, key_share=True)) is None:
        raise StudyDeletedError


def _locked(session: Session, ids: Collection[int]) -> dict[int, Row]:
    """Rows of trials by number; nobody else changes them before the transaction ends."""
    if not ids:
        return {}
    rows = sa.select(_Trial).where(_Trial.trial_id.in_(ids)).order_by(_Trial.trial_id).with_for_update()
    found = {row.number: row for row in session.scalars(rows)}
    if len(found) < len(ids):
        raise StudyDeletedError
    return found


def _equals(row: Row, trial: FrozenTrial) -> bool:
    """Whether a trial is stored as it is to be: a connection may break once everything is written."""
    return all(getattr(row, field) == getattr(trial, field) for field in _FIELDS)


def _move(row: Row, trial: FrozenTrial) -> Row:
    for field in _FIELDS:
        setattr(row, field, getattr(trial, field))
    return row


def _differences(before: FrozenTrial | None, after: FrozenTrial) -> Iterator[tuple[Row, dict[str, object]]]:
    """Model and columns of each row that a trial has now and had not, or had with another value, before."""

    def new(field: str) -> Iterator[tuple[Row, Row]]:
        old = getattr(before, field, {})
        return ((key, value) for key, value in getattr(after, field).items() if key not in old or old[key] != value)

    for name, value in new("params"):
        kind = after.distributions[name]
        kept = {"param_value": kind.to_internal_repr(value), "distribution_json": distribution_to_json(kind)}
        yield models.TrialParamModel, {"param_name": name, **kept}
    for step, reported in new("intermediate_values"):
        value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(reported)
        kept = {"intermediate_value": value, "intermediate_value_type": kind}
        yield models.TrialIntermediateValueModel, {"step": step, **kept}
    for model, field in ((models.TrialUserAttributeModel, "user_attrs"), (_Note, "system_attrs")):
        for key, value in new(field):
            yield model, {"key": key, "value_json": json.dumps(value)}
    if after.values:
        value, kind = models.TrialValueModel.value_to_stored_repr(after.value)
        yield models.TrialValueModel, {"objective": 0, "value": value, "value_type": kind}


@cache
def _upsert(model: Row, dialect: str) -> sa.Insert:
    """Inserts rows of a table, or replaces those that have the same key; made once, which takes as long as a write."""
    table = model.__table__
    [unique] = [constraint for constraint in table.constraints if isinstance(constraint, sa.UniqueConstraint)]
    insert = DIALECTS[dialect](table)
    replaced = set(table.columns) - set(table.primary_key) - set(unique.columns)
    values = {column.name: insert.excluded[column.name] for column in replaced}
    upsert: sa.Insert = insert.on_conflict_do_update(index_elements=list(unique.columns), set_=values)
    # Without a RETURNING clause SQLAlchemy would send the rows one by one.
    return upsert.returning(*table.primary_key)
