"""Networks of folds and seeds that train side by side: each is what it would be alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.data.targets import TargetScaling
from pipelines.evaluation.row_scores import decode
from pipelines.network.streams import fold_seed
from pipelines.training.model import build_model, to_h5
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training
from search.workers.tasks import Outcome, Task
from search.workers.trainer import Trainer

HP = Hyperparameters(width=16, depth=2, dropout=0.3, optimizer="adam", learning_rate=0.003, epochs=2, batch_size=32)
K = 5


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Digits in five folds of equal size."""
    digits = load(DataConfig("digits"))
    digits = replace(digits, training=digits.training.head(800), validation=digits.validation.head(200))
    return replace(digits, fold_of=np.repeat(np.array([1, 2, 3, 4, 0], np.int32), 200))


def alone(dataset: Dataset, fold: int) -> Dataset:
    """The one split that a fold's network sees."""
    rows, inside = dataset.training.joined(dataset.validation), dataset.fold_of == fold
    training, validation = (replace(rows, x=rows.x[part], y=rows.y[part]) for part in (~inside, inside))
    return replace(dataset, training=training, validation=validation, fold_of=None)


def trained(dataset: Dataset, hp: Hyperparameters, *seeds: int) -> Training:
    training = Training(TrainingRows.of(dataset), hp, seeds or 7)
    for _ in training:
        pass
    return training


RICH = {
    "schedule": "onecycle", "warmup": 0.2, "weight_decay": 0.1, "momentum": 0.9, "gradient_clip": 0.5, "ema": 0.9,
    "label_smoothing": 0.1, "shift": 1, "flip": True,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": name} for name in ("sgd", "rmsprop", "adam", "nadam")]
    + [{"optimizer": "sgd", "normalization": "layer", **RICH}, {"optimizer": "adamw", **RICH}],
    ids=lambda changes: f"{changes['optimizer']} {len(changes)}",
)
def test_the_network_of_a_fold_is_that_of_its_split_alone(dataset: Dataset, changes: dict[str, object]) -> None:
    hp = replace(HP, **changes)  # type: ignore[arg-type]
    training = trained(dataset, hp)
    together = training.weights()
    metrics = []
    for fold in range(K):
        single = trained(alone(dataset, fold), hp, fold_seed(7, fold))
        for ours, others in zip(together, single.weights(), strict=True):
            np.testing.assert_allclose(ours[fold], others, atol=1e-5)
        metrics.append(single.results[0].report.metrics)
    report = training.results[0].report
    for name in metrics[0]:
        assert report.metrics[name] == pytest.approx(np.mean([metric[name] for metric in metrics]), abs=1e-5)
    spread = np.std([metric["val_accuracy"] for metric in metrics], ddof=1)
    assert report.metrics["val_accuracy_std"] == pytest.approx(spread, abs=1e-5)


@pytest.mark.parametrize("folds", [False, True])
@pytest.mark.parametrize("width", [16, 600])
def test_further_seeds_are_trainings_of_their_own(dataset: Dataset, folds: bool, width: int) -> None:
    dataset = dataset if folds else alone(dataset, 0)
    hp = replace(HP, width=width)
    together = trained(dataset, hp, 1, 2, 3)
    for result, seed in zip(together.results, (1, 2, 3), strict=True):
        single = trained(dataset, hp, seed)
        assert result.best_epoch == single.results[0].best_epoch
        for ours, others in zip(result.best, single.results[0].best, strict=True):
            np.testing.assert_allclose(ours, others, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(dataset: Dataset) -> None:
    one, two = (trained(dataset, HP, 3, 4) for _ in range(2))
    for first, second in zip(one.results, two.results, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first.best, second.best, strict=True))


def test_folds_of_unequal_size_each_keep_their_validation_rows(dataset: Dataset) -> None:
    fold_of = np.concatenate([np.arange(800) % 4 + 1, np.zeros(200, int)]).astype(np.int32)
    fold_of[:90] = 3
    training = trained(replace(dataset, fold_of=fold_of), HP)
    answers = training.answers(0, training.results[0].best)
    assert sorted(np.concatenate([answer.rows for answer in answers])) == list(range(1000))
    assert [len(answer.rows) for answer in answers] == np.bincount(fold_of).tolist()


@pytest.mark.parametrize("transform", ["none", "log", None])
def test_the_model_file_answers_with_the_mean_of_its_networks(
    dataset: Dataset, tmp_path: Path, transform: str | None
) -> None:
    if transform is not None:
        target = TargetScaling(2.0, 3.0, transform)
        parts = [replace(part, y=part.y.astype(np.float32)) for part in (dataset.training, dataset.validation)]
        preprocessing = replace(dataset.preprocessing, class_names=(), target=target)
        dataset = replace(dataset, training=parts[0], validation=parts[1], preprocessing=preprocessing)
    training = Training(TrainingRows.of(dataset), HP, 1, objective="val_accuracy" if transform is None else "val_rmse")
    for _ in training:
        pass
    path = tmp_path / "model.h5"
    path.write_bytes(to_h5(build_model(HP, dataset.preprocessing, training.results[0].best)))
    model = keras.models.load_model(path)
    rows = dataset.training.joined(dataset.validation)
    each = keras.Model(model.inputs, model.layers[-2].output).predict(rows.x, verbose=0)
    np.testing.assert_allclose(model.predict(rows.x, verbose=0), each.mean(axis=1), rtol=1e-5)
    answers = training.answers(0, training.results[0].best)
    for fold, answer in enumerate(answers):
        mine = each[answer.rows, fold]
        np.testing.assert_allclose(mine if transform is None else mine[:, 0], answer.predicted, rtol=1e-4, atol=1e-6)
    if transform is None:
        right = [np.mean(each[own.rows, fold].argmax(1) == own.truth) for fold, own in enumerate(answers)]
        assert np.mean(right) == pytest.approx(training.results[0].best_value, abs=1e-4)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_macro_f1", "val_loss"])
def test_the_scores_of_rows_have_the_value_as_their_mean_in_folds_of_any_size(dataset: Dataset, objective: str) -> None:
    group, fold_of = (
        np.repeat(np.arange(25), 40),
        np.repeat(np.array([1, 2, 3, 4, 0], np.int32), [40, 80, 160, 520, 200]),
    )
    training, validation = replace(dataset.training, group=group[:800]), replace(dataset.validation, group=group[800:])
    dataset = replace(dataset, training=training, validation=validation, fold_of=fold_of)
    task = Task(0, replace(HP, epochs=1), 3, objective=objective, keep_rows=True)
    *_, outcome = Trainer(dataset).train(task, lambda _: None)
    assert isinstance(outcome, Outcome)
    scores = decode(outcome.row_scores)
    assert len(scores) == 25
    assert scores.mean() == pytest.approx(outcome.best_value, abs=2e-4)


def test_a_process_trains_on_rows_with_one_scale_and_with_a_scale_for_each_column(dataset: Dataset) -> None:
    one = replace(dataset.preprocessing, center=np.float64(0.0), scale=np.float64(16.0))
    each = replace(dataset.preprocessing, center=np.zeros(64), scale=np.full(64, 16.0))
    accuracies = []
    for fold_of in (None, dataset.fold_of):
        for preprocessing in (one, each, one):
            training = trained(replace(dataset, preprocessing=preprocessing, fold_of=fold_of), replace(HP, width=8))
            accuracies.append(training.results[0].best_value)
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1e-6)
    assert accuracies[3] == pytest.approx(accuracies[4], abs=1e-6)
