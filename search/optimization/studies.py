"""Opens, resumes and loads studies."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import RDBStorage

from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.errors import NotFoundError, SpecError
from pipelines.files.sources import is_table
from pipelines.objectives import OBJECTIVES
from search.devices.precision import AS_ASKED, PrecisionRule
from search.home.addresses import sqlite_file
from search.home.settings import Settings
from search.optimization.baselines import Baselines
from search.optimization.leaderboard import baselines_of
from search.optimization.pruners import make_pruner
from search.spec import StudySpec, spec_from_dict
from search.spec.space import SearchSpace
from search.storage import CachedStorage, StoredStudy, open_storage
from search.storage.attributes import FINGERPRINT, LIKED, PRECISION, SPEC, VIRTUAL_SLOTS
from search.storage.database import name_objective
from search.storage.sharing import exclusive_access

_FILLED_IN = ("scaling", "folds", "task")
"""Keys of ``[data]`` that a study takes from its record where they are not given."""
_FOREIGN = "study {!r}: must be one that mlp-search made, but is another program's: choose another name"


def open_study(
    settings: Settings,
    spec: StudySpec,
    fingerprint: str,
    settle_precision: Callable[[], PrecisionRule] = lambda: "float32",
    virtual_slots: int = 0,
) -> StoredStudy:
    """Starts a study, or resumes the one of that name.

    Args:
        settings: Places of this process.
        spec: The study.
        fingerprint: Of its dataset.
        settle_precision: Called once in the life of a study, when it is started.
        virtual_slots: Slots of the virtual clock that the study gets when it is started; 0 means that it has none.

    Raises:
        SpecError: The study of that name searches something else, or is another program's.
        UnavailableError: The database cannot be used.
    """
    direction = OBJECTIVES[spec.metric].direction
    storage = CachedStorage(open_storage(settings), spec.name, direction, shared=settings.is_shared)
    study = StoredStudy(spec.name, storage, make_pruner(spec))
    with exclusive_access(settings, study):  # processes that start it at once settle one precision
        recorded = study.user_attrs
        if SPEC in recorded:
            _require_same(spec, recorded[SPEC], fingerprint, recorded.get(FINGERPRINT, fingerprint))
            _require_same_precision(spec, precision_rule(recorded))
            _require_same_clock(spec, recorded)
        elif study.get_trials(deepcopy=False) or study.direction.name.lower() != direction:
            raise SpecError(_FOREIGN.format(spec.name))
        new = {} if SPEC in recorded else _settled(spec, settle_precision(), virtual_slots)
        with study.transaction():  # a process that dies leaves all of it or nothing
            for key, value in (new | {SPEC: spec.to_json(), FINGERPRINT: fingerprint}).items():
                study.set_user_attr(key, value)
        name_objective(settings, spec.name, spec.metric)
    return study


def precision_rule(attributes: Mapping[str, Any]) -> PrecisionRule:
    """The rule of a study's precision, from the study's attributes; earlier versions trained in float32."""
    rule: PrecisionRule = attributes.get(PRECISION, "float32")
    return rule


def _require_same_precision(spec: StudySpec, kept: PrecisionRule) -> None:
    asked = spec.workers.precision
    if asked not in (None, "auto", kept):
        raise SpecError(
            f"workers.precision (--precision): must be that of study {spec.name!r}, {AS_ASKED[kept]}, got {asked}:"
            " leave it out, or start another study with --study NAME"
        )


def _require_same_clock(spec: StudySpec, recorded: Mapping[str, Any]) -> None:
    is_deterministic = VIRTUAL_SLOTS in recorded
    if spec.deterministic not in (None, is_deterministic):
        was = "true" if is_deterministic else "false"
        raise SpecError(
            f"search.deterministic: must be that of study {spec.name!r}, {was}, got {str(spec.deterministic).lower()}:"
            " leave it out, or start another study with --study NAME"
        )
    slots = recorded[SPEC].get("search", {}).get("virtual_slots", recorded.get(VIRTUAL_SLOTS))
    if spec.virtual_slots not in (None, slots, recorded.get(VIRTUAL_SLOTS)):  # a larger machine may have added some
        raise SpecError(
            f"search.virtual_slots: must be that of study {spec.name!r}, {slots or 'none'}, got {spec.virtual_slots}:"
            " leave it out, or start another study with --study NAME"
        )


def _settled(spec: StudySpec, rule: PrecisionRule, virtual_slots: int) -> dict[str, object]:
    """The settings that a study never changes."""
    clock = {VIRTUAL_SLOTS: virtual_slots} if virtual_slots else {}
    return {PRECISION: rule, **clock, **({} if spec.n_liked is None else {LIKED: spec.n_liked})}


def is_begun(settings: Settings, name: str) -> bool:
    """Whether there is a study of that name; a process that died while it started one may have left the name alone."""
    return name in study_names(settings) and SPEC in load_study(settings, name).user_attrs


def keep_recorded_defaults(settings: Settings, spec: StudySpec) -> StudySpec:
    """Takes the space and the starts of an existing study where the user gave none: other versions have others.

    Starts of ``like`` were chosen when the study was started: the earlier studies may have better ones now.
    """
    if not is_begun(settings, spec.name):
        return spec
    then = _recorded_spec(load_study(settings, spec.name).user_attrs[SPEC])
    own = () if spec.has_default_starts else spec.start
    if spec.like is not None and spec.like == then.like and set(own) <= set(then.start):
        spec = replace(spec, start=then.start)
    if not spec.has_default_starts or spec.like not in (None, then.like):
        return spec
    if not spec.has_default_space:
        return replace(spec, start=then.start, like=then.like)
    given = {name: d for name, d in spec.space.dimensions.items() if name == "class_weight"}
    space = SearchSpace({**then.space.dimensions, **given})
    return replace(spec, start=then.start, like=then.like, space=space, of_preset=frozenset())


def _require_same(spec: StudySpec, recorded: dict[str, Any], fingerprint: str, recorded_fingerprint: str) -> None:
    """A study's budget may change from run to run; what it searches, and on what, may not."""
    now, then = (_fixed(document) for document in (spec.to_json(), _recorded_spec(recorded).to_json()))
    changed = [place for place in now if now[place] != then[place]]
    if fingerprint != recorded_fingerprint and not {"data", "data.folds"} & set(changed):
        changed.append(f"the rows of {spec.data.source} or how this version reads them")
    _require_no_change(spec, changed)


def _require_no_change(spec: StudySpec, changed: Sequence[str]) -> None:
    if changed:
        raise SpecError(
            f"study {spec.name!r}: must be resumed with its own settings, but {' and '.join(changed)} changed:"
            " undo the change, or start another study with --study NAME"
        )


def _require_same_data(spec: StudySpec, then: StudySpec) -> None:
    """Checks what a user always gives, before the rest of ``[data]`` is taken from the record: it may not fit."""
    new, old = ({k: v for k, v in each.to_json()["data"].items() if k not in _FILLED_IN} for each in (spec, then))
    _require_no_change(spec, [f"data.{key}" for key in {**old, **new} if old.get(key) != new.get(key)])


def _fixed(document: dict[str, Any]) -> dict[str, object]:
    """The settings that no run of a study may change, by their place in the study file."""
    searched = [("search", key) for key in ("objective", "sampler", "pruner", "like")]
    keys = (("study", "seed"), *searched)
    fixed = {f"{table}.{key}": document.get(table, {}).get(key) for table, key in keys}
    data = dict(document["data"])
    fixed["data.folds"] = data.pop("folds", 1)
    return fixed | {"data": data} | {table: document.get(table) for table in ("space", "start")}


def as_recorded(settings: Settings, spec: StudySpec) -> StudySpec:
    """The study as it was recorded, where it exists, in what is not given now.

    That is the scaling, the folds, the objective, the task, and how many trials keep their model files.

    Raises:
        SpecError: Something else of ``[data]`` is not what it was.
    """
    if spec.name not in study_names(settings):
        return spec
    recorded = load_study(settings, spec.name).user_attrs.get(SPEC)
    if not recorded:
        return spec
    then = _recorded_spec(recorded)
    _require_same_data(spec, then)
    data = replace(spec.data, scaling=spec.data.scaling or then.data.scaling, folds=spec.data.folds or then.data.folds)
    spec = replace(spec, data=data, keep_models=spec.keep_models or then.keep_models)
    if spec.deterministic is not False:
        spec = replace(spec, virtual_slots=spec.virtual_slots or then.virtual_slots)
    if spec.objective or spec.data.task:
        return spec
    return replace(spec, objective=then.objective, data=replace(data, task=then.data.task))


def _recorded_spec(recorded: dict[str, Any]) -> StudySpec:
    """The study as it was recorded; what an earlier version did not record is what it did.

    That is one split, and for a table without a scaling that of the first version.
    """
    spec = spec_from_dict(recorded, "recorded study")
    spec = spec.with_folds(spec.data.folds or 1)
    if spec.data.scaling or not is_table(spec.data.source):
        return spec
    return replace(spec, data=replace(spec.data, scaling="minmax"))


def recorded_baselines(settings: Settings, name: str) -> Baselines:
    """The scores of a study's baselines; none if they are not known yet, as in homes of earlier versions."""
    if name not in study_names(settings):
        return {}
    return baselines_of(load_study(settings, name).user_attrs)


def require_own_experiment(settings: Settings, name: str) -> None:
    """Checks that a new study's name is not that of MLflow's experiment 0, whose artifacts lie outside the home.

    Some of MLflow's databases do not tell upper case from lower case.

    Raises:
        SpecError: It is.
    """
    if name.casefold() == "default" and name not in study_names(settings):
        raise SpecError(
            f"study.name: must not be MLflow's experiment Default, got {name!r}: choose another --study NAME"
        )


def load_study(settings: Settings, name: str) -> StoredStudy:
    """Opens a study to read it.

    Raises:
        NotFoundError: There is no study of that name.
        UnavailableError: The database cannot be used.
    """
    storage = _existing_storage(settings)
    names = list(optuna.get_all_study_names(storage)) if storage else []
    if storage is None or name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(names)[:10]) or 'none yet'}"
        raise NotFoundError(f"study {name!r}: must be one of this home, {settings.home}; {hint}")
    return StoredStudy(name, storage)


def load_own_study(settings: Settings, name: str) -> StoredStudy:
    """Opens a study to read it, one that ``open_study`` started.

    Raises:
        NotFoundError: There is no study of that name, or another program made it.
        UnavailableError: The database cannot be used.
    """
    study = load_study(settings, name)
    if SPEC not in study.user_attrs:
        raise NotFoundError(_FOREIGN.format(name))
    return study


def load_writable_study(settings: Settings, name: str) -> StoredStudy:
    """Opens an existing study to write to it."""
    return StoredStudy(name, CachedStorage(open_storage(settings), name, shared=settings.is_shared))


def study_names(settings: Settings) -> list[str]:
    """Names of all studies, the newest last; a home without a database has none."""
    storage = _existing_storage(settings)
    return list(optuna.get_all_study_names(storage)) if storage else []


def _existing_storage(settings: Settings) -> RDBStorage | None:
    """Opens the database; None where the home has none."""
    file = sqlite_file(settings.optuna_storage)
    return None if file and not file.exists() else open_storage(settings)


def study_data(study: StoredStudy, settings: Settings) -> tuple[StudySpec, Dataset]:
    """The specification of a study and its dataset.

    Raises:
        SpecError: The dataset's rows or its split changed since.
    """
    spec = _recorded_spec(study.user_attrs[SPEC])
    dataset = load(spec.data, settings.data_folders)
    if dataset.fingerprint != (recorded := study.user_attrs.get(FINGERPRINT)):
        raise SpecError(
            f"study {study.study_name!r}: {spec.data.source} must hold the rows that were searched on (fingerprint"
            f" {recorded}), got {dataset.fingerprint}: the file changed, or this version"
            " reads it in another way; restore the file, or start another study"
        )
    return spec, dataset
