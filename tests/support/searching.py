"""Searches with an observer or in a process of their own, and their runs in MLflow."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
from forked import Forked
from waiting import PATIENCE_S

from pipelines.data.datasets import Dataset
from search.scheduling.progress import Observer, Progress


@dataclass
class Watcher(Observer):
    """Records notes and may act on progress."""

    act: Callable[[Progress], None] = lambda progress: None
    lines: list[str] = field(default_factory=list)

    def update(self, progress: Progress) -> None:
        self.act(progress)

    def note(self, line: str) -> None:
        self.lines.append(line)


def runs_of(client: mlflow.MlflowClient, study: str) -> dict[str, Any]:
    experiment = client.get_experiment_by_name(study)
    assert experiment
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def workers() -> list[psutil.Process]:
    """The processes in which trials train: children of the fork server, which is a child of ours."""
    family = psutil.Process().children(recursive=True)
    return [
        process for process in family if process.ppid() != os.getpid() and "forkserver" in " ".join(process.cmdline())
    ]


class Search:
    """A searching process of its own, with a wait for its lines."""

    def __init__(self, home: Path, name: str, slots: int = 1) -> None:
        script = Path(__file__).with_name("studies.py")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "OPTUNA_"))}
        self.process = Forked([script, home, name, str(slots)], stderr=2, env=environ, start_new_session=True)
        self.lines: list[str] = []
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()

    def wait_for(self, pattern: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if re.search(pattern, line):
                return
        raise AssertionError(f"{pattern!r} did not come, it ended with {self.process.wait()}: {self.lines}")

    def rest(self) -> int:
        """Reads to the end; returns the exit code."""
        assert self.process.stdout
        self.lines += [line.rstrip() for line in self.process.stdout]
        return self.process.wait()

    def end(self) -> None:
        self._watchdog.cancel()
        for process in [*psutil.Process().children(recursive=True)]:
            if process.pid == self.process.pid:
                for child in process.children(recursive=True):
                    child.kill()
        self.process.kill()
        self.process.wait()


def assert_scores_as_logged(client: mlflow.MlflowClient, run: Any, dataset: Dataset, folder: Path) -> None:
    import keras

    model = keras.models.load_model(client.download_artifacts(run.info.run_id, "model.h5", str(folder)))
    rows = dataset.validation
    assert rows.x.dtype == np.uint8
    accuracy = np.mean(model.predict(rows.x, 4096, verbose=0).argmax(1) == rows.y)
    assert accuracy == pytest.approx(run.data.metrics["best_val_accuracy"], abs=1e-4)
