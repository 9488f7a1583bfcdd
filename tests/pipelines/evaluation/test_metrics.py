"""Scores and intervals."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    classification_report,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from pipelines.data.targets import TargetScaling
from pipelines.errors import DataError
from pipelines.evaluation.metrics import (
    Evaluation,
    evaluate,
    evaluate_regression,
    standard_error,
    wilson_interval,
)
from pipelines.evaluation.predictions import Predictions

HAND = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], np.float32)
HAND_LABELS = np.array([0, 1, 1, 2])


def random_predictions(n_rows: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_rows, n_classes))
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), rng.integers(0, n_classes, n_rows)


class TestEvaluate:
    def test_four_rows_by_hand(self) -> None:
        result = evaluate(HAND, HAND_LABELS, ("ant", "bee", "cat"))
        assert (result.accuracy, result.n_right, result.n_wrong) == (0.75, 3, 1)
        expected_loss = -(math.log(0.7) + math.log(0.8) + math.log(0.3) + math.log(0.6)) / 4
        assert result.loss == pytest.approx(expected_loss, abs=1e-6)
        assert result.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
        assert result.interval == wilson_interval(3, 4)
        bee = result.classes[1]
        assert (bee.name, bee.precision, bee.recall, bee.support) == ("bee", 1.0, 0.5, 2)
        assert bee.f1 == pytest.approx(2 / 3)

    def test_loss_equals_that_of_keras(self) -> None:
        # Value of keras.losses.SparseCategoricalCrossentropy() in Keras 3.15; rows 2 and 3 are clipped.
        probabilities = np.array([[0.7, 0.2, 0.1], [1, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5]], np.float32)
        result = evaluate(probabilities, np.array([0, 0, 2, 2]), "abc")
        assert result.loss == pytest.approx(4.291979789733887, abs=1e-6)

    @pytest.mark.parametrize("n_classes", [2, 10, 50])
    def test_agrees_with_scikit_learn(self, n_classes: int) -> None:
        probabilities, labels = random_predictions(500, n_classes, seed=n_classes)
        names = [f"class {i}" for i in range(n_classes)]
        result = evaluate(probabilities, labels, names)
        predicted = probabilities.argmax(axis=1)
        report = classification_report(
            labels,
            predicted,
            labels=range(n_classes),
            target_names=names,
            output_dict=True,
            zero_division=0,
        )
        assert result.accuracy == accuracy_score(labels, predicted)
        exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
        assert result.loss == pytest.approx(log_loss(labels, exact, labels=range(n_classes)), abs=1e-5)
        for row in result.classes:
            expected = report[row.name]
            found = (row.precision, row.recall, row.f1, row.support)
            assert found == pytest.approx([expected[k] for k in ("precision", "recall", "f1-score", "support")])
        found = {name: estimate.value for name, estimate in result.metrics.items()}
        truths = [(probabilities[:, k], labels == k) for k in ([1] if n_classes == 2 else range(n_classes))]
        assert found == pytest.approx(
            {
                "accuracy": accuracy_score(labels, predicted),
                "loss": log_loss(labels, exact, labels=range(n_classes)),
                "balanced_accuracy": balanced_accuracy_score(labels, predicted),
                "macro_f1": f1_score(labels, predicted, average="macro"),
                "auc": np.mean([roc_auc_score(truth, scores) for scores, truth in truths]),
                "average_precision": np.mean([average_precision_score(truth, scores) for scores, truth in truths]),
            },
            abs=1e-5,
        )
        assert all(estimate.low < estimate.value < estimate.high for estimate in result.metrics.values())
        assert [sum(row) for row in result.confusion] == np.bincount(labels, minlength=n_classes).tolist()
        assert sum(result.confusion[i][i] for i in range(n_classes)) == result.n_right

    def test_weights_of_rows_count_in_every_metric(self) -> None:
        probabilities, labels = random_predictions(300, 3, seed=1)
        weight = np.random.default_rng(0).uniform(0.2, 3, 300)
        metrics = evaluate(probabilities, labels, "abc", weight).metrics
        predicted = probabilities.argmax(axis=1)
        assert metrics["accuracy"].value == pytest.approx(accuracy_score(labels, predicted, sample_weight=weight))
        assert metrics["loss"].value == pytest.approx(log_loss(labels, probabilities, sample_weight=weight), abs=1e-5)
        truth = labels.astype(float)
        values = evaluate_regression(
            Predictions(predicted.astype(np.float32), truth, np.zeros(1), weight), np.asarray, "mae"
        ).metrics
        assert values["rmse"].value == pytest.approx(root_mean_squared_error(truth, predicted, sample_weight=weight))
        assert values["r2"].value == pytest.approx(r2_score(truth, predicted, sample_weight=weight))
        kept = Predictions.from_npz(Predictions(probabilities, labels, np.ones(3) / 3, weight).to_npz(), "it")
        assert kept.parts("accuracy").contributions.mean() == pytest.approx(metrics["accuracy"].value)

    def test_a_class_without_rows_and_predictions_scores_zero(self) -> None:
        result = evaluate(HAND[:2], [0, 1], ("ant", "bee", "cat"))
        assert (result.classes[2].precision, result.classes[2].recall, result.classes[2].support) == (0, 0, 0)
        assert len(result.confusion) == 3

    def test_a_tie_goes_to_the_first_class(self) -> None:
        assert evaluate([[0.5, 0.5]], [0], "ab").n_right == 1
        assert evaluate([[0.5, 0.5]], [1], "ab").n_right == 0

    def test_json_needs_no_encoder_and_loses_nothing(self) -> None:
        result = evaluate(HAND, HAND_LABELS.astype(np.uint8), np.array(["ant", "bee", "cat"]))
        document = json.loads(json.dumps(asdict(result), allow_nan=False))
        assert set(document) == set(Evaluation.__slots__)
        assert document["classes"][1] == {
            "name": "bee",
            "precision": 1.0,
            "recall": 0.5,
            "f1": 2 / 3,
            "support": 2,
        }
        assert document["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
        assert tuple(document["interval"]) == result.interval

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_probabilities_that_are_not_finite_are_an_error(self, value: float) -> None:
        with pytest.raises(DataError, match="probabilities: must be finite, got NaN or infinity"):
            evaluate(HAND * value, HAND_LABELS, "abc")


class TestEvaluateRegression:
    def test_agrees_with_scikit_learn_in_the_unit_of_the_target(self) -> None:
        rng = np.random.default_rng(0)
        truth = rng.exponential(5000, 400)
        predicted = (truth + rng.normal(0, 800, 400)).astype(np.float32)
        scaling = TargetScaling.learn(truth, None)
        metrics = evaluate_regression(Predictions(predicted, truth, np.zeros(1)), scaling.encode, "mse").metrics
        assert {name: found.value for name, found in metrics.items()} == pytest.approx(
            {
                "rmse": root_mean_squared_error(truth, predicted),
                "mae": mean_absolute_error(truth, predicted),
                "r2": r2_score(truth, predicted),
                "loss": root_mean_squared_error(truth, predicted) ** 2 / scaling.scale**2,
            },
            rel=1e-4,
        )
        assert all(0 <= found.low < found.value < found.high for found in metrics.values())
        assert metrics["r2"].high <= 1

    def test_a_logarithm_of_a_prediction_that_was_rounded_to_0_is_finite(self) -> None:
        truth = np.exp(np.linspace(0, 3, 40))
        scaling = TargetScaling.learn(truth, "log")
        metrics = evaluate_regression(
            Predictions(np.zeros(40, np.float32), truth, np.zeros(1)), scaling.encode, "huber"
        ).metrics
        assert np.isfinite(metrics["loss"].value)

    def test_predictions_that_are_not_finite_are_an_error(self) -> None:
        with pytest.raises(DataError, match="predictions: must be finite, got NaN or infinity"):
            evaluate_regression(Predictions(np.full(3, np.inf), np.arange(3.0), np.zeros(1)), np.array, "mse")


class TestPredictions:
    def test_they_are_read_as_they_were_kept(self) -> None:
        for predicted, truth, trivial in (
            (HAND, HAND_LABELS, np.array([0.2, 0.5, 0.3])),
            (np.arange(4, dtype=np.float32), np.arange(4.0), np.array([1.5])),
        ):
            kept = Predictions.from_npz(Predictions(predicted, truth, trivial).to_npz(), "it")
            assert np.array_equal(kept.predicted, predicted)
            assert np.array_equal(kept.truth, truth)
            assert np.array_equal(kept.trivial, trivial)
        content = kept.to_npz()
        changed = content[:200] + bytes(byte ^ 255 for byte in content[200:210]) + content[210:]
        for damaged in (b"", b"PK", content[:-9], content[: len(content) // 2], changed):
            with pytest.raises(DataError, match="it: must be predictions as they were kept"):
                Predictions.from_npz(damaged, "it")

    def test_the_trivial_model_knows_no_inputs(self) -> None:
        classes = Predictions(HAND, HAND_LABELS, np.array([0.2, 0.5, 0.3])).of_trivial_model
        assert classes.parts("accuracy").contributions.mean() == 0.5
        assert classes.parts("auc").contributions.mean() == 0.5
        values = Predictions(np.arange(4, dtype=np.float32), np.arange(4.0), np.array([1.5])).of_trivial_model
        assert values.parts("r2").contributions.mean() == pytest.approx(0)


class TestWilson:
    def test_9807_of_10000(self) -> None:
        low, high = wilson_interval(9807, 10_000)
        assert (round(low, 5), round(high, 5)) == (0.97781, 0.98322)

    @given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_follows_the_textbook_formula(self, counts: tuple[int, int]) -> None:
        n_right, n = counts
        z, share = 1.959963984540054, n_right / n
        center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        assert wilson_interval(n_right, n) == pytest.approx((center - half, center + half), abs=1e-9)


class TestStandardError:
    def test_three_values_by_hand(self) -> None:
        # Standard deviation 0.01.
        assert standard_error([0.97, 0.98, 0.99]) == pytest.approx(0.01 / math.sqrt(3))

    @pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
    def test_it_is_0_without_a_spread(self, values: list[float]) -> None:
        assert standard_error(values) == 0.0


@given(st.integers(2, 6), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_a_perfect_model_has_an_interval_for_each_metric(n_classes: int, n_more: int, seed: int) -> None:
    rng, n_rows = np.random.default_rng(seed), 2 * n_classes + n_more
    labels = rng.permutation(np.arange(n_rows) % n_classes)
    scores = rng.random((n_rows, n_classes)).astype(np.float32)
    scores[np.arange(n_rows), labels] += n_classes
    found = evaluate(scores / scores.sum(axis=1, keepdims=True), labels, [str(k) for k in range(n_classes)])
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "auc", "average_precision"):
        estimate = found.metrics[metric]
        assert estimate.value == pytest.approx(1)
        assert 0 < estimate.low < estimate.high <= 1
