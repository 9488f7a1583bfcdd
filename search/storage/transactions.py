"""What one transaction writes to Optuna's tables: gathered in memory first, then a statement a table."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from pipelines.errors import UnavailableError

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
DIALECTS = tuple(_INSERT)
_Trial: Any = models.TrialModel


@dataclass(slots=True)
class Transaction:
    """Writes to one study; of two to the same place the last one counts.

    Attributes:
        begun: New trials by number.
        moved: Trials whose state has changed, by number, as they are now.
        rows: Model, key, and the columns of a row; the key begins with the trial's number, or is the study's.
    """

    begun: dict[int, FrozenTrial] = field(default_factory=dict)
    moved: dict[int, FrozenTrial] = field(default_factory=dict)
    rows: dict[Any, dict[Hashable, dict[str, Any]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.begun or self.moved or self.rows)

    def param(self, number: int, name: str, value: float, distribution: BaseDistribution) -> None:
        """A value of a trial's configuration, as Optuna keeps it."""
        kept = {"param_value": value, "distribution_json": distribution_to_json(distribution)}
        self._row(models.TrialParamModel, number, {"param_name": name}, kept)

    def step(self, number: int, step: int, value: float) -> None:
        """What a trial reported."""
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        kept = {"intermediate_value": stored, "intermediate_value_type": kind}
        self._row(models.TrialIntermediateValueModel, number, {"step": step}, kept)

    def value(self, number: int, value: float) -> None:
        """A trial's final value."""
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        self._row(models.TrialValueModel, number, {"objective": 0}, {"value": stored, "value_type": kind})

    def user_attr(self, number: int | None, key: str, value: Any) -> None:
        """An attribute of a trial, or of the study."""
        model = models.StudyUserAttributeModel if number is None else models.TrialUserAttributeModel
        self._row(model, number, {"key": key}, {"value_json": json.dumps(value)})

    def system_attr(self, number: int | None, key: str, value: Any) -> None:
        """An attribute that Optuna's own parts keep."""
        model = models.StudySystemAttributeModel if number is None else models.TrialSystemAttributeModel
        self._row(model, number, {"key": key}, {"value_json": json.dumps(value)})

    def heartbeat(self, number: int) -> None:
        """Somebody is at work on a trial."""
        self._row(models.TrialHeartbeatModel, number, {}, {})

    def _row(self, model: Any, number: int | None, key: dict[str, Any], kept: Mapping[str, Any]) -> None:
        self.rows.setdefault(model, {})[(number, *key.values())] = {"number": number, **key, **kept}

    def has_moved(self, row: Any) -> bool:
        """Whether a trial stands where it is to be moved: a connection may break once everything is written."""
        trial = self.moved.get(row.number)
        return trial is not None and (trial.state, trial.datetime_complete) == (row.state, row.datetime_complete)

    def touched(self) -> set[int]:
        """Numbers of the trials that must not be finished yet."""
        beats = models.TrialHeartbeatModel
        numbers = {row["number"] for model, rows in self.rows.items() if model is not beats for row in rows.values()}
        return (numbers | set(self.moved)) - set(self.begun) - {None}


def commit(engine: sa.Engine, study_id: int, writes: Transaction, ids: dict[int, int]) -> set[int]:
    """Writes it all in one transaction; after an outage the same call may be made again.

    Args:
        engine: The database.
        study_id: The study's there.
        writes: What to write.
        ids: The trials' ids there by number; gets those of the new ones.

    Returns:
        Numbers of the trials that another process has finished: what was to be written of them is left out.

    Raises:
        UnavailableError: Another program has taken a new trial's number.
    """
    with Session(engine) as session, session.begin():
        if writes.begun:
            ids |= _begin(session, study_id, writes.begun, last_id(ids))
        trials = _locked(session, [ids[number] for number in writes.touched()])
        overtaken = {n for n, trial in trials.items() if trial.state.is_finished() and not writes.has_moved(trial)}
        for number in writes.moved.keys() - writes.begun.keys() - overtaken:
            _move(trials[number], writes.moved[number])
        for model, gathered in writes.rows.items():
            _upsert(session, model, study_id, ids, [r for r in gathered.values() if r["number"] not in overtaken])
    return overtaken


def last_id(ids: Mapping[int, int]) -> int:
    """The highest of the trials' ids, below all of them where there is none: they were noted in their order."""
    return next(reversed(ids.values()), -1)  # type: ignore[call-overload]


def _locked(session: Session, ids: list[int]) -> dict[int, Any]:
    """Rows of trials by number; nobody else changes them before the transaction ends."""
    if not ids:
        return {}
    rows = sa.select(_Trial).where(_Trial.trial_id.in_(ids)).order_by(_Trial.trial_id).with_for_update()
    return {row.number: row for row in session.scalars(rows)}


def _begin(session: Session, study_id: int, begun: Mapping[int, FrozenTrial], last_id: int) -> dict[int, int]:
    """Inserts new trials, unless they are there from a try whose connection broke."""
    later = sa.select(_Trial).where(_Trial.study_id == study_id, _Trial.trial_id > last_id)
    found = {trial.number: trial for trial in session.scalars(later)}
    if any(n not in begun or trial.datetime_start != begun[n].datetime_start for n, trial in found.items()):
        raise UnavailableError("the study: another program began a trial of the same number; run it again to go on")
    new = [
        models.TrialModel(study_id=study_id, number=n, state=trial.state, datetime_start=trial.datetime_start)
        for n, trial in begun.items()
        if n not in found
    ]
    session.add_all(new)
    session.flush()
    return {trial.number: trial.trial_id for trial in (*found.values(), *new)}


def _move(row: Any, trial: FrozenTrial) -> None:
    row.state = trial.state
    row.datetime_start, row.datetime_complete = trial.datetime_start, trial.datetime_complete


def _upsert(session: Session, model: Any, study_id: int, ids: Mapping[int, int], rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    if rows[0]["number"] is None:
        rows, owner = [{"study_id": study_id, **row} for row in rows], "study_id"
    else:
        rows, owner = [{"trial_id": ids[row["number"]], **row} for row in rows], "trial_id"
    rows = [{name: value for name, value in row.items() if name != "number"} for row in rows]
    key = [owner, *(name for name in ("param_name", "key", "step", "objective") if name in rows[0])]
    insert = _INSERT[session.get_bind().dialect.name](model.__table__)
    changed: dict[str, Any] = {name: insert.excluded[name] for name in rows[0] if name not in key}
    if model is models.TrialHeartbeatModel:  # the database's own time, as in a new row
        changed = {"heartbeat": sa.func.current_timestamp()}
    upsert = insert.on_conflict_do_update(index_elements=key, set_=changed)
    # Without a word of what it returns SQLAlchemy would send the rows one by one.
    session.connection().execute(upsert.returning(*model.__table__.primary_key), rows)
