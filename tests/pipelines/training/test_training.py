"""Training: its reports, that it can be repeated and resumed, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, strategies as st
from keras_counterpart import batches, keras_model, tiny_dataset

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.training.history import Checkpoint, EpochReport, sha256
from pipelines.training.model import build_model, load_h5, read_checkpoint, restore_model, to_h5
from pipelines.training.pack import row_order
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=16, depth=2, dropout=0.0, optimizer="adam", learning_rate=0.003, epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tiny_dataset()


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> TrainingRows:
    return TrainingRows.of(dataset)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataConfig("digits"))


def run(
    rows: TrainingRows, hp: Hyperparameters, seed: int = 0, start: Checkpoint | None = None
) -> tuple[Training, list[EpochReport]]:
    training = Training(rows, hp, seed, start)
    return training, list(training)


def without_durations(reports: list[EpochReport]) -> list[EpochReport]:
    """The reports without the time they took."""
    return [replace(report, duration_s=0.0) for report in reports]


def same(ours: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> bool:
    """Whether all arrays agree to the last bit."""
    return len(ours) == len(others) and all(a.tobytes() == b.tobytes() for a, b in zip(ours, others, strict=True))


class TestReports:
    def test_are_what_keras_reports_for_the_same_batches(self, dataset: Dataset, rows: TrainingRows) -> None:
        training = Training(rows, HP, 5)
        model = keras_model(dataset, HP, training.checkpoint().weights)
        for epoch, report in enumerate(training):
            x, y = (np.concatenate(parts) for parts in zip(*batches(dataset, HP, 5, epoch), strict=True))
            logged = model.fit(
                x, y, HP.batch_size, validation_data=(dataset.validation.x, dataset.validation.y),
                shuffle=False, verbose=0,
            ).history  # fmt: skip
            for name, values in logged.items():
                assert report.metrics[name] == pytest.approx(values[0], abs=1e-5), name

    def test_one_for_each_epoch(self, rows: TrainingRows) -> None:
        _, reports = run(rows, HP)
        assert [report.epoch for report in reports] == [1, 2, 3]
        assert all(report.duration_s > 0 and report.learning_rate == pytest.approx(0.003) for report in reports)

    def test_the_best_epoch_is_the_first_with_the_best_validation_accuracy(self, dataset: Dataset) -> None:
        training = Training(TrainingRows.of(dataset), replace(HP, epochs=30, learning_rate=0.02), seed=0)
        snapshots, reports = [], []
        for report in training:
            reports.append(report.metrics["val_accuracy"])
            snapshots.append(training.checkpoint().weights)
        best = int(np.argmax(reports))  # the first of equals
        assert reports.count(reports[best]) > 1, "the test needs ties: 50 validation rows"
        assert (training.results[0].best_epoch, training.results[0].best_value) == (best + 1, reports[best])
        assert same(training.results[0].best, snapshots[best])

    def test_validation_is_without_dropout(self, dataset: Dataset, rows: TrainingRows) -> None:
        hp = replace(HP, dropout=0.6, epochs=1)
        training, [report] = run(rows, hp)
        model = keras_model(dataset, hp, training.checkpoint().weights)
        loss, accuracy = model.evaluate(dataset.validation.x, dataset.validation.y, verbose=0)
        assert (report.metrics["val_loss"], report.metrics["val_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)


class TestOrder:
    @given(n_rows=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
    def test_every_row_once_an_epoch(self, n_rows: int, seed: int, epoch: int) -> None:
        assert sorted(row_order(n_rows, seed, epoch)) == list(range(n_rows))

    def test_differs_by_epoch_and_by_seed(self) -> None:
        orders = [tuple(row_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)]
        assert len(set(orders)) == 9


class TestRepeated:
    @pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
    def test_same_seed_same_weights_to_the_last_bit(self, rows: TrainingRows, optimizer: str) -> None:
        hp = replace(HP, optimizer=optimizer, dropout=0.3)
        first, first_reports = run(rows, hp, seed=7)
        second, second_reports = run(rows, hp, seed=7)
        assert same(first.checkpoint().weights, second.checkpoint().weights)
        assert without_durations(first_reports) == without_durations(second_reports)

    def test_another_seed_gives_other_weights(self, rows: TrainingRows) -> None:
        one, two = (Training(rows, HP, seed) for seed in (0, 1))
        assert not same(one.checkpoint().weights[::2], two.checkpoint().weights[::2])
        list(one), list(two)
        assert not same(one.checkpoint().weights, two.checkpoint().weights)

    def test_what_was_trained_before_in_the_process_does_not_matter(self, rows: TrainingRows) -> None:
        hp = replace(HP, dropout=0.3)
        first, _ = run(rows, hp, seed=2)
        run(rows, replace(hp, width=40, batch_size=7), seed=9)  # the same traced function serves both
        again, _ = run(rows, hp, seed=2)
        assert same(first.checkpoint().weights, again.checkpoint().weights)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "nadam"])
def test_training_resumed_from_a_file_equals_uninterrupted_training(
    dataset: Dataset, rows: TrainingRows, optimizer: str
) -> None:
    hp = replace(HP, optimizer=optimizer, dropout=0.3, epochs=5)
    whole, whole_reports = run(rows, hp, seed=4)
    part, part_reports = run(rows, replace(hp, epochs=2), seed=4)
    saved = to_h5(restore_model(hp, dataset.preprocessing, part.checkpoint()))
    checkpoint = read_checkpoint(load_h5(saved, sha256(saved)), epochs=2)
    rest, rest_reports = run(rows, hp, seed=4, start=checkpoint)
    assert [report.epoch for report in rest_reports] == [3, 4, 5]
    assert without_durations(part_reports + rest_reports) == without_durations(whole_reports)
    assert same(rest.checkpoint().weights, whole.checkpoint().weights)
    assert same(rest.checkpoint().state, whole.checkpoint().state)
    assert rest.checkpoint().steps == whole.checkpoint().steps == 15


RICH = replace(
    HP, optimizer="adamw", dropout=0.3, epochs=5, schedule="onecycle", weight_decay=0.1, label_smoothing=0.1, ema=0.9,
    warmup=0.2, gradient_clip=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    "hp",
    [
        replace(RICH, shift=1, flip=True, normalization="batch"),
        replace(RICH, optimizer="sgd", momentum=0.9),
        replace(RICH, optimizer="nadam"),
    ],
    ids=["adamw", "momentum", "keras"],
)
def test_resuming_keeps_averages_draws_and_rates(digits: Dataset, hp: Hyperparameters) -> None:
    few = replace(digits, training=digits.training.head(200), validation=digits.validation.head(50))
    rows = TrainingRows.of(few)
    whole, whole_reports = run(rows, hp, seed=4)
    part = Training(rows, hp, 4)
    part_reports = [report for _, report in zip(range(2), part, strict=False)]
    saved = to_h5(restore_model(hp, few.preprocessing, part.checkpoint()))
    rest, rest_reports = run(rows, hp, 4, read_checkpoint(load_h5(saved, sha256(saved)), epochs=2))
    assert without_durations(part_reports + rest_reports) == without_durations(whole_reports)
    for one, other in ((rest.weights(), whole.weights()), (rest.checkpoint().state, whole.checkpoint().state)):
        assert same(one, other)


def test_pictures_of_validation_stay_as_they_are(digits: Dataset) -> None:
    """And a further seed of the same training sees other pictures than the first."""
    hp = replace(HP, epochs=1, shift=2, flip=True)
    training, [report] = run(TrainingRows.of(digits), hp)
    model = build_model(hp, digits.preprocessing, training.weights())
    loss, accuracy = model.evaluate(digits.validation.x, digits.validation.y, verbose=0)
    assert (report.metrics["val_loss"], report.metrics["val_accuracy"]) == pytest.approx((loss, accuracy), abs=1e-5)
    _, [plain] = run(TrainingRows.of(digits), replace(hp, shift=0, flip=False))
    assert report.metrics["loss"] > plain.metrics["loss"] + 0.05


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_loss_that_is_not_finite_ends_training(rows: TrainingRows, optimizer: str) -> None:
    training, reports = run(rows, replace(HP, optimizer=optimizer, learning_rate=1e30, epochs=50))
    assert len(reports) < 50
    assert not reports[-1].is_finite
    assert all(report.is_finite for report in reports[:-1])
    assert training.results[0].best_epoch < len(reports)
    assert all(np.isfinite(weight).all() for weight in training.results[0].best)


def mean_accuracies(dataset: Dataset, hp: Hyperparameters) -> tuple[float, float]:
    """Returns the mean final validation accuracy of five seeds: ours, and that of ``model.fit``."""
    ours, theirs = [], []
    for seed in range(5):
        training = Training(TrainingRows.of(dataset), hp, seed)
        keras.utils.set_random_seed(seed)
        model = keras_model(dataset, hp, training.checkpoint().weights, seed=100 * seed)
        ours.append(list(training)[-1].metrics["val_accuracy"])
        model.fit(dataset.training.x, dataset.training.y, hp.batch_size, hp.epochs, verbose=0)
        theirs.append(model.evaluate(dataset.validation.x, dataset.validation.y, 1000, verbose=0)[1])
    return float(np.mean(ours)), float(np.mean(theirs))


@pytest.mark.mnist
def test_accuracy_over_five_seeds_is_that_of_fit(mnist_folder: Path) -> None:
    data = load(DataConfig("mnist"), [mnist_folder])
    training = replace(data.training, x=data.training.x[:10_000], y=data.training.y[:10_000])
    hp = Hyperparameters(64, 1, 0.2, "rmsprop", 0.001, "constant", 3, 128)
    ours, theirs = mean_accuracies(replace(data, training=training), hp)
    assert ours > 0.9
    # Seeds differ by 0.004 (standard deviation of 40 trainings): this is three standard errors of the difference.
    assert ours == pytest.approx(theirs, abs=0.006)


def test_an_accuracy_is_a_share_of_the_rows_to_the_last_bit(digits: Dataset) -> None:
    n_rows = len(digits.validation.y)
    alone = [
        report.metrics["val_accuracy"] for report in Training(TrainingRows.of(digits), Hyperparameters(epochs=4), 1)
    ]
    assert alone == [round(value * n_rows) / n_rows for value in alone]


def test_rows_held_in_place_are_the_rows(digits: Dataset) -> None:
    """Alignment decides whether TensorFlow copies; both ways hold the same values."""
    held: list[Any] = []
    for shift in (0, 1):
        memory = np.empty(digits.training.x.nbytes + 128, np.uint8)
        first = -memory.ctypes.data % 64 + shift
        x = memory[first : first + digits.training.x.nbytes].reshape(digits.training.x.shape)
        x[:] = digits.training.x
        held.append(TrainingRows.of(replace(digits, training=replace(digits.training, x=x))).training.x.numpy())
    flat = digits.training.x.reshape(len(digits.training.x), -1)
    np.testing.assert_array_equal(held[0], flat)
    np.testing.assert_array_equal(held[1], flat)
