"""Checks the model registry: aliases, their histories, unfinished promotions, and the files of versions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from search.doctor.content import Copies, RecordedFile
from search.doctor.findings import Finding
from search.home.addresses import is_sqlite
from search.home.locks import is_any_held
from search.home.settings import Settings
from search.registry.versions import ARTIFACTS, COMPLETE, MADE_BY, STATE, Versions
from search.tracking.entries import LOST, MODEL_FILE, SILENT_MS, now_ms
from search.tracking.history import all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def model_findings(settings: Settings, client: MlflowClient, name: str, copies: Copies) -> Iterator[Finding]:
    """Checks one registered model; the caller holds its lock."""
    versions = Versions(client, name, "")
    model, existing = versions.model(), versions.all()
    if not model:
        return
    is_bare = model.tags == MADE_BY and not (existing or model.aliases or model.description)
    if is_bare and _is_dead(settings, model.creation_timestamp):
        what = "deletes it: a promotion was interrupted before its first version"
        delete = partial(client.delete_registered_model, name)
        yield Finding("registered model without a version", name, what, delete)
    numbers = {str(version.version) for version in existing}
    for alias, version in sorted(model.aliases.items()) if existing else ():
        yield from _alias(Versions(client, name, alias), str(version), numbers)
    for version in versions.unfinished(aliased=True):
        what = "completes it: the alias points at it already"
        complete = partial(versions.tag, version.version, {STATE: COMPLETE})
        yield Finding("promotion that was cut off", _subject(version), what, complete)
    for version in versions.unfinished(aliased=False):
        if _is_dead(settings, version.creation_timestamp):
            what = "deletes the version, which never was a champion; promote creates it again"
            delete = partial(client.delete_model_version, name, version.version)
            yield Finding("registration half made", _subject(version), what, delete)
    for version in existing:
        yield from _version_file(client, version, copies)


def _subject(version: ModelVersion) -> str:
    return f"{version.name} version {version.version}"


def _alias(versions: Versions, current: str, numbers: set[str]) -> Iterator[Finding]:
    subject, kind = f"{versions.name}@{versions.alias}", "alias that points nowhere"
    recorded = versions.recorded_history()
    before = [version for version in recorded if version in numbers]
    if current in numbers:
        if versions.has_history() and recorded != versions.history():
            rewrite = partial(versions.record_history, versions.history())
            yield Finding("history of an alias", subject, f"rewrites it up to version {current}", rewrite)
    elif before:
        point = partial(versions.point, before[-1], before[:-1])
        yield Finding(kind, subject, f"points it at version {before[-1]}, its previous one", point)
    else:
        what = f"deletes it: version {current} does not exist and there is no earlier one"
        delete = partial(versions.client.delete_registered_model_alias, versions.name, versions.alias)
        yield Finding(kind, subject, what, delete)


def _version_file(client: MlflowClient, version: ModelVersion, copies: Copies) -> Iterator[Finding]:
    """Checks the model file that a version was promoted with."""
    if "model_sha256" not in version.tags or LOST + MODEL_FILE in version.tags:
        return
    folder = f"{client.get_model_version_download_uri(version.name, version.version)}/{ARTIFACTS}"
    file = RecordedFile(client, folder, MODEL_FILE, version.tags["model_sha256"])
    set_tag = partial(client.set_model_version_tag, version.name, version.version, LOST + MODEL_FILE)
    for finding in file.findings(_subject(version), copies, set_tag):
        yield replace(finding, kind=f"version with a {finding.kind}")


def logged_model_findings(settings: Settings, client: MlflowClient, experiment_ids: list[str]) -> Iterator[Finding]:
    """Finds logged models of unfinished promotions."""
    for model in itertools.chain(*(all_pages(client.search_logged_models, [found]) for found in experiment_ids)):
        is_half_made = str(model.status) != "READY" and {"study", "run_id", "model_sha256"} <= model.tags.keys()
        is_left = is_half_made and _is_dead(settings, model.creation_timestamp)
        if is_left and not is_any_held(settings, "model-*.lock"):  # by a promotion of this home
            what = "deletes it: a promotion was interrupted, and the next one creates it again"
            delete = partial(client.delete_logged_model, model.model_id)
            yield Finding("logged model half made", f"{model.tags['study']}: {model.model_id}", what, delete)


def _is_dead(settings: Settings, created_ms: int) -> bool:
    """Whether the process that began something is dead: by the lock held here, on a shared registry by its age."""
    return is_sqlite(settings.registry_uri) or created_ms < now_ms() - SILENT_MS
