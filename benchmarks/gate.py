"""How often at least one of many equal challengers passes the gate, one after the other on the same test rows.

Row r has a difficulty that all models share, and each model a chance of its own with it: a model is right where their
sum, both normal, is above 0. All models are equal: their expected accuracies are the same.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from pipelines.evaluation import ALPHA
from search.registry.gate import Reading, pass_gate


@dataclass(frozen=True, slots=True)
class World:
    """What is simulated.

    Attributes:
        accuracy: Expected accuracy of every model.
        n_rows: Test rows.
        agreement: Correlation of two models on the same row, before the threshold.
        n_challengers: Challengers in a row.
    """

    accuracy: float = 0.97
    n_rows: int = 1000
    agreement: float = 0.8
    n_challengers: int = 20


def draw(rng: np.random.Generator, world: World) -> list[Reading]:
    """The champion and its challengers."""
    shape = world.n_challengers + 1, world.n_rows
    difficulty = rng.normal(0, np.sqrt(world.agreement), world.n_rows)
    chance = rng.normal(0, np.sqrt(1 - world.agreement), shape)
    right = stats.norm.ppf(world.accuracy) + difficulty + chance > 0
    return [Reading(f"model {number}", "f", row) for number, row in enumerate(right)]


def passes(world: World, n_times: int, *, is_spent: bool = True, alpha: float = ALPHA, seed: int = 0) -> float:
    """The share of simulations in which at least one challenger passes.

    Args:
        world: What is simulated.
        n_times: Simulations.
        is_spent: Whether alpha is spent over the challengers; otherwise each is tested as if it were the first and
            had all of alpha.
        alpha: The gate's significance level.
        seed: Of the simulation.
    """
    rng, n_passed = np.random.default_rng(seed), 0
    for _ in range(n_times):
        champion, *challengers = draw(rng, world)
        if is_spent:
            verdicts = (pass_gate(it, champion, alpha, nth) for nth, it in enumerate(challengers, start=1))
        else:
            verdicts = (pass_gate(it, champion, 2 * alpha) for it in challengers)
        n_passed += any(verdict.passed for verdict in verdicts)
    return n_passed / n_times


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000, help="simulations of each world")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    given = parser.parse_args(arguments)
    figures = []
    for accuracy, n_rows, agreement in itertools.product((0.9, 0.97), (1000, 10_000), (0.5, 0.8)):
        world = World(accuracy, n_rows, agreement)
        shares = {f"alpha {what}": passes(world, given.times, is_spent=what == "spent") for what in ("spent", "each")}
        figures.append(asdict(world) | shares)
    from harness import show_figures  # beside this script; the tests import its simulations from elsewhere

    show_figures(figures, given.output)


if __name__ == "__main__":
    main()
