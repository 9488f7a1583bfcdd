"""Checks the model registry: aliases, their histories, unfinished promotions, and the files of versions."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from search.doctor.content import LOST, Copies, RecordedFile
from search.doctor.findings import Finding
from search.home.addresses import is_sqlite
from search.home.settings import Settings
from search.registry.versions import ARTIFACTS, COMPLETE, MADE_BY, STATE, Versions, all_pages
from search.tracking.entries import MODEL_FILE, now_ms

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_HALF_MADE_MS = 3_600_000  # for a registry that other machines share, where no lock tells whether a promotion runs


def model_findings(settings: Settings, client: MlflowClient, name: str, copies: Copies) -> Iterator[Finding]:
    """Checks one registered model; the caller holds its lock."""
    versions = Versions(client, name, "")
    if not versions.model():
        return
    model = client.get_registered_model(name)
    if not (there := versions.all()):
        is_bare = model.tags == MADE_BY and not (model.aliases or model.description)
        if is_bare and _is_dead(settings, model.creation_timestamp):
            what = "deletes it: a promotion was interrupted before its first version"
            apply = partial(client.delete_registered_model, name)
            yield Finding("registered model without a version", name, what, apply)
        return
    numbers = {str(version.version) for version in there}
    for alias, version in sorted(model.aliases.items()):
        yield from _alias(Versions(client, name, alias), str(version), numbers)
    for version in versions.unfinished(aliased=True):
        apply = partial(versions.tag, version.version, {STATE: COMPLETE})
        what = "completes it: the alias points at it already"
        yield Finding("promotion that was cut off", f"{name} version {version.version}", what, apply)
    for version in versions.unfinished(aliased=False):
        if _is_dead(settings, version.creation_timestamp):
            apply = partial(client.delete_model_version, name, version.version)
            what = "deletes the version, which never was a champion; promote creates it again"
            yield Finding("registration half made", f"{name} version {version.version}", what, apply)
    for version in there:
        yield from _version_file(client, version, copies)


def _alias(versions: Versions, current: str, numbers: set[str]) -> Iterator[Finding]:
    client, subject = versions.client, f"{versions.name}@{versions.alias}"
    if current in numbers:
        if versions.recorded_history() and versions.recorded_history() != versions.history():
            apply = partial(versions.record_history, versions.history())
            yield Finding("history of an alias", subject, f"rewrites it up to version {current}", apply)
        return
    before = [version for version in versions.recorded_history() if version in numbers]
    kind = "alias that points nowhere"
    if before:
        apply = partial(versions.point, before[-1], before[:-1])
        yield Finding(kind, subject, f"points it at version {before[-1]}, its previous one", apply)
    else:
        apply = partial(client.delete_registered_model_alias, versions.name, versions.alias)
        yield Finding(kind, subject, f"deletes it: version {current} does not exist and there is no earlier one", apply)


def _version_file(client: MlflowClient, version: ModelVersion, copies: Copies) -> Iterator[Finding]:
    """Checks the model file that a version was promoted with."""
    if "model_sha256" not in version.tags or LOST + MODEL_FILE in version.tags:
        return
    folder = f"{client.get_model_version_download_uri(version.name, version.version)}/{ARTIFACTS}"
    file = RecordedFile(client, folder, MODEL_FILE, version.tags["model_sha256"])
    set_tag = partial(client.set_model_version_tag, version.name, version.version, LOST + MODEL_FILE)
    yield from file.findings(f"{version.name} version {version.version}", copies, set_tag, "version with a ")


def logged_model_findings(settings: Settings, client: MlflowClient, experiment_ids: list[str]) -> Iterator[Finding]:
    """Finds logged models of unfinished promotions."""
    for experiment_id in experiment_ids:
        for model in all_pages(client.search_logged_models, [experiment_id]):
            is_half_made = str(model.status) != "READY" and {"study", "run_id", "model_sha256"} <= model.tags.keys()
            if is_half_made and _is_dead(settings, model.creation_timestamp) and not _is_promoting(settings):
                what = "deletes it: a promotion was interrupted, and the next one creates it again"
                apply = partial(client.delete_logged_model, model.model_id)
                yield Finding("logged model half made", f"{model.tags['study']}: {model.model_id}", what, apply)


def _is_dead(settings: Settings, created_ms: int) -> bool:
    """Whether the process that began something is dead: by the lock held here, on a shared registry by its age."""
    return is_sqlite(settings.registry_uri) or created_ms < now_ms() - _HALF_MADE_MS


def _is_promoting(settings: Settings) -> bool:
    """Whether another process of this home holds a model's lock."""
    with ExitStack() as stack:
        for path in settings.locks.glob("model-*.lock"):
            try:
                fcntl.flock(stack.enter_context(path.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
    return False
