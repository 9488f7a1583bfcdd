"""The rate at which at least one of many equal challengers passes the gate, tested in a row on the same test rows.

Row r has a difficulty that all models share, and each model a chance of its own with it: a model is right where their
sum, both normal, is above 0. For other metrics than accuracy, that sum is added to the log-odds of each class, or to
the value. All models are equal: their expected metrics are the same.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from pipelines.evaluation import ALPHA
from pipelines.evaluation.predictions import Predictions
from search.registry.gate import Reading, pass_gate


@dataclass(frozen=True, slots=True)
class World:
    """One simulated setting.

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


@dataclass(frozen=True, slots=True)
class MetricWorld:
    """One simulated setting of a metric.

    Attributes:
        metric: Of the objective, without its rows; see ``METRICS``.
        n_rows: Test rows.
        shares: Of the classes, each with a row at least; () for a regression.
        skill: What a model adds to the log-odds of the right class.
        degrees: Of Student's distribution, that of a regression's targets and errors: 3 has heavy tails.
        agreement: Correlation of the errors of two models on the same row.
        n_challengers: Challengers in a row.
    """

    metric: str
    n_rows: int = 500
    shares: tuple[float, ...] = (0.94, 0.06)
    skill: float = 2.0
    degrees: int = 3
    agreement: float = 0.6
    n_challengers: int = 20


METRICS = ("loss", "balanced_accuracy", "macro_f1", "auc", "average_precision", "rmse", "mae", "r2")


def draw(rng: np.random.Generator, world: World | MetricWorld) -> list[Reading]:
    """The champion and its challengers."""
    if isinstance(world, MetricWorld):
        draw_one = draw_classes(rng, world) if world.shares else draw_values(rng, world)
        readings = (Reading(f"model {n}", "f", None, predictions=draw_one()) for n in range(world.n_challengers + 1))
        return list(readings)
    shape = world.n_challengers + 1, world.n_rows
    difficulty = rng.normal(0, np.sqrt(world.agreement), world.n_rows)
    chance = rng.normal(0, np.sqrt(1 - world.agreement), shape)
    right = stats.norm.ppf(world.accuracy) + difficulty + chance > 0
    return [Reading(f"model {number}", "f", row) for number, row in enumerate(right)]


def draw_classes(rng: np.random.Generator, world: MetricWorld) -> Callable[[], Predictions]:
    """Draws the rows; returns what draws the predictions of a model."""
    counts = np.maximum(1, np.round(world.n_rows * np.array(world.shares))).astype(int)
    labels, shape = np.repeat(np.arange(len(counts)), counts), (counts.sum(), len(counts))
    shared = np.sqrt(world.agreement) * rng.normal(size=shape) + np.log(world.shares)
    shared += world.skill * np.eye(len(counts))[labels]

    def model() -> Predictions:
        odds = np.exp(shared + np.sqrt(1 - world.agreement) * rng.normal(size=shape))
        probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        return Predictions(probabilities, labels, np.array(world.shares))

    return model


def draw_values(rng: np.random.Generator, world: MetricWorld) -> Callable[[], Predictions]:
    """Draws the rows of a regression; returns what draws the predictions of a model."""
    targets, shared = rng.standard_t(world.degrees, (2, world.n_rows))

    def model() -> Predictions:
        own = rng.standard_t(world.degrees, world.n_rows)
        errors = np.sqrt(world.agreement) * shared + np.sqrt(1 - world.agreement) * own
        return Predictions(targets + errors, targets, np.zeros(1))

    return model


def passes(
    world: World | MetricWorld, n_times: int, *, is_spent: bool = True, alpha: float = ALPHA, seed: int = 0
) -> float:
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
    metric = world.metric if isinstance(world, MetricWorld) else "accuracy"
    for _ in range(n_times):
        champion, *challengers = draw(rng, world)
        if is_spent:
            verdicts = (pass_gate(it, champion, alpha, nth, metric) for nth, it in enumerate(challengers, start=1))
        else:
            verdicts = (pass_gate(it, champion, 2 * alpha, 1, metric) for it in challengers)
        n_passed += any(verdict.passed for verdict in verdicts)
    return n_passed / n_times


def metric_worlds() -> Iterator[MetricWorld]:
    """Small and larger test sets, with classes of equal size, rare classes, and tails of two kinds."""
    for metric, n_rows in itertools.product(METRICS, (60, 500)):
        if metric not in ("rmse", "mae", "r2"):
            for shares in ((0.5, 0.5), (0.94, 0.06), (0.98, 0.02), (0.5, 0.3, 0.1, 0.06, 0.04)):
                yield MetricWorld(metric, n_rows, shares)
        else:
            for degrees in (3, 30):
                yield MetricWorld(metric, n_rows, (), degrees=degrees)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000, help="simulations of each world")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    given = parser.parse_args(arguments)
    from harness import show_figures  # beside this script; the tests import its simulations from elsewhere

    figures = []
    for accuracy, n_rows, agreement in itertools.product((0.9, 0.97), (1000, 10_000), (0.5, 0.8)):
        world = World(accuracy, n_rows, agreement)
        shares = {f"alpha {what}": passes(world, given.times, is_spent=what == "spent") for what in ("spent", "each")}
        figures.append(asdict(world) | shares)
    show_figures(figures, given.output)
    show_figures([asdict(world) | {"alpha spent": passes(world, given.times)} for world in metric_worlds()], None)


if __name__ == "__main__":
    main()
