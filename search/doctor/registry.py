"""Whether the registry holds together: aliases, their histories, versions that are whole, nothing half-made."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from search.doctor.content import LOST, Copies, damage, put_back
from search.doctor.findings import Finding
from search.home.addresses import is_sqlite
from search.home.settings import Settings
from search.registry.packaging import ARTIFACTS
from search.registry.versions import COMPLETE, MADE_BY, STATE, Versions, all_pages
from search.tracking.entries import MODEL_FILE, now_ms

_HALF_MADE_MS = 3_600_000  # on a registry that other machines use too, where no lock says who is at work


def model_findings(settings: Settings, client: Any, name: str, copies: Copies) -> Iterator[Finding]:
    """What is wrong with one registered model; its lock is in hand."""
    versions = Versions(client, name, "")
    if not versions.model():
        return
    model = client.get_registered_model(name)
    if not (there := versions.all()):
        is_bare = model.tags == MADE_BY and not (model.aliases or model.description)
        if is_bare and _is_dead(settings, model.creation_timestamp):
            what = "deletes it: a promotion made it and was cut off before its first version"
            mend = partial(client.delete_registered_model, name)
            yield Finding("registered model without a version", name, what, mend)
        return
    numbers = {str(version.version) for version in there}
    for alias, version in sorted(model.aliases.items()):
        yield from _alias(Versions(client, name, alias), str(version), numbers)
    for version in versions.unfinished(aliased=True):
        mend = partial(versions.tag, version.version, {STATE: COMPLETE})
        what = "finishes it: the alias had moved already"
        yield Finding("promotion that was cut off", f"{name} version {version.version}", what, mend)
    for version in versions.unfinished(aliased=False):
        if _is_dead(settings, version.creation_timestamp):
            mend = partial(client.delete_model_version, name, version.version)
            what = "deletes the version, which never was a champion; promote makes it again"
            yield Finding("registration half made", f"{name} version {version.version}", what, mend)
    for version in there:
        yield from _version_file(client, version, copies)


def _alias(versions: Versions, current: str, numbers: set[str]) -> Iterator[Finding]:
    client, subject = versions.client, f"{versions.name}@{versions.alias}"
    if current in numbers:
        if versions.recorded_history() and versions.recorded_history() != versions.history():
            mend = partial(versions.record_history, versions.history())
            yield Finding("history of an alias", subject, f"writes it anew, up to version {current}", mend)
        return
    before = [version for version in versions.recorded_history() if version in numbers]
    kind = "alias that points nowhere"
    if before:
        mend = partial(versions.point, before[-1], before[:-1])
        yield Finding(kind, subject, f"points it at version {before[-1]}, which it pointed at before", mend)
    else:
        mend = partial(client.delete_registered_model_alias, versions.name, versions.alias)
        yield Finding(kind, subject, f"deletes it: version {current} is gone and none was before", mend)


def _version_file(client: Any, version: Any, copies: Copies) -> Iterator[Finding]:
    """The model file that a version was promoted with."""
    sha256, subject = version.tags.get("model_sha256", ""), f"{version.name} version {version.version}"
    if not sha256 or LOST + MODEL_FILE in version.tags:
        return
    folder = f"{client.get_model_version_download_uri(version.name, version.version)}/{ARTIFACTS}"
    if harm := damage(client, f"{folder}/{MODEL_FILE}", sha256):
        kind = f"version with a {harm.split(':')[0]} {MODEL_FILE}"
        if copy := copies.find(sha256):
            mend = partial(put_back, client, folder, MODEL_FILE, copy)
            yield Finding(kind, subject, f"puts back the copy at {copy}", mend)
        else:
            mend = partial(Versions(client, version.name, "").tag, version.version, {LOST + MODEL_FILE: harm})
            what = f"cannot be brought back, no copy of it is left here: notes that in the tag {LOST}{MODEL_FILE}"
            yield Finding(kind, subject, what, mend)


def logged_model_findings(settings: Settings, client: Any, experiment_ids: list[str]) -> Iterator[Finding]:
    """Logged models that a promotion began and did not finish."""
    for experiment_id in experiment_ids:
        for model in all_pages(client.search_logged_models, [experiment_id]):
            is_half_made = str(model.status) != "READY" and {"study", "run_id", "model_sha256"} <= model.tags.keys()
            if is_half_made and _is_dead(settings, model.creation_timestamp) and not _is_promoting(settings):
                what = "deletes it: a promotion was cut off, and the next one makes it again"
                mend = partial(client.delete_logged_model, model.model_id)
                yield Finding("logged model half made", f"{model.tags['study']}: {model.model_id}", what, mend)


def _is_dead(settings: Settings, created_ms: int) -> bool:
    """Whether what is half made is under way no more: the lock in hand says so, elsewhere the time that it had."""
    return is_sqlite(settings.registry_uri) or created_ms < now_ms() - _HALF_MADE_MS


def _is_promoting(settings: Settings) -> bool:
    """Whether any model's lock of this home is held."""
    with ExitStack() as stack:
        for path in settings.locks.glob("model-*.lock"):
            try:
                fcntl.flock(stack.enter_context(path.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
    return False
