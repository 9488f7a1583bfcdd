"""Deletes model files from MLflow's artifacts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from search.tracking.entries import LOST, MODEL_FILE
from search.tracking.history import versions_with

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def versions_of(client: MlflowClient, study: str) -> list[ModelVersion]:
    """The versions of registered models that come from a study."""
    return versions_with(client, "tags.study", study)


def model_file_size(client: MlflowClient, run_id: str) -> int | None:
    """Size of a run's model file in bytes; None where it has none."""
    sizes = [item.file_size or 0 for item in client.list_artifacts(run_id) if item.path == MODEL_FILE]
    return sizes[0] if sizes else None


def delete_model_file(client: MlflowClient, run_id: str, reason: str) -> None:
    """Deletes a run's model file; the record comes first, so that a crash leaves no file missing without a reason.

    Args:
        client: MLflow's client.
        run_id: The run.
        reason: The reason of the deletion: ``deleted by ...``.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client.set_tag(run_id, LOST + MODEL_FILE, f"{reason}: train its configuration again")
    folder = client.get_run(run_id).info.artifact_uri
    try:
        get_artifact_repository(folder, client.tracking_uri).delete_artifacts(MODEL_FILE)
    except Exception:
        with suppress(Exception):  # the error that is raised counts
            client.delete_tag(run_id, LOST + MODEL_FILE)
        raise
