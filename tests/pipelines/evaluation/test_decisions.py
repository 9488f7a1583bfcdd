"""Intervals of values and thresholds of two classes, as they are learned from validation rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from pipelines.config import Transform
from pipelines.data.preprocessing import Preprocessing
from pipelines.data.targets import TargetScaling
from pipelines.errors import DataError
from pipelines.evaluation.decisions import ResidualInterval, Threshold, decide, require_threshold
from pipelines.evaluation.predictor import ModelRecord


@pytest.mark.parametrize("transform", ["none", "log"])
@pytest.mark.parametrize("n_rows", [50, 400])
def test_intervals_cover_new_rows_as_often_as_they_say(transform: Transform, n_rows: int) -> None:
    """Residuals are skewed, and the model is off by a constant: the interval has no need of a good model."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(200):
        truth = rng.uniform(10, 1000, n_rows + 200)
        noise = rng.exponential(0.3, len(truth)) - 0.1
        predicted = truth * np.exp(-noise) if transform == "log" else truth - 40 * noise
        target = TargetScaling.learn(truth[:n_rows], transform)
        interval = ResidualInterval.learn(target.encode(truth[:n_rows]), target.encode(predicted[:n_rows]))
        low, high = interval.around(predicted[n_rows:], target)
        covered.append(np.mean((low <= truth[n_rows:]) & (truth[n_rows:] <= high)))
    assert interval.coverage == 0.95
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02), "never below by more than chance"
    assert np.mean(covered) >= 0.945


def test_few_residuals_give_an_interval_of_all_of_them_and_say_what_it_covers() -> None:
    residuals = np.linspace(-3, 1, 19)
    interval = ResidualInterval.learn(residuals, np.zeros(19))
    assert (interval.low, interval.high, interval.n_rows) == (-3, 1, 19)
    assert interval.coverage == pytest.approx(18 / 20)
    assert ResidualInterval.learn(np.arange(39), np.zeros(39)).coverage == 0.95


@pytest.mark.filterwarnings("error")
def test_a_logarithm_beyond_every_number_is_no_warning() -> None:
    target = TargetScaling(0.0, 100.0, "log")
    low, high = ResidualInterval(-9.0, 9.0, 0.95, 40).around(np.array([0.0, 1.0]), target)
    assert low.tolist() == [0.0, np.exp(-900)]
    assert high.tolist() == [0.0, np.inf]


def test_an_interval_holds_its_prediction() -> None:
    target = TargetScaling(0.0, 1.0)
    low, high = ResidualInterval(0.5, 1.0, 0.95, 40).around(np.array([3.0]), target)
    assert (low[0], high[0]) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
        ("macro_f1", lambda y, p: f1_score(y, p, average="macro")),
        ("auc", balanced_accuracy_score),
    ],
)
def test_a_threshold_is_the_best_of_all_by_scikit_learns_definition(metric, score) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(150) < 0.15).astype(int)
    given = np.clip(0.2 + 0.2 * labels + rng.normal(0, 0.12, 150), 0.01, 0.99).round(2)
    chosen = Threshold.learn(given, labels, metric)
    pairs = np.stack([1 - given, given], axis=1)
    every = [score(labels, (given > t).astype(int)) for t in [0.5, *(np.unique(given)[:-1] + 0.005)]]
    assert score(labels, decide(pairs, chosen.value)) == pytest.approx(max(every))
    assert chosen.score == pytest.approx(max(every))
    assert chosen.metric == ("balanced_accuracy" if metric == "auc" else metric)


def test_of_equal_thresholds_the_nearest_to_a_half_is_kept() -> None:
    assert Threshold.learn(np.array([0.1, 0.9]), np.array([0, 1]), "accuracy").value == 0.5
    constant = Threshold.learn(np.full(9, 0.3), np.arange(9) % 2, "balanced_accuracy")
    assert (constant.value, constant.score) == (0.5, 0.5)


@pytest.mark.parametrize(("value", "n_classes"), [(0.0, 2), (1.0, 2), (-1.0, 2), (float("nan"), 2), (0.5, 3), (0.5, 0)])
def test_a_threshold_that_cannot_be_is_refused(value: float, n_classes: int) -> None:
    with pytest.raises(DataError, match="must be"):
        require_threshold(value, n_classes, "--threshold")


def test_a_record_keeps_both_and_reads_one_of_an_earlier_version() -> None:
    preprocessing = Preprocessing((3,), (), 0.0, 1.0, target=TargetScaling(5.0, 2.0, "log"))
    plain = ModelRecord(preprocessing, (0.0, 1.0), "ab")
    full = replace(
        plain, interval=ResidualInterval(-0.5, 0.25, 0.95, 77), threshold=Threshold(0.125, "balanced_accuracy", 0.75)
    )
    assert ModelRecord.from_json(full.to_json()) == full
    assert set(json.loads(plain.to_json())) == {"value_range", "model_sha256", "preprocessing"}
    assert ModelRecord.from_json(plain.to_json()) == plain


@pytest.mark.parametrize(("labels", "value"), [([1, 0, 0, 0], 0.95), ([1, 1, 1, 0], 0.25)])
def test_a_threshold_may_lie_beyond_all_probabilities(labels: list[int], value: float) -> None:
    given = np.array([0.5, 0.6, 0.7, 0.9])
    threshold = Threshold.learn(given, np.array(labels), "accuracy")
    assert (threshold.value, threshold.score) == (value, 0.75)


@pytest.mark.parametrize("level", [0.1, 0.2, 0.3, 0.7])
def test_a_threshold_between_neighbors_of_float32_decides_as_it_was_learned(level: float) -> None:
    low = np.float32(level)
    given = np.array([low, np.nextafter(low, np.float32(1))])
    threshold = Threshold.learn(given, np.array([0, 1]), "accuracy")
    assert threshold.score == 1
    assert decide(np.stack([1 - given, given], 1), threshold.value).tolist() == [0, 1]
