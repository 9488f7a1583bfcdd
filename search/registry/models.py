"""The registry: which versions there are, and an alias that goes back to the version before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import NotFoundError
from search.finals.sealed_test import now, user
from search.home.addresses import sqlite_file
from search.home.settings import Settings, read_settings
from search.registry.versions import COMPLETE, STATE, Versions, every, model_lock, registry_errors
from search.tracking.home import open_home
from search.tracking.runs import connect

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Rollback:
    """An alias that went back: the model, the version it points at now, and the one that it left."""

    model: str
    alias: str
    version: int
    left: int


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a registered model; ``test_accuracy`` is None where the sealed test was not opened."""

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


def rollback(model: str, *, alias: str = CHAMPION, home: Path | None = None) -> Rollback:
    """Returns an alias to the version it pointed at before; twice goes two back.

    Raises:
        NotFoundError: There is no such model, or no version before.
        UnavailableError: The registry cannot be used.
    """
    settings = registry_home(home)
    with registry_errors(model), model_lock(settings, model):
        versions = Versions(connect(settings), model, alias)
        require_model(versions)
        version, left = versions.back()
        versions.client.set_model_version_tag(model, left, "rolled_back", f"{now()} by {user()}")
    return Rollback(model, alias, int(version), int(left))


def models(*, home: Path | None = None) -> list[VersionRow]:
    """Every version of every registered model, the newest of each first."""
    settings = read_settings(home)
    if (file := sqlite_file(settings.registry_uri)) and not file.exists():
        return []
    client = connect(settings)
    rows = []
    with registry_errors("all"):
        for registered in sorted(every(client.search_registered_models), key=lambda m: str(m.name)):
            aliases: dict[str, list[str]] = {}
            for alias, version in registered.aliases.items():
                aliases.setdefault(str(version), []).append(alias)
            found = Versions(client, registered.name, CHAMPION).all()
            rows += [_row(version, tuple(sorted(aliases.get(str(version.version), ())))) for version in found]
    return rows


def _row(version: Any, aliases: tuple[str, ...]) -> VersionRow:
    tags = version.tags
    return VersionRow(
        model=version.name,
        version=int(version.version),
        aliases=aliases,
        test_accuracy=float(tags["test_accuracy"]) if tags.get("test_accuracy") else None,
        study=tags.get("study", ""),
        trial=int(tags["trial"]) if tags.get("trial") else None,
        run_id=version.run_id,
        gate=tags.get("gate", "") if tags.get(STATE, COMPLETE) == COMPLETE else "a promotion was cut off",
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        by=tags.get("promoted_by", ""),
        seal_opened=int(tags.get("seal_opened", 0)),
    )


def registry_home(home: Path | None) -> Settings:
    """The settings of a home whose registry is there.

    Raises:
        NotFoundError: Nothing was ever registered there.
    """
    settings = read_settings(home)
    if (file := sqlite_file(settings.registry_uri)) and not file.exists():
        raise NotFoundError(f"home {settings.home}: must have registered models, got none: promote a study first")
    open_home(settings)
    return settings


def require_model(versions: Versions) -> None:
    """Looks whether a model is registered.

    Raises:
        NotFoundError: It is not.
    """
    if not versions.exists():
        names = sorted(str(m.name) for m in every(versions.client.search_registered_models))
        there = f"there is {', '.join(names[:10])}" if names else "there is none yet"
        raise NotFoundError(f"model {versions.name!r}: must be registered; {there}")
