"""What a search finds in few trainings: sampler, pruner, learned starts and finalists on recorded trainings.

HPOBench: our scheduler and our finals on a simulated pool, with starts learned from the other seven tables, beside
plain Optuna. The score of what a search chooses is its mean over recorded seeds that nobody selected with. LCBench: the
same with curves, on which the pruner acts.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import optuna
from learn_starts import learned_from
from recorded import N_SEEDS, Table, hpobench
from replay import finals, make_spec, plain_optuna, replay_home, search

from search.automatic.shares import n_search, rounds_for

BUDGET = 16
MARKS = (8, 16, 32, 48, 64)


@dataclass(frozen=True, slots=True)
class Found:
    """What one search of one table chose.

    Attributes:
        policy: Its name.
        table: The table's.
        score: In points, of what it chose, over seeds that nobody selected with.
        stated: What it said of that, in points; None where it said nothing.
        leader: What its best trial's value was, in points.
    """

    policy: str
    table: str
    score: float
    stated: float | None = None
    leader: float | None = None


@cache
def tables() -> list[Table]:
    return hpobench()


def repetition(number: int, place: int, marks: Sequence[int] = MARKS) -> list[Found]:
    """Every policy once on one table: they train with one recorded seed, and are scored with the same other ones."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table, others = tables()[place], [other for i, other in enumerate(tables()) if i != place]
    seeds = np.random.default_rng([number, place]).permutation(N_SEEDS)
    trained, new, held_out = int(seeds[0]), [int(seed) for seed in seeds[1:4]], seeds[4:]

    def score(configuration: object) -> float:
        return float(np.mean([100 * table.curve(configuration, int(seed))[0] for seed in held_out]))  # type: ignore[arg-type]

    found = [ours(table, others, number, trained, new, score)]
    for name, sampler in (("tpe", optuna.samplers.TPESampler), ("random", optuna.samplers.RandomSampler)):
        best = plain_optuna(table, trained, max(marks), sampler(seed=number))
        found += [Found(f"{name} {mark}", table.name, score(best[mark - 1])) for mark in marks]
    return found


def ours(table: Table, others: Sequence[Table], number: int, trained: int, new: Sequence[int], score) -> Found:
    """``run --auto --trials 16`` with starts learned from other tables."""
    n_trials = n_search(BUDGET)
    starts = learned_from(others, n_trials // 2)
    spec = make_spec(table, n_trials, number, starts)
    with replay_home() as settings:
        study = search(spec, table, trained, settings)
    verdict, n_runs = finals(study, table, rounds_for(BUDGET - n_trials), new)
    assert n_trials + n_runs <= BUDGET
    expected = None if verdict.expected is None else 100 * verdict.expected
    chosen = verdict.winner.candidate
    return Found(f"ours {BUDGET}", table.name, score(chosen.hyperparameters), expected, 100 * study.best_value)


def replay_all(n_repetitions: int, n_processes: int) -> list[Found]:
    """Every policy on every table, some times each."""
    tables()  # forked processes share them
    jobs = list(itertools.product(range(n_repetitions), range(len(tables()))))
    with ProcessPoolExecutor(n_processes) as pool:
        found = pool.map(repetition, *zip(*jobs, strict=True), chunksize=4)
        return [each for several in found for each in several]


def means(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """Mean score of each policy on each table, and the mean of these as ``mean``."""
    policies, names = dict.fromkeys(each.policy for each in found), dict.fromkeys(each.table for each in found)
    rows = {
        policy: {name: np.mean([e.score for e in found if (e.policy, e.table) == (policy, name)]) for name in names}
        for policy in policies
    }
    return {policy: {**row, "mean": np.mean(list(row.values()))} for policy, row in rows.items()}


def bias(found: Sequence[Found]) -> tuple[float, float, int]:
    """By how much a winner's stated value is too high in the mean, its standard error, and of how many searches."""
    gaps = [each.stated - each.score for each in found if each.stated is not None]
    return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps))), len(gaps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=25, help="of each policy on each of the eight tables")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    began = time.perf_counter()
    found = replay_all(given.repetitions, given.processes)
    rows = means(found)
    for policy, row in rows.items():
        print(f"{policy:12}", *(f"{value:8.2f}" for value in row.values()))
    print(list(rows["ours 16"]))
    print("bias", bias(found), time.perf_counter() - began)


if __name__ == "__main__":
    main()
