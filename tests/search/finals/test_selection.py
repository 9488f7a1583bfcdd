"""The rules of the finals: the winner, whether it is significantly better, and which configurations are out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.evaluation.row_scores import encode
from pipelines.evaluation.tests import paired_test
from pipelines.objectives import OBJECTIVES
from search.cli.commands.finals import verdict_document
from search.finals.finalist import Candidate, Finalist
from search.finals.result import FinalistsResult
from search.finals.selection import is_out, judge, order


def finalist(
    trial: int,
    *values: float,
    n_parameters: int = 1000,
    n_seeds: int = 0,
    failure: str = "",
    seeds: tuple[int, ...] = (),
    n_rows: int = 0,
    rows: Sequence[np.ndarray] = (),
    objective: str = "val_accuracy",
) -> Finalist:
    candidate = Candidate(trial, Hyperparameters(), 0.9, n_parameters)
    n_seeds = n_seeds or len(values)
    epochs = tuple(range(1, len(values) + 1))
    seeds = seeds or epochs
    scores = tuple(encode(right) for right in rows)
    ids = tuple("r" for _ in values)
    return Finalist(candidate, seeds, values, epochs, ids, n_seeds, failure, n_rows, scores, OBJECTIVES[objective])


def test_the_smallest_network_within_one_standard_error_of_the_best_mean_wins():
    best = finalist(1, 0.97, 0.98, 0.99, n_parameters=5000)  # mean 0.98, standard error 0.0058
    near = finalist(2, 0.97, 0.975, 0.985, n_parameters=700)
    nearest = finalist(3, 0.98, 0.978, 0.977, n_parameters=900)
    far = finalist(4, 0.95, 0.96, 0.97, n_parameters=100)

    verdict = judge([best, near, nearest, far])

    assert verdict.winner is near
    assert verdict.runner_up is best
    assert "smallest network within one standard error" in verdict.explanation
    assert "700 parameters instead of 5,000" in verdict.explanation
    assert not verdict.significant


def test_a_clear_winner_is_significant_and_the_test_is_named():
    verdict = judge([finalist(1, 0.90, 0.91, 0.92, 0.9), finalist(2, 0.95, 0.962, 0.97, 0.951)])

    assert verdict.winner.candidate.trial == 2
    assert verdict.significant
    assert verdict.p_value < 0.01
    assert "paired t-test" in verdict.explanation


def of_rows(trial: int, wrong: int) -> Finalist:
    """Five seeds on 1,000 rows, of which the first ``wrong`` and another one by seed are wrong."""
    rows = [(np.arange(1000) >= wrong) & (np.arange(1000) != 900 + seed) for seed in range(5)]
    for seed in (0, 1):
        rows[seed][800] = False
    return finalist(trial, *(float(right.mean()) for right in rows), rows=rows)


def test_a_winner_is_significantly_better_only_if_that_holds_on_rows_too():
    chance = judge([of_rows(1, wrong=20), of_rows(2, wrong=16)])
    assert chance.winner.candidate.trial == 2
    assert chance.test.p_value < 0.07
    assert chance.p_value == chance.rows_p > 0.05
    assert not chance.significant

    clear = judge([of_rows(1, wrong=40), of_rows(2, wrong=16)])
    assert clear.p_value == max(clear.test.p_value, clear.rows_p)
    assert "over seeds and rows, p = " in clear.explanation


def test_a_smaller_network_is_not_said_to_be_worse_if_that_does_not_hold_on_rows():
    seeds = [0.95, 0.97, 0.96, 0.98, 0.94]
    worse = [value - part for value, part in zip(seeds, [0.0021, 0.0019, 0.002, 0.0021, 0.0019], strict=True)]
    few = judge([finalist(1, *seeds, n_parameters=5000, n_rows=500), finalist(2, *worse, n_parameters=700, n_rows=500)])
    assert few.winner.candidate.trial == 2
    assert few.test.p_value < 1e-5
    assert few.p_value > 0.05
    assert few.loss == 0
    assert "No configuration is significantly better" in few.explanation


def test_a_smaller_network_that_wins_is_never_called_significantly_better():
    steady = [0.97, 0.971, 0.972, 0.969]
    verdict = judge([finalist(1, *(v + 0.0001 for v in steady), n_parameters=9), finalist(2, *steady, n_parameters=3)])

    assert verdict.winner.candidate.trial == 2
    assert not verdict.significant


def test_a_smaller_network_that_the_paired_test_calls_worse_is_said_to_be_worse():
    seeds = [0.95, 0.97, 0.96, 0.98, 0.94]
    lost = [0.0021, 0.0019, 0.002, 0.0021, 0.0019]
    worse = [value - part for value, part in zip(seeds, lost, strict=True)]
    verdict = judge([finalist(1, *seeds, n_parameters=5000), finalist(2, *worse, n_parameters=700)])

    assert verdict.winner.candidate.trial == 2
    assert verdict.p_value < 1e-5
    assert not verdict.significant
    assert verdict.loss == pytest.approx(0.002)
    assert "The configuration of trial 1" in verdict.explanation
    assert "is significantly better, by 0.0020 on average" in verdict.explanation
    assert "the smaller network was chosen because its mean is within one standard error (" in verdict.explanation
    assert "chance" not in verdict.explanation


def test_a_configuration_that_failed_or_was_stopped_does_not_win():
    verdict = judge([finalist(1, 0.99, n_seeds=2), finalist(2, 0.5, 0.6), finalist(3, 0.9, 0.9, failure="boom")])
    assert verdict.winner.candidate.trial == 2

    with pytest.raises(NotFoundError, match=r"got none \(boom\)"):
        judge([finalist(3, 0.9, failure="boom", n_seeds=2)])


def test_a_finalist_without_a_run_has_no_mean():
    verdict = judge([finalist(2, 0.5, 0.6), finalist(3, failure="boom")])
    result = FinalistsResult("s", verdict, None, 0, interrupted=False)
    assert 'trial 3</th><td style="text-align:left"></td>' in result._repr_html_()
    assert [found["mean"] for found in verdict_document(result, verdict)["finalists"]] == [pytest.approx(0.55), None]


def test_only_values_of_the_same_seeds_are_compared():
    best = finalist(1, 0.91, 0.99, 0.92, 0.93)
    other = finalist(2, 0.90, 0.91, 0.92, n_seeds=4, failure="boom", seeds=(1, 3, 4))
    assert judge([best, other]).test == paired_test((0.91, 0.92, 0.93), (0.90, 0.91, 0.92))


accuracy = st.floats(0, 1).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(accuracy, accuracy, accuracy), min_size=3, max_size=5), st.integers(0, 2), accuracy)
def test_a_configuration_that_is_out_could_not_have_come_first_or_second(
    runs: list[tuple[float, float, float]], n_done: int, ceiling: float
):
    rest = tuple(min(value, ceiling) for value in runs[0][n_done:])
    cut = finalist(0, *runs[0][:n_done], n_seeds=3, n_parameters=1)
    others = [finalist(number, *values) for number, values in enumerate(runs[1:], start=1)]

    if is_out(cut, [cut, *others], ceiling):
        whole = finalist(0, *runs[0][:n_done], *rest, n_parameters=1)
        verdict = judge([whole, *others])
        assert whole not in (verdict.winner, verdict.runner_up)


def test_a_poor_configuration_is_out_once_two_others_are_complete():
    first, second = finalist(1, 0.97, 0.98, 0.975), finalist(2, 0.96, 0.97, 0.965)
    poor = finalist(3, 0.5, n_seeds=3)

    assert is_out(poor, [first, second, poor], ceiling=0.98)
    assert not is_out(poor, [first, poor], ceiling=0.98)
    assert not is_out(finalist(3, 0.95, n_seeds=3), [first, second], ceiling=0.98)


def test_the_first_two_get_every_seed_and_the_others_go_seed_by_seed():
    runs = order(4, 2)
    assert runs == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (3, 1), (2, 2), (3, 2)]


def errors(trial: int, *values: float, **options: int) -> Finalist:
    return finalist(trial, *values, objective="val_rmse", **options)


def test_the_lowest_error_wins_and_the_smallest_network_within_one_standard_error():
    best, worst = errors(1, 5.1, 5.3, 5.2, n_parameters=5000), errors(2, 9.0, 9.3, 9.1, n_parameters=10)
    verdict = judge([worst, best])
    assert verdict.winner is best
    assert verdict.significant
    assert "is significantly better than trial 2" in verdict.explanation

    near = errors(3, 5.22, 5.25, 5.24, n_parameters=700)
    small = judge([best, near, worst])
    assert small.winner is near
    assert small.runner_up is best
    assert "best mean, 5.2000 of trial 1: 700 parameters instead of 5,000" in small.explanation


def test_a_smaller_network_with_a_significantly_larger_error_is_said_to_be_worse():
    seeds = [3100.0, 3300.0, 3200.0, 3400.0, 3000.0]
    worse = [value + part for value, part in zip(seeds, [21, 19, 20, 21, 19], strict=True)]
    verdict = judge([errors(1, *seeds, n_parameters=5000), errors(2, *worse, n_parameters=700)])
    assert verdict.winner.candidate.trial == 2
    assert verdict.loss == pytest.approx(20)
    assert "trial 1" in verdict.explanation
    assert "is significantly better, by 20.0000 on average" in verdict.explanation


def test_a_configuration_with_too_large_an_error_is_out_once_two_others_are_complete():
    first, second = errors(1, 5.0, 5.1, 5.2), errors(2, 5.3, 5.4, 5.5)
    poor, good = errors(3, 50.0, n_seeds=3), errors(4, 5.2, n_seeds=3)
    assert is_out(poor, [first, second, poor], ceiling=-5.0)
    assert not is_out(good, [first, second, good], ceiling=-5.0)
    assert judge([poor, second, first]).finalists == (first, second, poor)


def test_a_configuration_without_a_run_is_the_last_by_every_objective():
    failed = errors(3, n_seeds=3, failure="boom")
    assert judge([failed, errors(1, 5.0, 5.1, 5.2)]).finalists[-1] is failed


CURVES = ((0.90, 0.95, 0.97, 0.96, 0.969), (0.91, 0.95, 0.96, 0.96, 0.963), (0.90, 0.96, 0.962, 0.96, 0.961))


@pytest.mark.parametrize(
    ("curves", "epochs"),
    [
        (CURVES, 5),  # 0.9643 after five, 0.964 after three epochs
        (tuple(curve[:4] for curve in CURVES), 3),  # 0.96 after four is out of 0.964 - 0.003
        (tuple((*curve[:3], curve[1], curve[1]) for curve in CURVES), 3),
        ((), 2),  # an earlier version recorded none: the mean of the best epochs 1, 2 and 3
        (((), *CURVES[1:]), 2),
        ((CURVES[0][:3], *CURVES[1:]), 2),
    ],
)
def test_a_refit_trains_up_to_the_latest_epoch_that_is_as_good_as_the_best(curves: tuple, epochs: int):
    found = replace(finalist(1, 0.97, 0.96, 0.962), curves=curves)
    assert found.epochs == epochs
    worse = tuple(tuple(1 - value for value in curve) for curve in curves)
    assert replace(found, curves=worse, objective=OBJECTIVES["val_rmse"]).epochs == epochs
    two = replace(finalist(1, 0.97, 0.96), curves=curves[:2])
    assert two.epochs == 2, "two seeds have no standard error"


def test_an_interval_stays_in_the_unit_of_the_objective_and_within_its_limits():
    squared = np.random.default_rng(0).exponential(400.0, (3, 200))
    found = finalist(1, *squared.mean(axis=1), n_rows=200, rows=squared, objective="val_rmse")
    low, high = found.interval
    assert 0 <= low < found.mean < high
    assert found.mean == pytest.approx(400, rel=0.1)
    perfect = finalist(1, 1.0, 1.0, 1.0, n_rows=200, rows=np.ones((3, 200)), objective="val_auc")
    low, high = perfect.interval
    assert low < 0.99
    assert high == 1
    few = replace(perfect, class_rows=(198.0, 2.0))
    assert few.interval[0] < 0.7, "two rows of a class say little"


def test_the_expected_value_is_that_of_seeds_that_did_not_choose() -> None:
    # Without seed 1 the second wins, and has 0.90 there; without 2 or 3 the first, and has 0.96 and 0.94.
    first, second = finalist(1, 0.99, 0.96, 0.94), finalist(2, 0.90, 0.97, 0.97)
    verdict = judge([first, second])
    assert verdict.winner is first
    assert verdict.expected == pytest.approx((0.90 + 0.96 + 0.94) / 3)
    assert verdict.expected < verdict.winner.mean


def test_seeds_that_rejected_configurations_are_not_expected_again() -> None:
    verdict = judge([finalist(1, 0.99, 0.95, 0.96), finalist(2, 0.97, n_seeds=3)], n_screening=1)
    assert verdict.expected == pytest.approx(0.955)


def test_one_seed_that_chose_expects_nothing() -> None:
    assert judge([finalist(1, 0.99), finalist(2, 0.97)]).expected is None
    assert judge([finalist(1, 0.99)]).expected == 0.99, "nothing was chosen"


def test_the_interval_moves_with_the_expected_value() -> None:
    verdict = judge([finalist(1, 0.99, 0.96, 0.94, n_rows=500), finalist(2, 0.90, 0.97, 0.97, n_rows=500)])
    shift = verdict.expected - verdict.winner.mean
    assert verdict.expected_interval == pytest.approx([end + shift for end in verdict.winner.interval])
    assert judge([finalist(1, 0.99, 0.96)]).expected_interval is None, "two seeds have no interval"


@given(st.lists(st.lists(st.floats(0.5, 1.0), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_expected_value_is_one_of_a_mean_of_values(values: list[list[float]]) -> None:
    verdict = judge([finalist(trial, *each) for trial, each in enumerate(values)])
    assert min(map(min, values)) - 1e-9 <= verdict.expected <= max(map(max, values)) + 1e-9


@pytest.mark.parametrize("unit", [1e-15, 1.0, 1e9])
def test_the_unit_of_the_errors_decides_nothing(unit: float) -> None:
    best = errors(1, *(np.array([1.0, 1.1, 1.05]) * unit), n_parameters=5000)
    small = errors(2, *(np.array([4.0, 4.1, 3.9]) * unit), n_parameters=10)
    verdict = judge([small, best])
    assert (verdict.winner, verdict.significant) == (best, True)
