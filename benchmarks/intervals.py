"""Coverage of the intervals of finalists, and the rate at which equal configurations differ significantly.

Simulated networks: row r has a difficulty, network s a skill, and each pair a chance of its own; a network is right
where their sum, all of them normal, is above 0. So a network's accuracy on all other rows is known exactly. Skill and
chance vary over a network's epochs, and as in a training the epoch with the best validation accuracy counts. With
``--source``, real networks: those of one configuration and five seeds on random rows of a dataset, each at its best
epoch, whose intervals are compared with the same networks' accuracy on 10,000 other rows.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pipelines.evaluation import ALPHA
from pipelines.evaluation.intervals import Scores, difference_p, interval
from pipelines.evaluation.tests import paired_test

if TYPE_CHECKING:
    from pipelines.network.epoch import Rows

OTHER_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class World:
    """One simulated setting.

    Attributes:
        accuracy: Expected accuracy of every network.
        n_rows: Validation rows.
        agreement: Correlation of two networks of one configuration on the same row, before the threshold.
        skill: Standard deviation of a network's skill, in the standard deviations of a row's difficulty and chance.
        taste: Share of the agreement that is the configuration's own: other configurations do not have it.
        n_epochs: Epochs to choose from; half of the variance of skill and chance is theirs.
    """

    accuracy: float
    n_rows: int
    agreement: float = 0.9
    skill: float = 0.02
    taste: float = 0.1
    n_epochs: int = 4


def draw(rng: np.random.Generator, world: World, n_seeds: int, n: int = 1) -> tuple[list[Scores], list[float]]:
    """The scores of ``n`` equal configurations on the same rows, and their networks' accuracies on all other rows."""

    def normal(variance: float, *shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(variance))

    shared = normal(world.agreement * (1 - world.taste), world.n_rows)
    center = np.float32(stats.norm.ppf(world.accuracy) * np.sqrt(1 + world.skill**2))
    scores, accuracies = [], []
    for _ in range(n):
        rows = shared + normal(world.agreement * world.taste, world.n_rows)
        rows = rows + normal((1 - world.agreement) / 2, n_seeds, world.n_rows)
        skills = center + normal(world.skill**2 / 2, n_seeds, 1) + normal(world.skill**2 / 2, n_seeds, world.n_epochs)
        best = np.full((n_seeds, world.n_rows), False)
        best_skill = np.zeros(n_seeds)
        for epoch in range(world.n_epochs):
            right = skills[:, [epoch]] + rows + normal((1 - world.agreement) / 2, n_seeds, world.n_rows) > 0
            better = right.mean(axis=1) > best.mean(axis=1)
            best[better], best_skill[better] = right[better], skills[better, epoch]
        scores.append(best.astype(float))
        accuracies.append(float(stats.norm.cdf(best_skill).mean()))
    return scores, accuracies


def student(scores: Scores) -> tuple[float, float]:
    """The interval over the seeds alone."""
    means = scores.mean(axis=1)
    half = stats.sem(means) * stats.t.ppf(0.975, len(means) - 1)
    return float(means.mean() - half), float(means.mean() + half)


def is_within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def coverage(world: World, n_seeds: int, n_times: int, seed: int = 0) -> dict[str, float]:
    """Shares of the simulations in which the same networks' accuracy on other rows is covered."""
    rng, covered = np.random.default_rng(seed), []
    for _ in range(n_times):
        (scores,), (accuracy,) = draw(rng, world, n_seeds)
        covered.append([is_within(accuracy, bounds(scores)) for bounds in (interval, student)])
    return dict(zip(("rows and seeds", "seeds alone"), np.mean(covered, axis=0), strict=True))


def false_alarms(world: World, n_seeds: int, n_times: int, seed: int = 0) -> dict[str, float]:
    """Shares of the simulations in which one of two equal configurations is called significantly better."""
    rng, called = np.random.default_rng(seed), []
    for _ in range(n_times):
        (first, second), _ = draw(rng, world, n_seeds, 2)
        over_seeds = paired_test(first.mean(axis=1), second.mean(axis=1)).p_value < ALPHA
        called.append((over_seeds and difference_p(first, second) < ALPHA, over_seeds))
    return dict(zip(("rows and seeds", "seeds alone"), np.mean(called, axis=0), strict=True))


def _right_rows(rows: Rows, weights: Sequence[np.ndarray]) -> np.ndarray:
    """(n_rows,) bool, the rows that a network classifies correctly."""
    from pipelines.network.architecture import Architecture
    from pipelines.network.epoch import build_evaluation

    network = Architecture(len(weights) // 2 - 1)
    outputs = build_evaluation(network, "cross_entropy", keep_outputs=True)(rows, weights)[2]
    return np.asarray(outputs.numpy().argmax(axis=1) == rows.y.numpy())


def real(source: str, folder: Path, n_train: int, n_rows: int, n_times: int) -> dict[str, float]:
    """``coverage`` of networks of width 64, five seeds and eight epochs on rows that are drawn again each time."""
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(None)
    from pipelines.config import DataConfig, Hyperparameters
    from pipelines.data.datasets import Split
    from pipelines.data.loading import load
    from pipelines.training.rows import TrainingRows
    from pipelines.training.training import Training

    base, rng, covered = load(DataConfig(source), [folder]), np.random.default_rng(1), []
    whole = [np.concatenate([getattr(split, name) for split in (base.training, base.validation)]) for name in "xy"]
    hp = Hyperparameters(width=64, depth=1, dropout=0.0, optimizer="adam", learning_rate=0.003, epochs=8, batch_size=64)
    for time in range(n_times):
        order = rng.permutation(len(whole[1]))
        chosen = np.split(order, np.cumsum([n_train, n_rows, OTHER_ROWS]))[:3]
        training, validation, other = (Split(*(values[rows] for values in whole)) for rows in chosen)
        rows = TrainingRows.of(replace(base, training=training, validation=validation))
        others = TrainingRows.of(replace(base, training=training, validation=other)).validation
        scores, accuracies = [], []
        for seed in range(5):
            network = Training(rows, hp, 1000 * time + seed)
            for _ in network:
                pass
            scores.append(_right_rows(rows.validation, network.results[0].best).astype(float))
            accuracies.append(_right_rows(others, network.results[0].best).mean())
        found = np.stack(scores)
        covered.append([is_within(float(np.mean(accuracies)), bounds(found)) for bounds in (interval, student)])
    return dict(zip(("rows and seeds", "seeds alone"), np.mean(covered, axis=0), strict=True))


def worlds() -> list[World]:
    accuracies, rows, agreements, skills = (0.8, 0.9, 0.975), (270, 2000, 12_000), (0.8, 0.9), (0.0, 0.02, 0.05)
    return [World(*values) for values in itertools.product(accuracies, rows, agreements, skills)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=1000, help="simulations of each world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--source", help="train real networks on this dataset instead")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, nargs=2, default=(3000, 1000), help="training and validation rows")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    given = parser.parse_args(arguments)
    if given.source:
        figures = [real(given.source, given.data, *given.rows, given.times)]
    else:
        figures = [
            {"seeds": n_seeds, **asdict(world)}
            | {f"covers {name}": share for name, share in coverage(world, n_seeds, given.times).items()}
            | {f"alarms {name}": share for name, share in false_alarms(world, n_seeds, given.times).items()}
            for n_seeds in given.seeds
            for world in worlds()
        ]
    from harness import show_figures  # beside this script; the tests import its simulations from elsewhere

    show_figures(figures, given.output)


if __name__ == "__main__":
    main()
