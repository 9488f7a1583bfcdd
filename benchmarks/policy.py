"""The results of a search with few trainings: sampler, pruner, learned starts and finalists on recorded trainings.

HPOBench: our scheduler and our finals on a simulated pool, with starts learned from the other seven tables, beside
plain Optuna. The score of what a search chooses is its mean over recorded seeds that no selection used. LCBench: the
same with curves, on which the pruner acts; it has no seeds, so the best value counts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import optuna
from harness import RESULTS, console, machine, options, write_result
from learn_starts import learned_from, learned_from_curves
from recorded import N_SEEDS, Curves, MissingDataError, Table, hpobench, lcbench
from replay import finals, make_spec, plain_optuna, plain_search, replay_home, search
from rich.table import Table as Shown

from pipelines.config import Hyperparameters
from search.automatic.shares import n_search, rounds_for
from search.finals.selection import EverySeed

BUDGET = 16
MARKS = (8, 16, 32, 48, 64)
CLOCK_SLOTS = 8
"""Slots of the virtual clock of a new study."""

N_CURVES = 11
"""Datasets of LCBench that are replayed, every third one; starts are learned from the other ones of them."""

Score = Callable[[Hyperparameters], float]


@dataclass(frozen=True, slots=True)
class Found:
    """The choice of one search of one dataset.

    Attributes:
        policy: Its name.
        dataset: The dataset's.
        score: In points, of what it chose, over seeds that no selection used.
        expected: What our finals said to expect of that, in points; None where they said nothing.
        mean: The mean of the winner's runs, in points, which is too good.
        epochs: Epochs trained; 0 where a training has one value.
    """

    policy: str
    dataset: str
    score: float
    expected: float | None = None
    mean: float | None = None
    epochs: int = 0


@cache
def tables() -> list[Table]:
    return hpobench()


@cache
def curves() -> list[Curves]:
    return lcbench()[::3][:N_CURVES]


def replay_table(number: int, place: int, n_plain: int = max(MARKS), on_clock: Sequence[int] = ()) -> list[Found]:
    """Every policy once on one table: they train with one recorded seed, and are scored with the same other ones.

    Args:
        number: Of the repetition.
        place: The table's.
        n_plain: Trials of plain Optuna.
        on_clock: Trainings of our searches on a virtual clock.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, others = tables()[place], [other for i, other in enumerate(tables()) if i != place]
    seeds = np.random.default_rng([number, place]).permutation(N_SEEDS)
    trained, new, held_out = int(seeds[0]), [int(seed) for seed in seeds[1:4]], [int(seed) for seed in seeds[4:]]

    def score(configuration: Hyperparameters) -> float:
        return float(np.mean([100 * table.curve(configuration, seed)[0] for seed in held_out]))

    def policy(budget: int, virtual_slots: int) -> list[Found]:
        return ours(table, others, number, budget, virtual_slots, trained, new, score)

    found = [*policy(BUDGET, 0), *(each for budget in on_clock for each in policy(budget, CLOCK_SLOTS))]
    for name, sampler in (("tpe", optuna.samplers.TPESampler), ("random", optuna.samplers.RandomSampler)):
        best = plain_optuna(table, trained, n_plain, sampler(seed=number)) if n_plain else []
        found += [Found(f"{name} {mark}", table.name, score(best[mark - 1])) for mark in MARKS if mark <= n_plain]
    return found


def ours(
    table: Table,
    others: Sequence[Table],
    number: int,
    budget: int,
    virtual_slots: int,
    trained: int,
    new: Sequence[int],
    score: Score,
) -> list[Found]:
    """``run --auto`` with a budget and starts learned from other tables; and ``finalists`` after as many trials."""
    n_trials = n_search(budget)
    starts = learned_from(others, n_trials // 2)
    clock = ", on the clock" if virtual_slots else ""
    found = []
    plans = (
        (f"ours{clock} {budget}", n_trials, rounds_for(budget - n_trials)),
        (f"{budget} and finalists{clock}", budget, EverySeed((5,) * 3)),
    )
    for name, n, plan in plans:
        with replay_home() as settings:
            study = search(make_spec(table, n, number, starts), table, trained, settings, virtual_slots)
        assert plan is not None
        verdict, _ = finals(study, table, plan, new)
        expected = None if verdict.expected is None else 100 * verdict.expected
        configuration = verdict.winner.candidate.hyperparameters
        found.append(Found(name, table.name, score(configuration), expected, 100 * verdict.winner.mean))
    return found


def replay_curves(place: int) -> list[Found]:
    """Every policy once on one dataset of LCBench."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen, others = curves()[place], [other for i, other in enumerate(curves()) if i != place]
    found = []
    learned = learned_from_curves(others, 4)
    for name, starts in (("ours", learned), ("ours, no starts", [])):
        found.append(search_curves(chosen, place, f"{name} {BUDGET}", starts))
    for name, sampler in (("tpe", optuna.samplers.TPESampler), ("random", optuna.samplers.RandomSampler)):
        best = plain_search(chosen, MARKS[3], sampler(seed=place))
        found += [Found(f"{name} {n}", chosen.name, 100 * best[n - 1], epochs=52 * n) for n in (BUDGET, MARKS[3])]
    return found


def search_curves(
    chosen: Curves,
    seed: int,
    name: str,
    starts: Sequence[Hyperparameters],
    budget: int = BUDGET,
    virtual_slots: int = 0,
) -> Found:
    """One search of ours on a dataset of LCBench."""
    with replay_home() as settings:
        study = search(make_spec(chosen, budget, seed, starts), chosen, 0, settings, virtual_slots)
    epochs = sum(len(trial.intermediate_values) for trial in study.get_trials(deepcopy=False))
    return Found(name, chosen.name, 100 * study.best_value, epochs=epochs)


def replay_tables(replay: Callable[[int, int], list[Found]], n_repetitions: int, n_processes: int) -> list[Found]:
    """The searches of a replay, which takes a number and the place of a table: every table, some times each."""
    tables()  # forked processes share them
    jobs = list(itertools.product(range(n_repetitions), range(len(tables()))))
    with ProcessPoolExecutor(n_processes) as pool:
        return list(itertools.chain(*pool.map(replay, *zip(*jobs, strict=True), chunksize=4)))


def replay_all(n_repetitions: int, n_processes: int) -> tuple[list[Found], list[Found]]:
    """Every policy on every table, some times each; and on datasets of LCBench, where that is there."""
    of_tables = replay_tables(replay_table, n_repetitions, n_processes)
    try:
        curves()
    except MissingDataError as error:
        print(f"LCBench is left out: {error}")
        return of_tables, []
    # A session of onnxruntime does not survive a fork.
    return of_tables, list(itertools.chain(*map(replay_curves, range(N_CURVES))))


def means(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """Mean score of each policy on each dataset, and the mean of these as ``mean``."""
    rows: dict[str, dict[str, list[float]]] = {}
    for each in found:
        rows.setdefault(each.policy, {}).setdefault(each.dataset, []).append(each.score)
    of_each = {policy: {name: float(np.mean(scores)) for name, scores in row.items()} for policy, row in rows.items()}
    return {policy: {**row, "mean": float(np.mean(list(row.values())))} for policy, row in of_each.items()}


@dataclass(frozen=True, slots=True)
class Bias:
    """By how much stated values are too high, in points.

    Attributes:
        expected: Of the value to expect.
        mean: Of the mean of the winner's runs.
        error: Standard error of the first.
        searches: How many were replayed.
    """

    expected: float
    mean: float
    error: float
    searches: int


def bias(found: Sequence[Found], policy: str) -> Bias:
    """The bias of what the finals of a policy state."""
    own = [each for each in found if each.policy == policy and each.expected is not None and each.mean is not None]
    gaps = np.array([[(each.expected or 0) - each.score, (each.mean or 0) - each.score] for each in own])
    error = float(gaps[:, 0].std(ddof=1) / np.sqrt(len(own)))
    return Bias(float(gaps[:, 0].mean()), float(gaps[:, 1].mean()), error, len(own))


def show(rows: dict[str, dict[str, float]]) -> None:
    """Prints means, a policy a line."""
    table = Shown("policy", *next(iter(rows.values())))
    for policy, row in rows.items():
        table.add_row(policy, *(f"{value:.2f}" for value in row.values()))
    console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=25, help="of each policy on each of the eight tables")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=RESULTS / "policy.json")
    given = parser.parse_args()
    began = time.perf_counter()
    of_tables, of_curves = replay_all(given.repetitions, given.processes)
    document: dict[str, object] = {"machine": machine(), "load": os.getloadavg()[0], "options": options(given)}
    document |= {"hpobench": means(of_tables), "lcbench": means(of_curves)}
    policies = tuple(dict.fromkeys(each.policy for each in of_tables if each.expected is not None))
    document["bias"] = {policy: asdict(bias(of_tables, policy)) for policy in policies}
    epochs = {each.policy: [] for each in of_curves}
    for each in of_curves:
        epochs[each.policy].append(each.epochs)
    document["epochs"] = {policy: float(np.mean(of_each)) for policy, of_each in epochs.items()}
    show(means(of_tables))
    if of_curves:
        show(
            {
                policy: {"mean": row["mean"], "epochs": np.mean(epochs[policy])}
                for policy, row in means(of_curves).items()
            }
        )
    for policy in policies:
        print(f"{policy}: {bias(of_tables, policy)}")
    document["seconds"] = round(time.perf_counter() - began, 1)
    write_result(given.output, document)


if __name__ == "__main__":
    main()
