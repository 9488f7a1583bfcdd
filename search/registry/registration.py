"""A winner as a version of a registered model: its tags, its logged model and its card."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import optuna

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError
from pipelines.evaluation.predictor import ModelRecord
from pipelines.objectives import OBJECTIVES
from search.finals.readings import reading_of, seal_opened
from search.finals.sealed_test import PREDICTIONS_FILE, find_figure, read_predictions
from search.finals.winner import Winner, fetch_model
from search.home.settings import Settings
from search.home.text import value_text
from search.optimization.studies import study_data
from search.registry.package.card import Usage, model_card
from search.registry.package.packed import pack
from search.registry.package.record import make_record
from search.registry.versions import ARTIFACTS, KEPT, MADE_BY, PENDING, STATE, Versions, is_tested
from search.storage.attributes import FINGERPRINT
from search.tracking.entries import SILENT_MS, now_ms

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


def lineage(client: MlflowClient, study: optuna.Study, winner: Winner) -> dict[str, str]:
    """The tags of a winner's version: its origin and its accuracies.

    Those of the held-out test are left out if this very model was not evaluated.

    Raises:
        UnavailableError: The winner's run was deleted in MLflow.
    """
    run = client.get_run(winner.run_id)
    if run.info.lifecycle_stage != "active":
        raise UnavailableError(
            f"{winner.run_name}: its run must be in MLflow, but was deleted there: mlp-search doctor --repair restores"
            " it"
        )
    run_tags = run.data.tags
    tags = {
        "study": study.study_name,
        "trial": str(winner.candidate.trial),
        "role": winner.role,
        "run_id": winner.run_id,
        "seed": str(winner.seed),
        "seeds": ", ".join(map(str, winner.seeds)),
        "fingerprint": str(study.user_attrs[FINGERPRINT]),
        "git_commit": run_tags.get("mlflow.source.git.commit", ""),
        "precision": run_tags.get("precision", "float32"),
        "networks": str(winner.networks),
        "model_sha256": winner.model_sha256,
        winner.objective.name: repr(winner.value),
        "seal_opened": str(seal_opened(study.user_attrs)),
    }
    test = reading_of(study, winner.model_sha256)
    return tags | (_test_tags(test) if test else {})


def _test_tags(test: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a held-out test: each metric, the interval of the study's own, and what needs no search by it."""
    low, high = test["interval"]
    tags = {name: repr(value) for name, value in test.items() if name.startswith("test_") and name != "test_rows"}
    tags["test_interval"] = f"{value_text(low)} to {value_text(high)}"
    tags["test_rows"] = test.get("test_rows", "")
    tags["objective"] = test.get("objective", "val_accuracy")
    known = {"test_ordinal": "ordinal", "test_majority": "majority", "test_value": "value", "test_baseline": "baseline"}
    tags |= {tag: repr(test[name]) for tag, name in known.items() if name in test}
    linear = test.get("baselines", {}).get("linear", {}).get(OBJECTIVES[tags["objective"]].metric)
    return tags if linear is None else tags | {"test_linear": repr(linear)}


def register(settings: Settings, versions: Versions, study: optuna.Study, winner: Winner, tags: dict[str, str]) -> str:
    """Makes a winner's version in one step, with its tags but without the alias; returns its number."""
    from mlflow.exceptions import MlflowException

    client = versions.client
    spec, dataset = study_data(study, settings)
    record = make_record(client, settings, study, winner, dataset)
    content = fetch_model(client, settings.spool, study.study_name, winner)
    logged = _ready_model(client, winner.run_id)
    if logged is None:
        _delete_unfinished(settings, client, winner.run_id)
        logged = _log_model(client, tags, content, record, dataset, spec.data)
    use = _usage(versions, winner, tags, logged.model_id)
    card = model_card(tags, dataset, spec.data, winner, record, use)
    kept = keep_predictions(client, winner.run_id) if is_tested(tags) else {}
    if not versions.model():
        with suppress(MlflowException):  # another machine made it first; any other error comes up in the next call
            client.create_registered_model(versions.name, MADE_BY)
    tags = tags | {STATE: PENDING} | kept
    version = client.create_model_version(
        versions.name, logged.artifact_location, winner.run_id, tags, description=card, model_id=logged.model_id
    )
    return str(version.version)


def renew_card(settings: Settings, versions: Versions, study: optuna.Study, winner: Winner, number: str) -> None:
    """Writes the model card of a winner's version anew, by the tags that it has now.

    Raises:
        InputError, NotFoundError: The data of the study cannot be read, or was changed.
    """
    client = versions.client
    version = client.get_model_version(versions.name, number)
    spec, dataset = study_data(study, settings)
    record = make_record(client, settings, study, winner, dataset)
    use = _usage(versions, winner, version.tags, str(version.model_id))
    card = model_card(version.tags, dataset, spec.data, winner, record, use)
    client.update_model_version(versions.name, number, card)


def _usage(versions: Versions, winner: Winner, tags: Mapping[str, str], model_id: str) -> Usage:
    figure = find_figure(versions.client, winner.run_id) if is_tested(tags) else None
    return Usage(f"models:/{model_id}", f"models:/{versions.name}@{versions.alias}", figure)


def keep_predictions(client: MlflowClient, run_id: str) -> dict[str, str]:
    """Copies the predictions of a run's held-out test to its logged model; returns the tag that says so.

    Without them, as after a test of an earlier version, there is none.
    """
    predictions, logged = read_predictions(client, run_id), _ready_model(client, run_id)
    if predictions is None or logged is None:
        return {}
    with TemporaryDirectory() as folder:
        file = Path(folder) / ARTIFACTS / PREDICTIONS_FILE
        file.parent.mkdir()
        file.write_bytes(predictions)
        client.log_model_artifacts(logged.model_id, folder)
    return {KEPT: PREDICTIONS_FILE}


def logged_models(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    """The logged models that promotions of a run made, unfinished ones too."""
    experiment = client.get_run(run_id).info.experiment_id
    return list(client.search_logged_models([experiment], f"tags.run_id = '{run_id}'"))


def _delete_unfinished(settings: Settings, client: MlflowClient, run_id: str) -> None:
    """Deletes the logged models of promotions of a run that died; on a server another home may be promoting it."""
    for logged in logged_models(client, run_id):
        is_dead = not settings.is_tracked_elsewhere or logged.creation_timestamp < now_ms() - SILENT_MS
        if str(logged.status) != "READY" and is_dead:
            client.delete_logged_model(logged.model_id)


def _ready_model(client: MlflowClient, run_id: str) -> LoggedModel | None:
    """The logged model of a run that was written to its end; None if there is none."""
    return next((model for model in logged_models(client, run_id) if str(model.status) == "READY"), None)


def _log_model(
    client: MlflowClient, tags: dict[str, str], content: bytes, record: ModelRecord, dataset: Dataset, data: DataConfig
) -> LoggedModel:
    """Logs the winner as a model of its run."""
    from mlflow.models import Model

    run_id = tags["run_id"]
    run = client.get_run(run_id).info
    kept = {key: tags[key] for key in ("study", "run_id", "model_sha256")}
    logged = client.create_logged_model(run.experiment_id, run.run_name, run_id, kept)
    with TemporaryDirectory() as folder:
        model = Model(model_id=logged.model_id, run_id=run_id)
        packed = pack(Path(folder), content, record, dataset, data, model)
        client.log_model_artifacts(logged.model_id, str(packed))
    return client.finalize_logged_model(logged.model_id, "READY")
