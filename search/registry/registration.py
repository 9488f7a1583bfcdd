"""The challenger of a promotion, and its version: a logged model, registered with its lineage and its card."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import optuna

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from search.finals.artifacts import fetch_model
from search.finals.evaluation_files import read_right
from search.finals.readings import latest_reading, seal_opened
from search.finals.winner import Winner, find_winner
from search.home.settings import Settings
from search.optimization.studies import study_data
from search.registry.gate import Reading
from search.registry.packaging import example_rows, model_card, pack
from search.registry.versions import MADE_BY, PENDING, STATE, Versions
from search.storage.attributes import FINGERPRINT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


@dataclass(frozen=True, slots=True)
class Challenger:
    """The model that is to become champion.

    Attributes:
        study: Its study.
        winner: The study's winner.
        test: The record of its held-out test; None if this very model was not evaluated.
    """

    study: optuna.Study
    winner: Winner
    test: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"study {self.study.study_name}'s {self.winner.run_name}"

    @property
    def test_accuracy(self) -> float | None:
        """Its accuracy on the held-out test; None if it was not evaluated."""
        return float(self.test["test_accuracy"]) if self.test else None

    def reading(self, client: MlflowClient) -> Reading:
        """Its result on the held-out test, as the gate takes it."""
        right = read_right(client, self.winner.run_id) if self.test else None
        return Reading(str(self.study.user_attrs[FINGERPRINT]), self.test_accuracy, right, self.name)

    def lineage(self, client: MlflowClient) -> dict[str, str]:
        """The tags of its version: where it comes from, and its accuracies."""
        winner, attributes = self.winner, self.study.user_attrs
        tags = {
            "study": self.study.study_name,
            "trial": str(winner.trial),
            "role": winner.role,
            "run_id": winner.run_id,
            "seed": str(winner.seed),
            "seeds": ", ".join(map(str, winner.seeds)),
            "fingerprint": str(attributes[FINGERPRINT]),
            "git_commit": client.get_run(winner.run_id).data.tags.get("mlflow.source.git.commit", ""),
            "model_sha256": winner.model_sha256,
            "val_accuracy": f"{winner.val_accuracy:.6f}",
            "seal_opened": str(seal_opened(attributes)),
        }
        if self.test:
            low, high = self.test["interval"]
            tags["test_accuracy"] = repr(self.test["test_accuracy"])
            tags["test_interval"] = f"{low:.4f} to {high:.4f}"
            tags["test_loss"] = repr(self.test["test_loss"])
        return tags


def find_challenger(study: optuna.Study) -> Challenger:
    """The winner of a study, with the last reading of the held-out test if that was for this very model.

    Raises:
        NotFoundError, UnavailableError: As ``find_winner``.
    """
    winner, test = find_winner(study), latest_reading(study)
    if test and test["model_sha256"] != winner.model_sha256:
        test = None
    return Challenger(study, winner, test)


def register(settings: Settings, versions: Versions, challenger: Challenger, gate_tags: dict[str, str]) -> str:
    """Makes a challenger's version in one step, with all its tags but without the alias; returns its number."""
    from mlflow.exceptions import MlflowException

    client, winner, study = versions.client, challenger.winner, challenger.study
    spec, dataset = study_data(study, settings)
    tags = challenger.lineage(client) | gate_tags | {STATE: PENDING}
    card = model_card(tags, dataset, spec.data.source, asdict(winner.hyperparameters))
    content = fetch_model(client, settings.spool, study.study_name, winner)
    logged = _log_model(client, challenger, content, dataset, spec.data)
    if not versions.model():
        with suppress(MlflowException):  # another machine made it first; any other error comes up in the next call
            client.create_registered_model(versions.name, MADE_BY)
    version = client.create_model_version(
        versions.name, logged.artifact_location, winner.run_id, tags, description=card, model_id=logged.model_id
    )
    return str(version.version)


def _log_model(
    client: MlflowClient, challenger: Challenger, content: bytes, dataset: Dataset, data: DataConfig
) -> LoggedModel:
    """The winner as a logged model of its run: the one that is ready, or a new one instead of unfinished ones."""
    from mlflow.models import Model

    winner = challenger.winner
    experiment = client.get_run(winner.run_id).info.experiment_id
    for earlier in client.search_logged_models([experiment], f"tags.run_id = '{winner.run_id}'"):
        if str(earlier.status) == "READY":
            return earlier
        client.delete_logged_model(earlier.model_id)
    tags = {"study": challenger.study.study_name, "run_id": winner.run_id, "model_sha256": winner.model_sha256}
    logged = client.create_logged_model(experiment, winner.run_name, winner.run_id, tags)
    with TemporaryDirectory() as folder:
        target = Path(folder, "model")
        model = Model(model_id=logged.model_id, run_id=winner.run_id)
        pack(target, content, dataset, example_rows(data, dataset), model)
        client.log_model_artifacts(logged.model_id, str(target))
    return client.finalize_logged_model(logged.model_id, "READY")
