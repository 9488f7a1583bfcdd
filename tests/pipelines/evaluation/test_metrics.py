from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, classification_report, log_loss

from pipelines.errors import DataError
from pipelines.evaluation.metrics import (
    Evaluation,
    evaluate,
    mean_interval,
    pick_examples,
    standard_error,
    wilson_interval,
)
from pipelines.evaluation.tests import mcnemar_exact, paired_test

HAND = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], np.float32)
HAND_LABELS = np.array([0, 1, 1, 2])


def random_answers(n_rows: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
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

    def test_loss_is_keras_s(self) -> None:
        # What keras.losses.SparseCategoricalCrossentropy() of Keras 3.15 answers, rows 2 and 3 being clipped.
        probabilities = np.array([[0.7, 0.2, 0.1], [1, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5]], np.float32)
        result = evaluate(probabilities, np.array([0, 0, 2, 2]), "abc")
        assert result.loss == pytest.approx(4.291979789733887, abs=1e-6)

    @pytest.mark.parametrize("n_classes", [2, 10, 50])
    def test_agrees_with_scikit_learn(self, n_classes: int) -> None:
        probabilities, labels = random_answers(500, n_classes, seed=n_classes)
        names = [f"class {i}" for i in range(n_classes)]
        result = evaluate(probabilities, labels, names)
        answers = probabilities.argmax(axis=1)
        report = classification_report(
            labels,
            answers,
            labels=range(n_classes),
            target_names=names,
            output_dict=True,
            zero_division=0,
        )
        assert result.accuracy == accuracy_score(labels, answers)
        exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
        assert result.loss == pytest.approx(log_loss(labels, exact, labels=range(n_classes)), abs=1e-5)
        for row in result.classes:
            expected = report[row.name]
            found = (row.precision, row.recall, row.f1, row.support)
            assert found == pytest.approx([expected[k] for k in ("precision", "recall", "f1-score", "support")])
        assert [sum(row) for row in result.confusion] == np.bincount(labels, minlength=n_classes).tolist()
        assert sum(result.confusion[i][i] for i in range(n_classes)) == result.n_right

    def test_class_that_is_absent_and_never_given_scores_zero(self) -> None:
        result = evaluate(HAND[:2], [0, 1], ("ant", "bee", "cat"))
        assert (result.classes[2].precision, result.classes[2].recall, result.classes[2].support) == (0, 0, 0)
        assert len(result.confusion) == 3

    def test_a_tie_goes_to_the_first_class(self) -> None:
        assert evaluate([[0.5, 0.5]], [0], "ab").n_right == 1
        assert evaluate([[0.5, 0.5]], [1], "ab").n_right == 0

    def test_json_needs_no_encoder_and_loses_nothing(self) -> None:
        result = evaluate(HAND, HAND_LABELS.astype(np.uint8), np.array(["ant", "bee", "cat"]))
        document = json.loads(json.dumps(result.to_json(), allow_nan=False))
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

    @pytest.mark.parametrize(
        ("probabilities", "labels", "said"),
        [
            (HAND, [0, 1, 1], "labels: must be one integer a row"),
            (HAND, [0, 1, 1, 3], "labels: must be 0 to 2, got 0 to 3"),
            (HAND, [0, 1, 1, -1], "got -1 to 1"),
            (HAND, [0.0, 1.0, 1.0, 2.0], "float64"),
            (HAND[:, :2], HAND_LABELS[:0], r"must be \(n_rows, 3\)"),
            (np.zeros((0, 3)), np.zeros(0, int), "at least one row"),
            (HAND * np.nan, HAND_LABELS, "finite"),
        ],
    )
    def test_what_cannot_be_compared_is_said(self, probabilities: object, labels: object, said: str) -> None:
        with pytest.raises(DataError, match=said):
            evaluate(probabilities, labels, "abc")  # type: ignore[arg-type]

    def test_both_arrays_wrong_is_one_error_with_two_lines(self) -> None:
        with pytest.raises(DataError) as caught:
            evaluate(HAND * np.inf, [0, 1, 1, 9], "abc")
        assert [line.split(":")[0] for line in caught.value.problems] == ["probabilities", "labels"]


class TestWilson:
    def test_the_tutorial_s_9807_of_10000(self) -> None:
        low, high = wilson_interval(9807, 10_000)
        assert (round(low, 5), round(high, 5)) == (0.97781, 0.98322)

    @given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_is_the_textbook_s_formula(self, counts: tuple[int, int]) -> None:
        n_right, n = counts
        z, share = 1.959963984540054, n_right / n
        centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        assert wilson_interval(n_right, n) == pytest.approx((centre - half, centre + half), abs=1e-9)

    def test_more_confidence_is_wider(self) -> None:
        low, high = wilson_interval(90, 100, 0.99)
        assert low < wilson_interval(90, 100)[0] < wilson_interval(90, 100)[1] < high


class TestMcNemar:
    def test_a_table_by_hand(self) -> None:
        # 90 both right, 7 only the first, 1 only the second, 2 neither: P(0 or 1 of 8) twice = 18/256.
        first = np.array([True] * 97 + [False] * 3)
        second = np.array([True] * 90 + [False] * 7 + [True] + [False] * 2)
        assert mcnemar_exact(first, second) == pytest.approx(18 / 256)
        assert mcnemar_exact(second, first) == pytest.approx(18 / 256)
        assert mcnemar_exact(first, second) == pytest.approx(stats.binomtest(1, 8, 0.5).pvalue)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
    def test_only_the_discordant_rows_count(self, rows: list[tuple[bool, bool]]) -> None:
        first, second = [a for a, _ in rows], [b for _, b in rows]
        p_value = mcnemar_exact(first, second)
        assert 0 < p_value <= 1
        assert mcnemar_exact([*first, True, False], [*second, True, False]) == p_value
        if first == second:
            assert p_value == 1.0

    def test_other_rows_are_an_error(self) -> None:
        with pytest.raises(ValueError, match=r"same rows, got \(2,\) and \(3,\)"):
            mcnemar_exact([True, False], [True, False, True])


class TestPaired:
    def test_differences_of_one_two_three_points(self) -> None:
        # Mean 0.02, standard deviation 0.01, three pairs: t = 0.02 / (0.01 / sqrt 3) = 3.4641 with 2 degrees.
        result = paired_test([0.96, 0.97, 0.98], [0.95, 0.95, 0.95])
        assert result.name == "paired t-test"
        assert result.statistic == pytest.approx(math.sqrt(12))
        assert result.p_value == pytest.approx(2 * stats.t.sf(math.sqrt(12), 2))

    def test_the_other_way_round_turns_the_sign(self) -> None:
        result = paired_test([0.95, 0.95, 0.95], [0.96, 0.97, 0.98])
        assert result.statistic == pytest.approx(-math.sqrt(12))

    @pytest.mark.parametrize("values", [[0.9, 0.91, 0.92], [0.9]])
    def test_equal_accuracies_show_nothing(self, values: list[float]) -> None:
        assert paired_test(values, values).p_value == 1.0

    def test_one_pair_shows_nothing(self) -> None:
        assert paired_test([0.99], [0.1]).p_value == 1.0

    @pytest.mark.parametrize(("n", "p_value"), [(2, 0.5), (5, 0.0625), (6, 0.03125)])
    def test_a_difference_without_variance_is_judged_by_its_sign(self, n: int, p_value: float) -> None:
        a = [0.9 + i / 1000 for i in range(n)]
        result = paired_test(a, [value - 0.01 for value in a])
        assert (result.name, result.p_value) == ("sign test", pytest.approx(p_value))
        assert result.statistic == n / 2
        assert paired_test([value - 0.01 for value in a], a).statistic == -n / 2

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
    def test_never_nan(self, pairs: list[tuple[float, float]]) -> None:
        result = paired_test([a for a, _ in pairs], [b for _, b in pairs])
        assert 0 <= result.p_value <= 1
        assert math.isfinite(result.statistic)

    @pytest.mark.parametrize(("a", "b"), [([0.9, 0.8], [0.9, 0.8, 0.7]), ([0.9], [0.9, 0.8]), ([], [])])
    def test_other_seeds_are_an_error(self, a: list[float], b: list[float]) -> None:
        with pytest.raises(ValueError, match=rf"same seeds, at least one, got {len(a)} and {len(b)}"):
            paired_test(a, b)


class TestIntervals:
    def test_three_values_by_hand(self) -> None:
        # Standard deviation 0.01, error 0.01 / sqrt 3, and 4.3027 is Student's 97.5% point with 2 degrees.
        assert standard_error([0.97, 0.98, 0.99]) == pytest.approx(0.01 / math.sqrt(3))
        mean, low, high = mean_interval([0.97, 0.98, 0.99])
        assert mean == pytest.approx(0.98)
        assert (mean - low, high - mean) == pytest.approx((0.0248414, 0.0248414), abs=1e-6)

    def test_agrees_with_scipy_at_another_confidence(self) -> None:
        values = [0.93, 0.95, 0.96, 0.91]
        expected = stats.t.interval(0.8, 3, loc=np.mean(values), scale=stats.sem(values))
        assert mean_interval(values, 0.8)[1:] == pytest.approx(expected)

    @pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
    def test_without_spread_there_is_no_width(self, values: list[float]) -> None:
        assert mean_interval(values) == (0.5, 0.5, 0.5)
        assert standard_error(values) == 0.0


class TestExamples:
    def test_rows_are_what_they_are_said_to_be(self) -> None:
        probabilities, labels = random_answers(400, 4, seed=1)
        right, wrong = pick_examples(probabilities, labels)
        assert len(right) == len(wrong) == 9
        assert len(set(right)) == 9
        assert (probabilities[right].argmax(axis=1) == labels[right]).all()
        assert (probabilities[wrong].argmax(axis=1) != labels[wrong]).all()

    def test_wrong_rows_are_the_surest_mistakes_in_order(self) -> None:
        probabilities, labels = random_answers(400, 4, seed=2)
        _, wrong = pick_examples(probabilities, labels)
        is_wrong = probabilities.argmax(axis=1) != labels
        surest = np.sort(probabilities[is_wrong].max(axis=1))[::-1][:9]
        assert probabilities[wrong].max(axis=1).tolist() == surest.tolist()

    def test_the_seed_decides_the_right_rows(self) -> None:
        probabilities, labels = random_answers(400, 4, seed=3)
        draws = [tuple(pick_examples(probabilities, labels, seed=seed)[0]) for seed in (0, 0, 1)]
        assert draws[0] == draws[1] != draws[2]

    def test_as_many_as_there_are(self) -> None:
        right, wrong = pick_examples(HAND, HAND_LABELS)
        assert (right.tolist(), wrong.tolist()) == ([0, 1, 3], [2])
        assert pick_examples(HAND, HAND_LABELS, n=0)[0].tolist() == []

    def test_equal_confidence_keeps_the_order_of_rows(self) -> None:
        _, wrong = pick_examples([[0.9, 0.1]] * 12, [1] * 12, n=3)
        assert wrong.tolist() == [0, 1, 2]
