"""Successive rejects: which finalist gets which seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.config import Hyperparameters
from search.automatic.rounds import Rounds
from search.automatic.shares import MIN_BUDGET, length, n_search, rounds_for, rounds_within
from search.finals.finalist import Candidate, Finalist


def finalist(trial: int, *values: float, failure: str = "") -> Finalist:
    numbers = tuple(range(1, len(values) + 1))
    candidate = Candidate(trial, Hyperparameters(width=trial + 1), 0.9, 1000)
    return Finalist(candidate, numbers, values, numbers, ("r",) * len(values), 3, failure)


def play(sizes: tuple[int, ...], values: list[list[float]]) -> list[tuple[int, int]]:
    """The runs in the order in which they are trained one after another; ``values`` by configuration and seed."""
    finalists, order = [finalist(trial) for trial in range(len(values))], []
    while runs := Rounds(sizes).runs(finalists):
        rank, number = runs[0]
        order.append((rank, number))
        known = finalists[rank]
        finalists[rank] = finalist(rank, *known.values, values[rank][number - 1])
    return order


def test_each_round_trains_the_best_of_the_round_before() -> None:
    values = [[0.5, 0.5, 0.5], [0.7, 0.5, 0.5], [0.6, 0.9, 0.5], [0.4, 1.0, 1.0]]
    assert play((4, 2, 1), values) == [(0, 1), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (2, 3)]


def test_seeds_of_one_size_may_train_at_the_same_time() -> None:
    finalists = [finalist(0, 0.5), finalist(1, 0.7), finalist(2, 0.6), finalist(3, 0.4)]
    assert Rounds((4, 2, 2)).runs(finalists) == [(1, 2), (2, 2), (1, 3), (2, 3)]


def test_a_round_waits_for_all_results_of_the_one_before() -> None:
    finalists = [finalist(0, 0.5), finalist(1, 0.7), finalist(2), finalist(3, 0.4)]
    assert Rounds((4, 2, 2)).runs(finalists) == [(2, 1)]


def test_a_configuration_that_failed_gets_no_further_run() -> None:
    finalists = [finalist(0, failure="it cannot be trained"), finalist(1, 0.7), finalist(2, 0.6), finalist(3, 0.4)]
    assert {rank for rank, _ in Rounds((4, 2, 2)).runs(finalists)} == {1, 2}


def test_of_an_error_the_least_is_best() -> None:
    from pipelines.objectives import OBJECTIVES

    finalists = [replace(finalist(i, value), objective=OBJECTIVES["val_rmse"]) for i, value in enumerate((5.0, 3.0))]
    assert Rounds((2, 1)).runs(finalists) == [(1, 2)]


@pytest.mark.parametrize("budget", [MIN_BUDGET, 9, 10, 11, 15, 16, 31, 32, 33, 64, 1000])
def test_trials_and_seeds_share_the_budget(budget: int) -> None:
    n_trials = n_search(budget)
    rounds = rounds_for(budget - n_trials)
    assert n_trials + sum(rounds.sizes) == budget
    assert n_trials >= rounds.sizes[0] >= 2, "there is something to choose from"
    assert len(rounds.sizes) == 3, "two seeds reject nobody, and have an interval"
    assert list(rounds.sizes) == sorted(rounds.sizes, reverse=True)


def test_finals_fit_the_time() -> None:
    assert rounds_within(0.5, [1.0], n_slots=1) is None
    assert rounds_within(100, [], n_slots=1) is None, "nothing says how long they take"
    for left_s in (2, 5, 10, 20, 100):
        rounds = rounds_within(left_s, [1.0], n_slots=2)
        assert rounds is None or length(rounds.sizes, 2) <= left_s
    assert rounds_within(100, [1.0] * 8, n_slots=2).sizes == (8, 4, 4)
    assert rounds_within(12, [1.0] * 2 + [9.0] * 6, n_slots=2).sizes == (2, 2, 1), "those of the first round count"
    assert length((4, 2, 2), 2) == 4
    assert length((4, 1, 1), 8) == 2
