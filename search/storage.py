"""Optuna's database: opens or resumes studies, takes up trials that a process left, and reads them as rows."""

from __future__ import annotations

import difflib
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.mirror import MirroredStorage
from search.patience import PatientStorage
from search.pruning import make_pruner
from search.redaction import one_line, redact
from search.settings import MIGRATING, Settings, prepare_sqlite
from search.spec import StudySpec
from search.writes import DIALECTS

HEARTBEAT_S = 20
SPEC, ELAPSED, FINGERPRINT, FACTS = "spec", "elapsed_s", "dataset.fingerprint", "facts"
"""Attributes of a study: its specification, the seconds its runs took, what it is trained on, and where."""
RESULT, RUN_ID, PRUNED_AT = "result", "run_id", "would_be_pruned_at"
"""Attributes of a trial: what training it came to, its run in MLflow, the epoch at which an audited one was spared."""

_THEIRS = "study {!r}: must be one that mlp-search made, but is another program's: choose another name"


def open_storage(settings: Settings) -> RDBStorage:
    """Opens Optuna's database, and makes it where there is none.

    Raises:
        UnavailableError: It cannot be reached or opened.
    """
    try:
        if (kind := sa.make_url(settings.optuna_storage).get_backend_name()) not in DIALECTS:
            raise ValueError(f"must be SQLite or PostgreSQL, got {kind}")
        with MIGRATING:
            return _shared(settings.optuna_storage) if settings.is_shared else _embedded(settings.optuna_storage)
    except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError, ValueError) as error:
        missing = isinstance(error, ImportError) and settings.optuna_storage.startswith("postgresql")
        why = "its driver is not installed: pip install 'mlp-search[postgres]'" if missing else one_line(error)
        raise UnavailableError(f"Optuna's database {redact(settings.optuna_storage)}: {why}") from error


@contextmanager
def storage_errors(settings: Settings) -> Iterator[None]:
    """Says in one line that Optuna's database has failed in the middle of a study.

    Raises:
        UnavailableError: It has.
    """
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        cause = (error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None) or error
        why = one_line(getattr(cause, "orig", None) or cause)
        raise UnavailableError(
            f"Optuna's database {redact(settings.optuna_storage)}: {why}; what was finished is kept, and once this is"
            " mended the same command goes on"
        ) from error


def _embedded(address: str) -> RDBStorage:
    prepare_sqlite(address)
    storage = RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 60}})
    # A power cut may cost the last commits, never the file: a trial that only they held is trained again.
    sa.event.listen(storage.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=NORMAL"))
    storage.engine.dispose()
    return storage


@cache
def _shared(address: str) -> RDBStorage:
    """One for a process: each has connections of its own, and a server has only so many for everybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        make = partial(PatientStorage, address, heartbeat_interval=HEARTBEAT_S)
        for _ in range(2):
            with suppress(sa.exc.IntegrityError, sa.exc.ProgrammingError):  # another process makes the tables just now
                return make()
            time.sleep(1.0)
        return make()


def open_study(settings: Settings, spec: StudySpec, fingerprint: str) -> optuna.Study:
    """Starts a study, or goes on with the one of that name.

    Raises:
        SpecError: The study of that name searches something else, or is another program's.
        UnavailableError: The database cannot be used.
    """
    storage = MirroredStorage(open_storage(settings), spec.name, shared=settings.is_shared)
    study = optuna.create_study(
        storage=storage, study_name=spec.name, direction="maximize", load_if_exists=True, pruner=make_pruner(spec)
    )
    recorded = study.user_attrs
    if SPEC in recorded:
        _require_same(spec, recorded[SPEC], fingerprint, recorded.get(FINGERPRINT, fingerprint))
    elif study.get_trials(deepcopy=False) or study.direction != optuna.study.StudyDirection.MAXIMIZE:
        raise SpecError(_THEIRS.format(spec.name))
    study.set_user_attr(SPEC, spec.to_json())
    study.set_user_attr(FINGERPRINT, fingerprint)
    return study


def _require_same(spec: StudySpec, recorded: dict[str, Any], fingerprint: str, recorded_fingerprint: str) -> None:
    """A study's budget may change from run to run; what it searches, and on what, may not."""
    given = spec.to_json()
    parts = [f"{table}.{key}" for table, key in (("study", "seed"), ("search", "sampler"), ("search", "pruner"))]
    changed = [part for part in parts if _part(given, part) != _part(recorded, part)]
    changed += [table for table in ("data", "space", "start") if given.get(table) != recorded.get(table)]
    if fingerprint != recorded_fingerprint and "data" not in changed:
        changed.append(f"the rows of {spec.data.source}")
    if changed:
        raise SpecError(
            f"study {spec.name!r}: must go on with what it was started with, but {' and '.join(changed)} changed:"
            " undo the change, or start another study with --study NAME"
        )


def _part(document: dict[str, Any], place: str) -> Any:
    table, key = place.split(".")
    return document.get(table, {}).get(key)


def load_study(settings: Settings, name: str) -> optuna.Study:
    """Opens a study to read it.

    Raises:
        NotFoundError: There is no study of that name.
        UnavailableError: The database cannot be used.
    """
    names = study_names(settings)
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(names)[:10]) or 'none yet'}"
        raise NotFoundError(f"study {name!r}: must be one of this home, {settings.home}; {hint}")
    storage = open_storage(settings)
    return optuna.load_study(study_name=name, storage=storage)


def load_own_study(settings: Settings, name: str) -> optuna.Study:
    """Opens a study to read it, one that ``open_study`` started.

    Raises:
        NotFoundError: There is no study of that name, or another program made it.
        UnavailableError: The database cannot be used.
    """
    study = load_study(settings, name)
    if SPEC not in study.user_attrs:
        raise NotFoundError(_THEIRS.format(name))
    return study


def mirrored(settings: Settings, name: str) -> optuna.Study:
    """A study that there is, to write to it; a trial's id is its number."""
    storage = MirroredStorage(open_storage(settings), name, shared=settings.is_shared)
    return optuna.load_study(study_name=name, storage=storage)


def study_names(settings: Settings) -> list[str]:
    """The names of the studies there are, the newest last; a home without a database has none."""
    if settings.optuna_storage.startswith("sqlite:"):
        path = sa.make_url(settings.optuna_storage).database
        if not (path and Path(path).exists()):
            return []
    return list(optuna.get_all_study_names(open_storage(settings)))


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One line of a leaderboard.

    Attributes:
        number: From 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING, or WAITING to be trained again.
        value: The best validation accuracy that the trial reached; None before its first epoch.
        params: The whole configuration, fixed values included.
        best_epoch: The epoch whose weights were kept.
        epochs_trained: How many there were.
        duration_s: From its start in the slot to its model file.
        device: Where it trained.
        run_id: Its run in MLflow.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    best_epoch: int | None
    epochs_trained: int
    duration_s: float | None
    device: str | None
    run_id: str | None


def trial_row(trial: FrozenTrial, late_run_ids: dict[str, Any]) -> TrialRow:
    """Reads a trial; ``late_run_ids`` are the study's attributes, where a run opened after its trial's end stands."""
    result = trial.user_attrs.get(RESULT, {})
    return TrialRow(
        number=trial.number,
        state=trial.state.name,
        value=result.get("best_val_accuracy", max(trial.intermediate_values.values(), default=None)),
        params=result.get("params", trial.params),
        best_epoch=result.get("best_epoch"),
        epochs_trained=result.get("epochs_trained", len(trial.intermediate_values)),
        duration_s=result.get("duration_s"),
        device=result.get("device"),
        run_id=late_run_ids.get(f"{RUN_ID}:{trial.number}", trial.user_attrs.get(RUN_ID)) or None,
    )


def leaderboard(study: optuna.Study) -> list[TrialRow]:
    """The study's trials, the best first; pruned ones after complete ones, those without a value last."""
    attributes = study.user_attrs
    rows = [trial_row(trial, attributes) for trial in study.get_trials(deepcopy=False)]
    order = {"COMPLETE": 0, "PRUNED": 1}
    return sorted(rows, key=lambda r: (order.get(r.state, 2), -(r.value if r.value is not None else -1), r.number))


def set_run_id(study: optuna.Study, number: int, run_id: str) -> None:
    """Notes a trial's run; Optuna takes no attribute of a trial that has ended, so then the study keeps it."""
    storage = study._storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    try:
        storage.set_trial_user_attr(trial_id, RUN_ID, run_id)
    except optuna.exceptions.UpdateFinishedTrialError:
        study.set_user_attr(f"{RUN_ID}:{number}", run_id)
