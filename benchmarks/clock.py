"""The cost of the virtual clock for a search: the same recorded trainings with and without it.

HPOBench has one value for each training, LCBench has curves. The searches are those of ``policy.py``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from harness import RESULTS, machine, options, write_result
from learn_starts import learned_from_curves
from policy import BUDGET, CLOCK_SLOTS, N_CURVES, Found, curves, replay_table, replay_tables, search_curves
from recorded import MissingDataError

BUDGETS = (16, 17, 18)
"""Trainings of the searches on the clock; those without it have 16."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much searches on the clock are better than those without it, in points.

    Attributes:
        mean: Over pairs of searches.
        error: Its standard error.
        searches: How many pairs.
    """

    mean: float
    error: float
    searches: int


def replay_curves(place: int, n_seeds: int) -> list[Found]:
    """Our search of one dataset of LCBench with and without the clock."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen, others = curves()[place], [other for i, other in enumerate(curves()) if i != place]
    learned = learned_from_curves(others, 4)
    on_clock = ((f"ours, on the clock {budget}", budget, CLOCK_SLOTS) for budget in BUDGETS)
    searches = ((f"ours {BUDGET}", BUDGET, 0), *on_clock)
    return [
        search_curves(chosen, seed, name, learned, budget, slots)
        for seed in range(n_seeds)
        for name, budget, slots in searches
    ]


def differences(found: Sequence[Found]) -> dict[str, Difference]:
    """The difference that the clock makes, by policy; searches are paired in the order that they have."""
    scores: dict[str, list[float]] = {}
    for each in found:
        scores.setdefault(each.policy, []).append(each.score)
    result = {}
    for policy in (policy for policy in scores if "on the clock" in policy):
        without = f"ours {BUDGET}" if policy.startswith("ours") else f"{BUDGET} and finalists"
        gaps = np.subtract(scores[policy], scores[without])
        result[policy] = Difference(float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps))), len(gaps))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=50, help="on each of the eight tables of HPOBench")
    parser.add_argument("--seeds", type=int, default=20, help=f"on each of {N_CURVES} datasets of LCBench")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=RESULTS / "clock.json")
    given = parser.parse_args()
    began = time.perf_counter()
    replay = partial(replay_table, n_plain=0, on_clock=BUDGETS)
    found = {"hpobench": replay_tables(replay, given.repetitions, given.processes)}
    try:
        with ProcessPoolExecutor(given.processes) as pool:  # each process opens its own sessions of onnxruntime
            on_curves = partial(replay_curves, n_seeds=given.seeds)
            found["lcbench"] = list(itertools.chain(*pool.map(on_curves, range(N_CURVES))))
    except MissingDataError as error:
        print(f"LCBench is left out: {error}")
    document: dict[str, object] = {"machine": machine(), "load": os.getloadavg()[0], "options": options(given)}
    for name, searches in found.items():
        document[name] = {policy: asdict(each) for policy, each in differences(searches).items()}
        for policy, each in differences(searches).items():
            print(f"{name}: {policy}: {each.mean:+.3f} (standard error {each.error:.3f}, {each.searches} searches)")
    document["seconds"] = round(time.perf_counter() - began, 1)
    write_result(given.output, document)


if __name__ == "__main__":
    main()
