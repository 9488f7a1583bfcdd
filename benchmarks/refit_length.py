"""The length of a refit, which has no validation rows: rules by its runs' curves, measured on held-out rows.

``python benchmarks/refit_length.py [--sources NAME ...] [--configurations N]`` trains random configurations with three
seeds on the training rows, and with three others on training and validation rows together, scores the latter after each
epoch on the held-out rows, and prints what each rule gains over the mean best epoch: in accuracy, or as a share of the
RMSE. Half an hour for the default sources on two cores.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np
from folds import place_of
from peers.table_rows import TARGETS
from rich.table import Table

from pipelines.config import DataConfig, Hyperparameters

SOURCES = ("hotel", "diamonds", "credit", "fashion_mnist")
RULES = ("within one standard error", "whole schedule", "best mean")
_SEEDS, _OTHER_SEEDS = (1, 2, 3), (11, 12, 13)


def configurations(n: int) -> list[Hyperparameters]:
    """Random points of the strong space, without its extremes."""
    rng = random.Random(0)

    def between(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.random())

    return [
        Hyperparameters(
            width=round(between(192, 640)),
            depth=rng.choice([1, 2, 2, 3]),
            dropout=round(rng.uniform(0.05, 0.4), 3),
            optimizer=rng.choice(["adam", "adamw", "adamw"]),
            learning_rate=between(1e-3, 1.5e-2),
            schedule=rng.choice(["cosine", "onecycle"]),
            epochs=rng.choice([20, 30, 40]),
            activation=rng.choice(["relu", "silu"]),
            normalization=rng.choice(["batch", "batch", "none"]),
            weight_decay=between(1e-3, 5e-2),
            ema=rng.choice([0.0, 0.99]),
        )
        for _ in range(n)
    ]


def gains(rows: Any, hp: Hyperparameters, seeds: tuple[int, ...], objective: Any) -> np.ndarray:
    """(n_epochs, n_seeds) values of the objective with the sign that makes more better."""
    from pipelines.training.training import Training

    training = Training(rows, hp, seeds, objective=objective.name)
    values = [[result.report.metrics[objective.name] for result in training.results if result.report] for _ in training]
    return np.asarray(objective.gain(1.0) * np.array(values))


def lengths(validation: np.ndarray) -> dict[str, int]:
    """Epochs by each rule, from (n_epochs, n_seeds) validation values."""
    means = validation.mean(axis=1)
    best = int(means.argmax())
    error = validation[best].std(ddof=1) / np.sqrt(validation.shape[1])
    latest = int(np.flatnonzero(means >= means[best] - error)[-1])
    found = dict(zip(RULES, (latest + 1, len(means), best + 1), strict=True))
    return found | {"mean best": max(1, round(float(validation.argmax(axis=0).mean() + 1)))}


def measure(source: str, options: argparse.Namespace) -> list[dict[str, float]]:
    """The gain of each rule over the mean best epoch, for each configuration."""
    from pipelines.data.loading import load
    from pipelines.data.sealed import open_test
    from pipelines.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
    from pipelines.training.rows import TrainingRows
    from search.finals.training.jobs import joined

    config = DataConfig(place_of(source, options), target=TARGETS.get(source), folds=1)
    dataset, found = load(config, [options.data]), []
    objective = OBJECTIVES[DEFAULT_OBJECTIVES[dataset.task]]
    whole = TrainingRows.of(replace(joined(dataset), validation=open_test(config, [options.data])))
    rows = TrainingRows.of(dataset)
    for hp in configurations(options.configurations):
        chosen = lengths(gains(rows, hp, _SEEDS, objective))
        held_out = gains(whole, hp, _OTHER_SEEDS, objective).mean(axis=1)
        base = held_out[chosen["mean best"] - 1]
        unit = 1.0 if objective.maximize else abs(base)
        found.append({rule: float(held_out[chosen[rule] - 1] - base) / unit for rule in RULES})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--configurations", type=int, default=8)
    parser.add_argument("--data", type=Path, help="folder of tables/ and mnist.npz")
    options = parser.parse_args()
    options.data = harness.data_folder(options.data)
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(None)
    view = Table(title="Gain over the mean best epoch on held-out rows (standard error)")
    for column in ("source", "configurations", *RULES):
        view.add_column(column, justify="left" if column == "source" else "right")
    for source in options.sources:
        rows = measure(source, options)
        spread = np.sqrt(len(rows))
        cells = []
        for rule in RULES:
            each = [row[rule] for row in rows]
            cells.append(f"{np.mean(each):+.4f} ({np.std(each, ddof=1) / spread if len(each) > 1 else 0:.4f})")
        view.add_row(source, str(len(rows)), *cells)
    harness.console().print(view)


if __name__ == "__main__":
    main()
