"""Opens existing studies, and reads what was recorded of them."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.data.targets import listed
from pipelines.errors import InputError, NotFoundError, SpecError
from pipelines.files.roles import ROLES
from pipelines.files.sources import SOURCES, is_table, locate
from search.devices.precision import PrecisionRule
from search.home.addresses import sqlite_file
from search.home.settings import Settings
from search.spec import StudySpec, spec_from_dict
from search.spec.study_spec import drawn_as_then
from search.storage import CachedStorage, StoredStudy, open_storage
from search.storage.attributes import FINGERPRINT, PRECISION, SPEC

FOREIGN = "study {!r}: must be one that mlp-search made, but is another program's: choose another name"


def study_names(settings: Settings) -> list[str]:
    """Names of all studies, the newest last; a home without a database has none."""
    storage = _existing_storage(settings)
    return list(optuna.get_all_study_names(storage)) if storage else []


def is_begun(settings: Settings, name: str) -> bool:
    """Whether there is a study of that name; a process that died while it started one may have left the name alone."""
    return SPEC in recorded_attributes(settings, name)


def recorded_attributes(settings: Settings, name: str) -> dict[str, Any]:
    """The attributes of a study; none where there is no such study."""
    return load_study(settings, name).user_attrs if name in study_names(settings) else {}


def load_study(settings: Settings, name: str) -> StoredStudy:
    """Opens a study to read it.

    Raises:
        InputError: What is given is no name.
        NotFoundError: There is no study of that name.
        UnavailableError: The database cannot be used.
    """
    if not isinstance(name, str):
        raise InputError(f"study: must be the name of a study, got {name!r}")
    storage = _existing_storage(settings)
    names = list(optuna.get_all_study_names(storage)) if storage else []
    if storage is None or name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {listed(sorted(names)) or 'none yet'}"
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
        raise NotFoundError(FOREIGN.format(name))
    return study


def load_writable_study(settings: Settings, name: str) -> StoredStudy:
    """Opens an existing study to write to it."""
    return StoredStudy(name, CachedStorage(open_storage(settings), name, shared=settings.is_shared))


def _existing_storage(settings: Settings) -> RDBStorage | None:
    """Opens the database; None where the home has none."""
    file = sqlite_file(settings.optuna_storage)
    return None if file and not file.exists() else open_storage(settings)


def recorded_spec(recorded: dict[str, Any]) -> StudySpec:
    """The study as it was recorded; what an earlier version did not record is what it did.

    That is one split, another draw of groups, and for a table without a scaling that of the first version.
    """
    spec = spec_from_dict(recorded, "recorded study")
    spec = replace(spec, data=drawn_as_then(spec.data)).with_folds(spec.data.folds or 1)
    if spec.data.scaling or not is_table(spec.data.source):
        return spec
    return replace(spec, data=replace(spec.data, scaling="minmax"))


def with_file(spec: StudySpec, settings: Settings) -> StudySpec:
    """A recorded study with the path that its file has now: one in the folder ``datasets`` moves with its home.

    Raises:
        NotFoundError: The file is no longer there.
    """
    data, path = spec.data, Path(spec.data.source)
    if data.source in SOURCES:
        return spec
    saved = settings.home / "datasets" / path.name
    if path.parent.name == saved.parent.name and not path.exists() and saved.is_file():
        return replace(spec, data=replace(data, source=str(saved)))
    try:
        locate(data.source, settings.data_folders)
    except NotFoundError as error:
        given = {key: getattr(data, key) for key in ("target", *ROLES)}
        options = "".join(f" --{key} {shlex.quote(value)}" for key, value in given.items() if value)
        raise NotFoundError(
            f"study {spec.name!r}: needs its data, but there is no file {data.source!r}: put it back, or give its new"
            f" path once, in its study file or as: mlp-search run PATH --study {shlex.quote(spec.name)}{options}"
        ) from error
    return spec


def study_data(study: StoredStudy, settings: Settings) -> tuple[StudySpec, Dataset]:
    """The specification of a study and its dataset.

    Raises:
        NotFoundError: The dataset's file is no longer there.
        SpecError: The dataset's rows or its split changed since.
    """
    spec = with_file(recorded_spec(study.user_attrs[SPEC]), settings)
    dataset = load(spec.data, settings.data_folders)
    if dataset.fingerprint != (recorded := study.user_attrs.get(FINGERPRINT)):
        raise SpecError(
            f"study {study.study_name!r}: {spec.data.source} must hold the rows that were searched on (fingerprint"
            f" {recorded}), got {dataset.fingerprint}: the file changed, or this version"
            " reads it in another way; restore the file, or start another study"
        )
    return spec, dataset


def precision_rule(attributes: Mapping[str, Any]) -> PrecisionRule:
    """The rule of a study's precision, from the study's attributes; earlier versions trained in float32."""
    rule: PrecisionRule = attributes.get(PRECISION, "float32")
    return rule
