"""Accuracy and time in bfloat16 and in float32: the panel's configurations, each with the same seeds in both.

``python benchmarks/precision.py [--sources mnist ...] [--seeds N]`` prints a table and writes results/precision.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import harness
from peers.problem import CONFIGURATIONS, Configuration
from rich.table import Table

from pipelines.config import DataConfig, Hyperparameters, Precision
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.resources import count_cores
from search.devices.precision import cpu_has_bfloat16, precision_of
from search.devices.slots import Slot
from search.training.probes import ProbeRunner
from search.workers import Outcome, Task
from search.workers.local_pool import LocalPool

SOURCES = ("mnist", "fashion_mnist")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MEAN_LIMIT, SINGLE_LIMIT = 0.1, 0.3
"""Points of accuracy by which the means of all configurations, and of any single one, may differ."""

Row = dict[str, Any]
"""The figures of a configuration, or of all together."""


def compare(dataset: Dataset, configurations: Sequence[Configuration], n_seeds: int, epochs: int) -> list[Row]:
    """Trains each configuration with each seed in both precisions, a training a core, and returns a row for each."""
    trained = [Hyperparameters(**values, epochs=epochs) for values in configurations]
    keys = [(hp, seed, precision) for hp in trained for seed in range(n_seeds) for precision in PRECISIONS]
    tasks = [Task(number, hp, seed, precision=precision) for number, (hp, seed, precision) in enumerate(keys)]
    slots = [Slot(number, f"cpu:{number}") for number in range(count_cores())]
    with closing(LocalPool(dataset, slots)) as pool:
        runner = ProbeRunner(pool, tasks)
        runner.run()
    outcomes = {key: runner.outcomes[number] for number, key in enumerate(keys)}
    sizes = dataset.training.x[0].size, dataset.n_outputs
    rows = []
    for hp in trained:
        by_precision = {p: [outcomes[hp, seed, p] for seed in range(n_seeds)] for p in PRECISIONS}
        rows.append(_row(hp, by_precision, precision_of("by_size", hp, *sizes)))
    return rows


def _row(hp: Hyperparameters, outcomes: dict[Precision, list[Outcome]], of_rule: Precision) -> Row:
    values = {p: [outcome.best_value for outcome in of_precision] for p, of_precision in outcomes.items()}
    seconds = {p: sum(outcome.duration_s for outcome in of_precision) for p, of_precision in outcomes.items()}
    return {
        "configuration": f"{hp.width}x{hp.depth} {hp.optimizer} batch {hp.batch_size}",
        "rule": of_rule,
        "values": values,
        "points": 100 * (statistics.fmean(values["bfloat16"]) - statistics.fmean(values["float32"])),
        "seconds": seconds,
    }


def summary(rows: Sequence[Row]) -> Row:
    """By how many points of accuracy the means of all configurations differ, and those of the one that differs most."""
    points = [row["points"] for row in rows]
    furthest = max(points, key=abs)
    seconds = {p: sum(row["seconds"][p] for row in rows) for p in PRECISIONS}
    return {
        "mean_points": statistics.fmean(points),
        "furthest_points": furthest,
        "times_as_fast": seconds["float32"] / seconds["bfloat16"],
        "holds": abs(statistics.fmean(points)) < MEAN_LIMIT and abs(furthest) <= SINGLE_LIMIT,
    }


def table(source: str, rows: Sequence[Row], found: Row) -> Table:
    view = Table(title=f"{source}: best validation accuracy, mean over the seeds")
    view.add_column("configuration", no_wrap=True)
    for column in ("float32", "bfloat16", "points", "spread of float32", "times as fast", "the rule takes"):
        view.add_column(column, justify="right")
    for row in rows:
        values, seconds = row["values"], row["seconds"]
        view.add_row(
            row["configuration"],
            *(f"{statistics.fmean(values[p]):.4f}" for p in PRECISIONS),
            f"{row['points']:+.2f}",
            f"{100 * statistics.pstdev(values['float32']):.2f}",
            f"{seconds['float32'] / seconds['bfloat16']:.2f}",
            row["rule"],
        )
    view.add_section()
    view.add_row("all", "", "", f"{found['mean_points']:+.2f}", "", f"{found['times_as_fast']:.2f}", "")
    return view


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--configurations", type=int, nargs="+", metavar="N", help="only these of the panel, from 0")
    parser.add_argument("--data", type=Path, help="folder of mnist.npz and fashion_mnist.npz")
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "precision.json")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    folder = harness.data_folder(arguments.data)
    if not cpu_has_bfloat16():
        print("this processor does not multiply bfloat16 natively: the times say little", file=sys.stderr)
    numbers = arguments.configurations or range(len(CONFIGURATIONS))
    chosen = [CONFIGURATIONS[number] for number in numbers]
    result: dict[str, Any] = {"machine": harness.machine(), "epochs": arguments.epochs, "seeds": arguments.seeds}
    for source in arguments.sources:
        dataset = load(DataConfig(source), [folder])
        rows = compare(dataset, chosen, arguments.seeds, arguments.epochs)
        found = summary(rows)
        harness.console().print(table(source, rows, found))
        result[source] = {**found, "configurations": rows}
    harness.write_result(arguments.output, result)
    return 0 if all(result[source]["holds"] for source in arguments.sources) else 1


if __name__ == "__main__":
    raise SystemExit(main())
