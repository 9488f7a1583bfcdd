"""Trainings of small networks from the command line, and their runs in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from command_line import call
from mlflow import MlflowClient
from mlflow.entities import Run

SMALL = ("--width", 16, "--depth", 1, "--batch-size", 64)
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


def train(home: Path, *options: object) -> dict[str, Any]:
    answer = call("train", "digits", *map(str, options), "--home", home, "--json")
    assert answer.code == 0, answer.err
    found = answer.json()
    assert isinstance(found, dict)
    return found


def artifact(client: MlflowClient, run_id: str, name: str) -> Path:
    return Path(client.download_artifacts(run_id, name))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an ``.h5``."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def assert_same_arrays(one: Path, other: Path) -> None:
    ours, theirs = arrays(one), arrays(other)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 4
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


def curves(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    return {name: [(p.step, p.value) for p in client.get_metric_history(run_id, name)] for name in METRICS}


def experiment(client: MlflowClient) -> str:
    return str(client.get_experiment_by_name("train-digits").experiment_id)


def last_run(client: MlflowClient) -> Run:
    return client.search_runs([experiment(client)], order_by=["attributes.start_time DESC"], max_results=1)[0]
