"""Whether folds choose a better configuration than one split, measured on held-out rows.

``python benchmarks/folds_choice.py [--sources NAME ...] [--seeds N] [--jobs N]`` runs a study with one split and one
with five folds for each source and seed, which is the seed of the split too. The best configuration of each is trained
with three new seeds on all rows but the held-out ones, up to its best epoch, and scored on these. It prints the mean
difference with its 95 % interval over seeds, and writes results/folds_choice.json. The exit code is 1 where folds are
not better in the mean over all sources. An hour on two cores; ``--sources digits --seeds 1 --trials 4`` is a quick try.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np
from folds import N_FOLDS, SOURCES, place_of
from peers.table_rows import TARGETS
from rich.table import Table
from scipy import stats

import search
from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.loading import load
from pipelines.data.sealed import open_test
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training
from search.finals.training.jobs import joined

_TRAINING_SEEDS = (101, 102, 103)

Row = dict[str, Any]
"""The held-out scores of the two configurations of a source and seed."""


def choose(source: str, seed: int, folds: int, options: argparse.Namespace) -> tuple[Hyperparameters, int]:
    """The best configuration of a study with so many folds, and its best epoch."""
    given = {"target": TARGETS.get(source), "folds": folds, "trials": options.trials, "slots": 1}
    spec = search.default_spec(place_of(source, options), seed=seed, split_seed=seed, **given)
    with harness.temporary_home() as home:
        result = search.run_study(spec, home=home)
    best = result.best
    if best is None or best.best_epoch is None:
        raise SystemExit(f"{source}, seed {seed}: no trial is complete")
    return Hyperparameters(**best.params), best.best_epoch


def score(config: DataConfig, chosen: Hyperparameters, epoch: int, folders: Sequence[Path]) -> float:
    """The mean accuracy on the held-out rows of networks trained on all others."""
    dataset = replace(joined(load(config, folders)), validation=open_test(config, folders))
    training = Training(TrainingRows.of(dataset), chosen, _TRAINING_SEEDS)
    for number, _ in enumerate(training, 1):
        if number == epoch:
            break
    return float(np.mean([result.report.metrics["val_accuracy"] for result in training.results if result.report]))


def compare(source: str, seed: int, options: argparse.Namespace) -> Row:
    config = DataConfig(place_of(source, options), target=TARGETS.get(source), split_seed=seed, folds=N_FOLDS)
    scores = {}
    for name, folds in (("one_split", 1), ("folds", N_FOLDS)):
        chosen, epoch = choose(source, seed, folds, options)
        scores[name] = score(config, chosen, epoch, [options.data])
    print(f"{source}, seed {seed}: {scores['one_split']:.4f} and {scores['folds']:.4f}", file=sys.stderr)
    return {"source": source, "seed": seed, **scores}


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """The mean difference of accuracies and its 95 % interval by Student's t, with one of them every difference."""
    mean = float(np.mean(differences))
    if len(differences) < 2:
        return mean, -1.0, 1.0
    half = float(stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences))
    return mean, mean - half, mean + half


def differences(rows: Sequence[Row]) -> dict[str, tuple[float, float, float]]:
    """By source, and of all: ``interval`` of what folds gain."""
    sources = [*dict.fromkeys(row["source"] for row in rows), "all"]
    return {source: interval([row["folds"] - row["one_split"] for row in rows_of(rows, source)]) for source in sources}


def rows_of(rows: Sequence[Row], source: str) -> list[Row]:
    return [row for row in rows if source in ("all", row["source"])]


def result_of(rows: Sequence[Row], arguments: argparse.Namespace) -> dict[str, Any]:
    found = differences(rows)
    gain = found["all"][0]
    return {
        "options": harness.options(arguments),
        "rows": rows,
        "differences": {name: dict(zip(("mean", "low", "high"), each, strict=True)) for name, each in found.items()},
        "holds": {f"the configuration that {N_FOLDS} folds choose is better by {gain:+.4f}, more than 0": gain > 0},
    }


def table(rows: Sequence[Row], trials: int) -> Table:
    view = Table(title=f"Held-out accuracy of the configuration that {trials} trials choose")
    for column in ("source", "seeds", "one split", f"{N_FOLDS} folds", "difference", "95 % interval"):
        view.add_column(column, justify="left" if column == "source" else "right")
    for source, (mean, low, high) in differences(rows).items():
        own = rows_of(rows, source)
        means = (f"{np.mean([row[name] for row in own]):.4f}" for name in ("one_split", "folds"))
        view.add_row(source, str(len(own)), *means, f"{mean:+.4f}", f"{low:+.4f} to {high:+.4f}")
    return view


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2, help="studies at the same time, each in one slot")
    parser.add_argument("--data", type=Path, help="folder of tables/ and mnist.npz")
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "folds_choice.json")
    arguments = parser.parse_args()
    arguments.data = harness.data_folder(arguments.data)
    return arguments


def main() -> int:
    arguments = parse_arguments()
    pairs = [(source, seed) for seed in range(arguments.seeds) for source in arguments.sources]
    machine, rows = harness.machine(), list[Row]()
    for name in harness.FOREIGN:  # the studies have homes of their own
        os.environ.pop(name, None)
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for job in as_completed([pool.submit(compare, *pair, arguments) for pair in pairs]):
            rows.append(job.result())
            rows.sort(key=lambda row: (row["source"], row["seed"]))
            result = {"machine": machine, **result_of(rows, arguments)}
            harness.write_result(arguments.output, result)  # what was trained is not lost
    harness.console().print(table(rows, arguments.trials))
    harness.show_verdicts(list(result["holds"].items()))
    return 0 if all(result["holds"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
