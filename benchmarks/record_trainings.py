"""Trains the same configurations on real data and records their values, for ``learn_starts.py`` to learn from.

Each source has the split of a study of one fold. What is recorded already is not trained again, so it can be ended at
any time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from learn_starts import Evidence, candidates, known_starts, regrets_on_curves, regrets_on_tables
from peers.table_rows import TARGETS
from recorded import hpobench, lcbench

from pipelines.config import DataConfig, Hyperparameters

OUTPUT = harness.RESULTS / "trainings.json"
ARRAYS = ("digits", "mnist", "fashion_mnist")


def configurations(n: int) -> list[Hyperparameters]:
    """Today's starts of small sources, what recorded trainings of others recommend, and random ones."""
    known, pool = known_starts()["few_rows"], candidates(256)
    groups = {"HPOBench": regrets_on_tables(hpobench(), pool), "LCBench": regrets_on_curves(lcbench(), pool)}
    recommended = Evidence(pool, groups, dict.fromkeys(groups, 0.5)).choose(8)
    return list(dict.fromkeys((*known, *(pool[place] for place in recommended), *pool)))[:n]


def sources(folder: Path) -> Iterator[tuple[str, DataConfig]]:
    """Every source by name, with one split: it has as many networks as two seeds, not ten."""
    for name, target in TARGETS.items():
        yield name, DataConfig(str(folder / "tables" / f"{name}.csv"), target=target, folds=1)
    for name in ARRAYS:
        yield name, DataConfig(name, folds=1)


def train(rows: Any, configuration: Hyperparameters, objective: str) -> dict[str, Any]:
    """Trains a configuration to its end with two seeds: their mean best value, and the processor time that it took."""
    from pipelines.training.training import Training

    began = time.process_time()
    training = Training(rows, configuration, (1, 2), objective=objective)
    for _ in training:
        pass
    value = sum(result.best_value for result in training.results) / 2
    return {"params": configuration.to_json(), "value": value, "seconds": round(time.process_time() - began, 2)}


def record(arguments: argparse.Namespace) -> None:
    """Trains what is missing, source by source, until the time is over."""
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(1)
    from pipelines.data.loading import load
    from pipelines.objectives import DEFAULT_OBJECTIVES
    from pipelines.training.rows import TrainingRows

    ends = time.monotonic() + 60 * arguments.minutes
    wanted = configurations(arguments.configurations)
    document = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"sources": {}}
    for name, config in sources(arguments.data):
        if arguments.sources and name not in arguments.sources:
            continue
        dataset = load(config, [arguments.data], decide_folds=True)
        objective, rows = DEFAULT_OBJECTIVES[dataset.task], TrainingRows.of(dataset)
        known = document["sources"].setdefault(name, {"objective": objective, "trainings": []})
        done = [training["params"] for training in known["trainings"]]
        for configuration in wanted:
            if time.monotonic() > ends:
                return
            if configuration.to_json() not in done:
                known["trainings"].append(train(rows, configuration, objective))
                arguments.output.write_text(json.dumps(document, indent=1) + "\n")
        print(name, len(known["trainings"]), flush=True)


def main() -> None:
    beside = harness.FOLDER.parent.parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MLP_SEARCH_DATA", beside)))
    parser.add_argument("--sources", nargs="+", choices=[*ARRAYS, *TARGETS])
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    record(parser.parse_args())


if __name__ == "__main__":
    main()
