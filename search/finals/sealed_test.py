"""Reads the held-out test for a study's winner. The only module of ``search`` that may import the test rows."""

from __future__ import annotations

from pathlib import Path

from pipelines.config import layer_sizes
from pipelines.data.datasets import Dataset
from pipelines.data.sealed import open_test
from pipelines.evaluation.metrics import evaluate as score
from pipelines.evaluation.predictor import ModelRecord, Predictor
from search.finals.evaluation_files import log_evaluation
from search.finals.opening import exclusive_study
from search.finals.readings import SealedResult, authorship, previous_readings
from search.finals.winner import Winner, fetch_model, find_winner
from search.home.startup import prepare_inference
from search.scheduling.progress import Observer
from search.scheduling.recovery import record_runs
from search.storage.attributes import SEAL
from search.tracking.connection import connect


def evaluate(name: str, *, again: bool = False, home: Path | None = None) -> SealedResult:
    """Reads the held-out test for a study's winner and records that.

    Args:
        name: The study.
        again: Whether to read it although it was read before.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        RefusedError: The test was read before.
        InputError: The model file or the dataset was changed since.
        UnavailableError: A database, the tracking server or the model file cannot be used.
    """
    with exclusive_study(name, home, Observer()) as (context, dataset):
        study, settings = context.study, context.settings
        context.tracker.close()
        record_runs(study, context.tracker)  # the winner's run may be among those that were left in the spool
        winner = find_winner(study)
        before = previous_readings(study, again=again)
        client = connect(settings)
        content = fetch_model(client, settings.spool, name, winner)
        reading = {"run_name": winner.run_name, "run_id": winner.run_id, **authorship()}
        # Counted before the rows are read: a crash cannot hide a reading.
        study.set_user_attr(SEAL, [*before, reading])
        test = open_test(context.spec.data, settings.data_folders)
        trained, untrained = _predictors(winner, content, dataset)
        probabilities = trained.probabilities(test.x)
        evaluation = score(probabilities, test.y, dataset.class_names)
        untrained_accuracy = float((untrained.probabilities(test.x).argmax(axis=1) == test.y).mean())
        result = SealedResult(winner, evaluation, untrained_accuracy, len(before) + 1)
        log_evaluation(client, result, test, probabilities, dataset.class_names)
        study.set_user_attr(SEAL, [*before, reading | result.record])
    return result


def _predictors(winner: Winner, content: bytes, dataset: Dataset) -> tuple[Predictor, Predictor]:
    """The winner, and the same network before training."""
    prepare_inference()
    from pipelines.training.model import build_model, glorot_weights

    hp, preprocessing = winner.candidate.hyperparameters, dataset.preprocessing
    record = ModelRecord(preprocessing, (0.0, 1.0), winner.model_sha256)
    sizes = layer_sizes(hp, dataset.training.x[0].size, dataset.n_classes)
    untrained = build_model(hp, preprocessing, glorot_weights(sizes, winner.seed))
    trained = Predictor.load(content, record, f"model.h5 of run {winner.run_id}")
    return trained, Predictor(untrained, preprocessing)
