"""The registry: the versions of every model, and the way back to the version before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.targets import listed
from pipelines.errors import InputError, NotFoundError
from pipelines.objectives import OBJECTIVES
from search.finals.readings import authorship
from search.home.addresses import sqlite_file
from search.home.html import HtmlResult
from search.home.read_only import readable
from search.home.settings import Settings, prepare_home, read_settings
from search.home.text import redact
from search.registry import CHAMPION
from search.registry.versions import COMPLETE, STATE, Versions, model_lock, tagged
from search.tracking.connection import connect, mlflow_errors
from search.tracking.history import all_pages

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


@dataclass(frozen=True, slots=True)
class Rollback(HtmlResult):
    """A rollback: the model, the alias, the version it points at now, and the one that it left, or None."""

    model: str
    alias: str
    version: int
    left: int | None


@dataclass(frozen=True, slots=True)
class VersionRow(HtmlResult):
    """One version of a registered model; ``test_accuracy`` is None if it was not evaluated on the held-out test.

    ``majority`` is the share of the test rows' most frequent class; None if unknown. ``value`` is the test's metric of
    the study's ``objective``, ``baseline`` that of a constant prediction, ``linear`` that of a linear model;
    None if it was not evaluated, or if an earlier version did not record it.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    test_accuracy: float | None
    study: str
    trial: int | None
    run_id: str | None
    gate: str
    created: str
    by: str
    seal_opened: int
    majority: float | None = None
    objective: str = "val_accuracy"
    value: float | None = None
    baseline: float | None = None
    linear: float | None = None


def rollback(model: str, *, alias: str = CHAMPION, home: Path | None = None) -> Rollback:
    """Returns an alias to the version it pointed at before; called twice, it goes two versions back.

    Raises:
        NotFoundError: There is no such model, or no version before.
        UnavailableError: The registry cannot be used.
    """
    settings = read_settings(home)
    with mlflow_errors(f"model {model!r}"):
        versions = registered(settings, model, alias)
        prepare_home(settings)
        with model_lock(settings, model):
            version, left = versions.back()
            if left:
                versions.tag(left, {"rolled_back": "{at} by {by}".format(**authorship())})
    return Rollback(model, alias, int(version), int(left) if left else None)


def models(*, home: Path | None = None) -> list[VersionRow]:
    """Every version of every registered model, the newest of each first."""
    settings = read_settings(home)
    if _is_empty(settings):
        return []
    with mlflow_errors(f"MLflow at {redact(settings.registry_uri)}"), readable(settings) as readable_home:
        client = connect(readable_home)
        found = sorted(all_pages(client.search_registered_models), key=lambda model: str(model.name))
        return [_row(model, version) for model in found for version in Versions(client, model.name, "").all()]


def _row(model: RegisteredModel, version: ModelVersion) -> VersionRow:
    tags = version.tags
    aliases = sorted(alias for alias, target in model.aliases.items() if str(target) == str(version.version))
    return VersionRow(
        model=version.name,
        version=int(version.version),
        aliases=tuple(aliases),
        test_accuracy=tagged(tags, "test_accuracy"),
        study=tags.get("study", ""),
        trial=_whole(tags.get("trial", "")),
        run_id=version.run_id,
        gate=tags.get("gate", "") if tags.get(STATE, COMPLETE) == COMPLETE else "its promotion was cut off",
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        by=tags.get("promoted_by", ""),
        seal_opened=_whole(tags.get("seal_opened", "")) or 0,
        majority=tagged(tags, "test_majority"),
        objective=tags.get("objective") or next((name for name in OBJECTIVES if name in tags), "val_accuracy"),
        value=tagged(tags, "test_value" if "test_value" in tags else "test_accuracy"),
        baseline=tagged(tags, "test_baseline" if "test_baseline" in tags else "test_majority"),
        linear=tagged(tags, "test_linear"),
    )


def _whole(text: str) -> int | None:
    """A tag's number; None for another program's text."""
    return int(text) if text.isascii() and text.isdecimal() else None


def _is_empty(settings: Settings) -> bool:
    """Whether the registry's database was never made; MLflow would make it to answer."""
    file = sqlite_file(settings.registry_uri)
    return file is not None and not file.exists()


def registered(settings: Settings, name: str, alias: str) -> Versions:
    """The versions of a registered model.

    Raises:
        InputError: What is given is no name.
        NotFoundError: It is not registered.
        UnavailableError: The registry cannot be used.
    """
    if not isinstance(name, str):
        raise InputError(f"model: must be the name of a registered model, got {name!r}")
    if _is_empty(settings):
        raise NotFoundError(f"home {settings.home}: must have registered models, got none: promote a study first")
    versions = Versions(connect(settings), name, alias)
    if not versions.model():
        names = sorted(str(found.name) for found in all_pages(versions.client.search_registered_models))
        there = f"there is {listed(names)}" if names else "there is none yet"
        raise NotFoundError(f"model {name!r}: must be registered; {there}")
    return versions
