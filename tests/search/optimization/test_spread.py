"""The spread over folds, from a worker's outcome to the leaderboard, MLflow and the sentences that people read."""

from __future__ import annotations

import optuna
import pytest

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.loading import load
from pipelines.objectives import OBJECTIVES, epoch_metrics
from pipelines.training.history import EpochReport
from search.finals.training.jobs import joined
from search.optimization.leaderboard import best_value, columns_of, metrics_of_epochs, result_row
from search.optimization.run_records import metrics_of, result_of
from search.storage.attributes import SPEC
from search.workers.tasks import Outcome, Task


def outcome(*spreads: float | None) -> Outcome:
    """Three epochs, of which the second is the best."""
    values = (0.7, 0.9, 0.8)
    history = [
        EpochReport(epoch, {"loss": 1.0, "val_auc": value} | ({"val_auc_std": spread} if spread else {}), 0.01, 0.1)
        for epoch, value, spread in zip((1, 2, 3), values, spreads, strict=True)
    ]
    return Outcome(tuple(history), 2, 0.9, b"", "", b"", 10, "finished", 0.3, 100)


@pytest.mark.parametrize(("spreads", "std"), [((0.3, 0.2, 0.1), 0.2), ((None, None, None), None)])
def test_it_is_that_of_the_best_epoch(spreads: tuple[float | None, ...], std: float | None) -> None:
    task = Task(0, Hyperparameters(), 1, objective="val_auc")
    result = result_of(task, outcome(*spreads), "cpu:0")
    row = result_row(0, "COMPLETE", result, OBJECTIVES["val_auc"])
    assert (row.value, row.std) == (0.9, std)
    assert metrics_of(result).get("best_val_auc_std") == std
    assert best_value(dict(sorted(result.items(), reverse=True))) == 0.9


def test_it_is_a_metric_of_each_epoch_of_a_study_with_folds() -> None:
    assert epoch_metrics("classification", "val_auc", with_folds=True)[-2:] == ("val_auc", "val_auc_std")
    document = {"data": {"source": "digits", "folds": 5}, "search": {"objective": "val_loss"}}
    assert metrics_of_epochs({SPEC: document})[-1] == "val_loss_std"
    assert "val_loss_std" not in metrics_of_epochs({SPEC: document | {"data": {"source": "digits"}}})


def test_a_refit_is_one_network_on_all_rows() -> None:
    dataset = joined(load(DataConfig("digits", folds=5)))
    assert dataset.fold_of is None
    assert len(dataset.training.y) == 1797 - dataset.n_test


def test_optunas_dashboard_has_it_as_a_column_with_the_origin_of_the_trial() -> None:
    attributes = {SPEC: {"start": [{}], "search": {"objective": "val_auc"}}}
    result = {"best_val_auc": 0.9, "best_val_auc_std": 0.01, "best_epoch": 3, "stop_reason": "finished", "device": None}
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"width": 8})
    study.enqueue_trial({"width": 16})
    for _ in range(3):
        study.ask()
    found = [columns_of(trial, result, attributes) for trial in study.trials]
    assert [row.pop("origin") for row in found] == ["start", "enqueued", "sampled"]
    assert found == [{"best_epoch": 3, "stop_reason": "finished", "std": 0.01}] * 3
