"""Deletes a version of a registered model, and the files of it that no run shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import UnavailableError
from search.home.html import HtmlResult
from search.home.settings import prepare_home, read_settings
from search.registry import CHAMPION
from search.registry.models import registered
from search.registry.registration import logged_models
from search.registry.versions import STATE, model_lock
from search.removal.access import delete_files
from search.tracking.connection import mlflow_errors
from search.tracking.history import all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class DeletedVersion(HtmlResult):
    """A version of a registered model that was deleted, or that would be.

    Attributes:
        model: The registered model.
        version: The version's number.
        aliases: The aliases that point at it, which go with it.
        study: The study that it comes from, whose run keeps its model file.
        deleted: Whether it was deleted.
    """

    model: str
    version: int
    aliases: tuple[str, ...]
    study: str
    deleted: bool = False


def delete_version(
    model: str, version: str | int, *, dry_run: bool = False, home: Path | None = None
) -> DeletedVersion:
    """Deletes a version of a registered model; its run keeps its model file and its test.

    Args:
        model: The registered model.
        version: The version's number.
        dry_run: Whether to delete nothing.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such model or version.
        UnavailableError: Another program made it, or the registry cannot be used.
    """
    settings, number = read_settings(home), str(version)
    with mlflow_errors(f"model {model!r}"):
        versions = registered(settings, model, CHAMPION)
        prepare_home(settings)
        with model_lock(settings, model):
            found = versions.numbered(number)
            if STATE not in found.tags:
                raise UnavailableError(
                    f"model {model!r}: version {number} must be one that mlp-search promoted, but is another program's"
                )
            aliases = tuple(sorted(alias for alias, target in versions.aliases().items() if target == number))
            result = DeletedVersion(model, int(number), aliases, found.tags.get("study", ""))
            _require_run(versions.client, model, number, str(found.run_id))
            if dry_run:
                return result
            versions.client.delete_model_version(model, number)
            _delete_logged_models(versions.client, str(found.run_id))
    return replace(result, deleted=True)


def _require_run(client: MlflowClient, model: str, number: str, run_id: str) -> None:
    """Checks that the run of a version is here: a registry may serve other homes.

    Raises:
        UnavailableError: It is not.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UnavailableError(
            f"model {model!r}: version {number} must be of a run in this home's MLflow, but run {run_id} is not there:"
            " delete the version in the home that promoted it, or in MLflow"
        ) from error


def _delete_logged_models(client: MlflowClient, run_id: str) -> None:
    """Deletes the logged models of a run, unless a version of another registered model has them too."""
    if any(all_pages(client.search_model_versions, f"run_id = '{run_id}'")):
        return
    for logged in logged_models(client, run_id):
        client.delete_logged_model(logged.model_id)
        delete_files(client, logged.artifact_location)
