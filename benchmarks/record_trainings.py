"""Trains the same configurations on real data and records their values, for ``learn_starts.py`` to learn from.

Each source has the split or the folds that a study of it would have, and one seed. What is recorded already is not
trained again, so it can be ended at any time.
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
import optuna
from learn_starts import known_configurations
from peers.table_rows import TARGETS

from pipelines.config import DataConfig, Hyperparameters
from search.spec.reading import default_spec

OUTPUT = harness.RESULTS / "trainings.json"
ARRAYS = ("digits", "mnist", "fashion_mnist")


def candidates(preset: str, n: int) -> list[Hyperparameters]:
    """What other data recommends, and random configurations of a preset's space."""
    space = default_spec("digits", preset=preset).space
    known = [space.complete(values) for values in known_configurations()]
    inside = [Hyperparameters(**values) for values, problems in known if not problems]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return list(dict.fromkeys((*inside, *(space.suggest(study.ask()) for _ in range(n)))))


def sources(folder: Path) -> Iterator[tuple[str, DataConfig]]:
    """Every source by name, the quickest first."""
    yield "digits", DataConfig("digits")
    for name, target in TARGETS.items():
        yield name, DataConfig(str(folder / "tables" / f"{name}.csv"), target=target)
    for name in ARRAYS[1:]:
        yield name, DataConfig(name)


def train(rows: Any, configuration: Hyperparameters, objective: str) -> dict[str, Any]:
    """Trains a configuration to its end: its best value, and the seconds that it took."""
    from pipelines.training.training import Training

    began = time.perf_counter()
    training = Training(rows, configuration, 1, objective=objective)
    for report in training:
        if not report.is_finite:
            break
    value = training.results[0].best_value
    return {"params": configuration.to_json(), "value": value, "seconds": round(time.perf_counter() - began, 2)}


def record(arguments: argparse.Namespace) -> None:
    """Trains what is missing, source by source, until the time is over."""
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(1)
    from pipelines.data.loading import load
    from pipelines.objectives import DEFAULT_OBJECTIVES
    from pipelines.training.rows import TrainingRows

    ends = time.monotonic() + 60 * arguments.minutes
    document = json.loads(arguments.output.read_text()) if arguments.output.exists() else {"sources": {}}
    for name, config in sources(arguments.data):
        if arguments.sources and name not in arguments.sources:
            continue
        dataset = load(config, [arguments.data], decide_folds=True)
        objective, rows = DEFAULT_OBJECTIVES[dataset.task], TrainingRows.of(dataset)
        known = document["sources"].setdefault(name, {"objective": objective, "trainings": []})
        done = [training["params"] for training in known["trainings"]]
        for configuration in candidates(arguments.preset, arguments.random):
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
    parser.add_argument("--preset", default="classic")
    parser.add_argument("--random", type=int, default=32, help="random configurations beside the known ones")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    record(parser.parse_args())


if __name__ == "__main__":
    main()
