"""A small study on digits that several tests run, and as a program: ``python studies.py HOME NAME SLOTS``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from search.optimization.leaderboard import TrialRow
from search.scheduling.progress import Observer, Progress
from search.scheduling.run_study import StudyResult, run_study
from search.spec.reading import spec_from_dict
from search.spec.study_spec import StudySpec


def small_spec(name: str, *, trials: int | None = 15, slots: int = 1, **tables: Any) -> StudySpec:
    """Trials of some hundredths of a second, among them enough that ASHA prunes."""
    document = {
        "study": {"name": name, "seed": 2, **({"trials": trials} if trials else {})},
        "data": {"source": "digits", "folds": 1},
        "space": {
            "width": {"low": 8, "high": 64},
            "depth": [1, 2],
            "dropout": {"low": 0.0, "high": 0.4},
            "optimizer": ["rmsprop", "adam"],
            "learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
            "schedule": ["constant", "cosine"],
            "epochs": {"low": 3, "high": 10},
            "batch_size": [64, 128],
        },
        "search": {"sampler": "tpe", "pruner": "asha"},
        "workers": {"slots": slots},
    }
    return spec_from_dict({key: document.get(key, {}) | tables.get(key, {}) for key in {**document, **tables}
                           if key != "start"} | {"start": tables.get("start", [])})  # fmt: skip


def figures(result: StudyResult) -> list[tuple[Any, ...]]:
    """The figures that must be equal in two studies, by number."""
    return [figure(row) for row in sorted(result.rows, key=lambda row: row.number)]


def figure(row: TrialRow) -> tuple[Any, ...]:
    return row.number, row.state, row.params, row.value, row.best_epoch, row.epochs_trained


class Printer(Observer):
    """Prints what happens, a line each."""

    def update(self, progress: Progress) -> None:
        for view in progress.slots.values():
            if view.report:
                print(f"{view.run_name} in training, epoch {view.report.epoch}", flush=True)

    def note(self, line: str) -> None:
        print(line, flush=True)


if __name__ == "__main__":
    spec = small_spec(sys.argv[2], slots=int(sys.argv[3]))
    result = run_study(spec, home=Path(sys.argv[1]), observer=Printer())
    print(f"interrupted: {result.interrupted}", flush=True)
