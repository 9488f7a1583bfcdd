"""The version of a winner: its lineage, and a logged model of its run that is registered with its card."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import optuna

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from search.finals.readings import latest_reading, seal_opened
from search.finals.winner import Winner, fetch_model
from search.home.settings import Settings
from search.optimization.studies import study_data
from search.registry.packaging import example_rows, model_card, pack
from search.registry.versions import MADE_BY, PENDING, STATE, Versions
from search.storage.attributes import FINGERPRINT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


def lineage(client: MlflowClient, study: optuna.Study, winner: Winner) -> dict[str, str]:
    """The tags of a winner's version: its origin and its accuracies.

    Those of the held-out test are left out if this very model was not evaluated.
    """
    tags = {
        "study": study.study_name,
        "trial": str(winner.candidate.trial),
        "role": winner.role,
        "run_id": winner.run_id,
        "seed": str(winner.seed),
        "seeds": ", ".join(map(str, winner.seeds)),
        "fingerprint": str(study.user_attrs[FINGERPRINT]),
        "git_commit": client.get_run(winner.run_id).data.tags.get("mlflow.source.git.commit", ""),
        "model_sha256": winner.model_sha256,
        "val_accuracy": f"{winner.val_accuracy:.6f}",
        "seal_opened": str(seal_opened(study.user_attrs)),
    }
    test = latest_reading(study)
    if test and test["model_sha256"] == winner.model_sha256:
        low, high = test["interval"]
        tags["test_accuracy"] = repr(test["test_accuracy"])
        tags["test_interval"] = f"{low:.4f} to {high:.4f}"
        tags["test_loss"] = repr(test["test_loss"])
    return tags


def register(settings: Settings, versions: Versions, study: optuna.Study, winner: Winner, tags: dict[str, str]) -> str:
    """Makes a winner's version in one step, with its tags but without the alias; returns its number."""
    from mlflow.exceptions import MlflowException

    client = versions.client
    spec, dataset = study_data(study, settings)
    card = model_card(tags, dataset, spec.data.source, asdict(winner.candidate.hyperparameters))
    content = fetch_model(client, settings.spool, study.study_name, winner)
    logged = _log_model(client, tags, content, dataset, spec.data)
    if not versions.model():
        with suppress(MlflowException):  # another machine made it first; any other error comes up in the next call
            client.create_registered_model(versions.name, MADE_BY)
    tags = tags | {STATE: PENDING}
    version = client.create_model_version(
        versions.name, logged.artifact_location, winner.run_id, tags, description=card, model_id=logged.model_id
    )
    return str(version.version)


def _log_model(
    client: MlflowClient, tags: dict[str, str], content: bytes, dataset: Dataset, data: DataConfig
) -> LoggedModel:
    """The winner as a logged model of its run: the one that is ready, or a new one instead of unfinished ones."""
    from mlflow.models import Model

    run_id = tags["run_id"]
    run = client.get_run(run_id).info
    for earlier in client.search_logged_models([run.experiment_id], f"tags.run_id = '{run_id}'"):
        if str(earlier.status) == "READY":
            return earlier
        client.delete_logged_model(earlier.model_id)
    kept = {key: tags[key] for key in ("study", "run_id", "model_sha256")}
    logged = client.create_logged_model(run.experiment_id, run.run_name, run_id, kept)
    with TemporaryDirectory() as folder:
        target = Path(folder, "model")
        pack(target, content, dataset, example_rows(data, dataset), Model(model_id=logged.model_id, run_id=run_id))
        client.log_model_artifacts(logged.model_id, str(target))
    return client.finalize_logged_model(logged.model_id, "READY")
