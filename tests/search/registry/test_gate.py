"""The gate: which challengers pass, and the reasons of refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gate import METRICS, MetricWorld, World, passes
from pipelines.evaluation.predictions import Predictions
from search.registry.gate import Reading, pass_gate, share_of


def reading(n_right: int, fingerprint: str = "f", name: str = "it") -> Reading:
    return Reading(name, fingerprint, np.arange(100) < n_right)


def test_the_first_version_passes():
    assert pass_gate(reading(10), None).passed


@pytest.mark.parametrize(
    ("challenger", "reason"),
    [
        (reading(70), "not better"),
        (reading(80), "not better"),
        (reading(83), "not significantly better"),
        (reading(99, "g"), "other rows"),
        (Reading("it", "f", None), "was not evaluated"),
    ],
)
def test_challengers_that_do_not_pass(challenger: Reading, reason: str):
    verdict = pass_gate(challenger, reading(80, name="champion version 1"))
    assert not verdict.passed
    assert reason in verdict.reason


def test_a_significantly_better_one_passes_and_alpha_decides():
    better = reading(88)  # 8 rows more, none less: p = 2 / 2**8
    assert pass_gate(better, reading(80)).passed
    assert pass_gate(better, reading(80)).p_value == pytest.approx(2 / 2**8)
    assert not pass_gate(better, reading(80), alpha=0.001).passed


def test_no_challenger_passes_if_the_champion_was_not_evaluated():
    assert not pass_gate(reading(99), Reading("it", "f", None)).passed


def confusion(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (confusion((198, 0), (2, 0)), "is not better than always predicting one class"),
        (confusion((190, 8), (0, 2)), "is not better than always predicting one class"),
        (confusion((198, 0), (0, 2)), "is not significantly better than always predicting one class"),
    ],
)
def test_a_first_version_that_is_as_good_as_a_constant_is_refused(matrix: np.ndarray, reason: str):
    right = np.arange(matrix.sum()) < matrix.trace()
    verdict = pass_gate(Reading("it", "f", right, matrix), None)
    assert not verdict.passed
    assert reason in verdict.reason
    assert "the most frequent class has 0.9900" in verdict.reason


def test_a_first_version_that_beats_the_most_frequent_class_passes():
    verdict = pass_gate(Reading("it", "f", np.arange(100) < 90, confusion((50, 5), (5, 40))), None)
    assert verdict.passed
    assert verdict.p_value is not None
    assert verdict.p_value < 0.001


def test_the_hash_of_the_test_rows_decides_and_the_fingerprint_where_one_is_missing():
    right = np.arange(100)
    champion = Reading("it", "f", right < 80, test_rows="a")
    assert pass_gate(Reading("it", "g", right < 99, test_rows="a"), champion).passed
    assert "(hash b, not a)" in pass_gate(Reading("it", "f", right < 99, test_rows="b"), champion).reason
    assert pass_gate(Reading("it", "f", right < 99), champion).passed
    assert "(hash g, not f)" in pass_gate(Reading("it", "g", right < 99), champion).reason


def test_of_twenty_equal_challengers_one_passes_at_most_as_often_as_alpha_says():
    world = World(accuracy=0.9, n_rows=500)
    assert passes(world, n_times=60) <= 0.05
    assert passes(world, n_times=30, is_spent=False) > 0.05, "the simulation must show the fault of a gate without it"


def test_the_shares_of_all_challengers_add_up_to_alpha():
    assert sum(share_of(0.05, nth) for nth in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)
    assert share_of(0.05, 1) == 0.025


def test_each_challenger_gets_its_share_of_alpha_and_the_smallest_difference_is_said():
    better, champion = reading(88), reading(80)  # p = 0.0078
    verdicts = [pass_gate(better, champion, nth=nth) for nth in (1, 2, 3)]
    assert [verdict.passed for verdict in verdicts] == [True, True, False]
    assert [verdict.level for verdict in verdicts] == pytest.approx([0.025, 0.05 / 6, 0.05 / 12])
    assert [verdict.smallest_difference for verdict in verdicts] == [0.08, 0.08, 0.09]
    assert "not below 0.00417, the 3rd challenger's share of alpha 0.05" in verdicts[2].reason
    assert "the smallest difference it can detect is 0.0900" in verdicts[2].reason
    worse = pass_gate(champion, better, nth=3)
    assert (worse.level, worse.smallest_difference) == (verdicts[2].level, 0.09)


def test_a_first_version_gets_its_share_too():
    found = Reading("it", "f", np.arange(100) < 61, confusion((50, 0), (39, 11)))
    assert pass_gate(found, None, nth=1).passed
    refused = pass_gate(found, None, nth=20)
    assert not refused.passed
    assert refused.level == pytest.approx(0.05 / 420)


def model(metric: str, rng: np.random.Generator, rows: Rows, skill: float = 1.5, name: str = "it") -> Reading:
    """A model of some skill: it errs on difficult rows, which all models share, and on rows of its own."""
    own = 0.8 * rows.difficulty + 0.6 * rng.normal(size=rows.difficulty.shape)
    if metric in ("rmse", "r2", "mae"):
        kept = Predictions(rows.values + own[:, 0] / skill, rows.values, np.zeros(1))
    else:
        odds = np.exp(own + skill * np.eye(2)[rows.labels])
        kept = Predictions(odds / odds.sum(axis=1, keepdims=True), rows.labels, np.array([0.8, 0.2]))
    return Reading(name, "f", None, predictions=kept)


class Rows:
    """Test rows, of which one in five is of class 1."""

    def __init__(self, rng: np.random.Generator, n_rows: int = 150) -> None:
        self.labels = (rng.random(n_rows) < 0.2).astype(int)
        self.values = rng.normal(size=n_rows)
        self.difficulty = rng.normal(size=(n_rows, 2))


@pytest.mark.parametrize("metric", METRICS)
def test_equal_models_pass_in_at_most_alpha_by_every_metric(metric: str):
    """Where one row of 60 is of the second class, and with classes of several sizes; or with heavy tails."""
    is_regression = metric in ("rmse", "r2", "mae")
    for shares in [()] if is_regression else [(0.98, 0.02), (0.5, 0.3, 0.1, 0.06, 0.04)]:
        assert passes(MetricWorld(metric, 60, shares, n_challengers=2), n_times=40) <= 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_a_better_model_passes_and_a_worse_or_equal_one_does_not(metric: str):
    rng = np.random.default_rng(1)
    rows = Rows(rng, 600)
    good, poor = (model(metric, rng, rows, skill) for skill in (3, 1))
    verdict = pass_gate(good, poor, metric=metric)
    assert verdict.passed
    assert verdict.test.startswith("the sign-flip permutation test of the rows'")
    assert verdict.smallest_difference is None
    assert f"test {metric} " in verdict.reason
    assert "is not better" in pass_gate(poor, good, metric=metric).reason
    assert pass_gate(poor, poor, metric=metric).p_value == 1


@pytest.mark.parametrize("metric", METRICS)
def test_the_first_version_must_be_better_than_a_model_that_knows_no_inputs(metric: str):
    rng = np.random.default_rng(2)
    rows = Rows(rng, 600)
    found = model(metric, rng, rows, skill=3)
    assert pass_gate(found, None, metric=metric).passed


def skewed() -> Rows:
    """Test rows unlike the training rows: other shares of the classes, and values whose median is not their mean."""
    rows = Rows(np.random.default_rng(2), 600)
    rows.labels = (np.arange(600) % 5 > 2).astype(int)
    rows.values = np.exp(rows.values)
    return rows


def constants(metric: str, rows: Rows) -> list[np.ndarray]:
    """Answers that are the same for each row: good ones and bad ones."""
    if metric in ("rmse", "r2", "mae"):
        return [np.full(600, value, np.float32) for value in (rows.values.mean(), np.median(rows.values), 0, 9)]
    shares = (0.4, 0.8, 0.6, 1.0, 0.5, 0.399)
    return [np.tile(np.array([[share, 1 - share]], np.float32), (600, 1)) for share in shares]


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_answers_the_same_for_each_row_is_refused(metric: str):
    rows = skewed()
    rng = np.random.default_rng(0)
    poor = model(metric, rng, rows, skill=-3 if metric not in ("rmse", "r2", "mae") else 0.02)
    reasons = []
    for predicted in constants(metric, rows):
        constant = replace(poor, predictions=replace(poor.predictions, predicted=predicted))
        first = pass_gate(constant, None, metric=metric)
        assert not first.passed
        assert "is not better than a constant prediction" in first.reason
        later = pass_gate(constant, poor, metric=metric)
        assert not later.passed
        reasons.append(later.reason)
        weight = np.linspace(0.5, 1.5, 600).astype(np.float32)
        weighted = replace(constant, predictions=replace(constant.predictions, weight=weight))
        assert not pass_gate(weighted, None, metric=metric).passed
    # The champion is worse than a constant, as one may be that was forced.
    assert any("it is better than it, but not better than a constant prediction" in reason for reason in reasons)


def test_a_constant_is_refused_by_accuracy_after_a_poor_champion_too():
    labels = np.arange(200) % 5 == 0
    poor = Reading("champion version 1", "f", labels)
    constant = Reading("it", "f", ~labels, confusion((160, 0), (40, 0)))
    verdict = pass_gate(constant, poor)
    assert not verdict.passed
    assert "it is better than champion version 1, but not better than always predicting one class" in verdict.reason
    assert verdict.p_value < 1e-9
    assert "is not better" in pass_gate(constant, None).reason
    useful = Reading("it", "f", np.arange(200) < 190, confusion((160, 0), (10, 30)))
    assert pass_gate(useful, poor).passed


def test_a_champion_without_predictions_is_named_with_the_remedy():
    rng = np.random.default_rng(3)
    challenger = model("auc", rng, Rows(rng))
    earlier = Reading("champion version 1", "f", np.ones(150, bool))
    verdict = pass_gate(challenger, earlier, metric="auc")
    assert not verdict.passed
    assert "kept no predictions to compare by: read its study's test again with evaluate --again" in verdict.reason
    assert not pass_gate(challenger, Reading("it", "f", None), metric="auc").passed


def test_models_of_other_classes_are_not_compared():
    rng = np.random.default_rng(4)
    rows = Rows(rng)
    two = model("auc", rng, rows)
    three = Predictions(np.full((150, 3), 1 / 3), rows.labels, np.full(3, 1 / 3))
    verdict = pass_gate(Reading("it", "f", None, predictions=three), two, metric="auc")
    assert "predicts other classes, rows or weights" in verdict.reason


def test_weighted_rows_are_compared_by_their_weighted_accuracies():
    weight = np.r_[np.full(100, 0.1), np.full(100, 1.9)]

    def weighted(right: np.ndarray, weight: np.ndarray | None) -> Reading:
        truth = np.arange(200) % 2
        answers = np.eye(2)[np.where(right, truth, 1 - truth)]
        kept = Predictions(answers, truth, np.array([0.5, 0.5]), weight)
        return Reading("it", "f", right, predictions=kept)

    many, heavy = (weighted(right, weight) for right in (np.arange(200) < 160, np.arange(200) >= 60))
    assert many.right.sum() > heavy.right.sum()
    verdict = pass_gate(heavy, many)
    assert verdict.passed
    assert verdict.test == "the sign-flip permutation test of the rows' accuracies"
    assert "is not better" in pass_gate(many, heavy).reason
    assert "weights" in pass_gate(weighted(heavy.right, None), many).reason


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e6])
@pytest.mark.parametrize("metric", ["rmse", "r2", "mae"])
def test_the_unit_of_a_target_decides_nothing(metric: str, unit: float):
    rng = np.random.default_rng(3)
    rows = Rows(rng, 600)

    def scaled(skill: float) -> Reading:
        found = model(metric, rng, rows, skill)
        kept = found.predictions
        assert kept is not None
        kept = replace(kept, predicted=kept.predicted * unit, truth=kept.truth * unit)  # a constant of 0 has no unit
        return replace(found, predictions=kept)

    good, poor = scaled(3), scaled(1)
    assert pass_gate(good, poor, metric=metric).passed
    assert pass_gate(good, None, metric=metric).passed
    assert not pass_gate(poor, good, metric=metric).passed


def test_a_target_of_0_is_the_same_however_its_rows_were_scaled():
    rng = np.random.default_rng(5)
    rows = Rows(rng, 600)
    champion = model("rmse", rng, rows, 1)
    kept = champion.predictions
    assert kept is not None
    truth = np.where(np.arange(600) % 3 == 0, 0.0, kept.truth)
    rounded = truth + rng.uniform(-1e-7, 1e-7, 600) * np.abs(truth).max()
    own = replace(model("rmse", rng, rows, 3), predictions=replace(kept, predicted=truth + 0.01, truth=rounded))
    other = replace(champion, predictions=replace(kept, truth=truth))
    assert pass_gate(own, other, metric="rmse").passed
    moved = replace(champion, predictions=replace(kept, truth=truth + 1e-3 * np.abs(truth).max()))
    assert "predicts other" in pass_gate(own, moved, metric="rmse").reason
