"""Replays a search on recorded trainings: our scheduler with a simulated pool, our finalists, and plain Optuna."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from recorded import GRID, Recording, Table, configuration_at
from virtual_pool import SteppingClock, VirtualPool

from pipelines.config import Hyperparameters
from search.devices.work import Shape
from search.finals.finalist import candidates, make_finalist
from search.finals.selection import Plan, Verdict, judge, n_rejecting
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.pruners import make_pruner
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.scheduler import Scheduler
from search.spec.reading import spec_from_dict
from search.spec.study_spec import StudySpec
from search.storage.attributes import SPEC, VIRTUAL_SLOTS
from search.storage.stored_study import StoredStudy
from search.tracking.run_names import finalist_run_name
from search.workers.pool import Event
from search.workers.tasks import Task

_FOLDER = Path("/dev/shm")


class MemoryStorage(InMemoryStorage):
    """A storage in memory with the methods that a study needs beside Optuna's."""

    def refresh(self, *numbers: int) -> None:
        """There is no other process."""

    def transaction(self) -> AbstractContextManager[None]:
        """Every write is done at once."""
        return nullcontext()


class Untracked:
    """Stands where the tracker does, and keeps nothing."""

    def opened(self) -> list[tuple[str, str]]:
        return []

    def end(self, run_name: str, folder: Path) -> None:
        shutil.rmtree(folder)

    def __getattr__(self, name: str) -> Any:
        return self._nothing

    def _nothing(self, *given: object, **options: object) -> None:
        """Every other message of a search."""


class ReplayPool(VirtualPool):
    """Answers with the recorded curves of a dataset.

    Args:
        recording: The dataset.
        seed: The recorded seed that every training has.
        n_slots: How many slots.
        clock: What the scheduler goes by too.
    """

    def __init__(self, recording: Recording, seed: int, n_slots: int, clock: SteppingClock) -> None:
        super().__init__(n_slots, 1.0, clock)
        self._recording, self._seed = recording, seed

    def poll(self, timeout_s: float) -> list[Event]:
        return super().poll(math.inf)  # nothing else happens meanwhile

    def training_of(self, task: Task) -> tuple[Sequence[float], float]:
        configuration = task.hyperparameters
        return self._recording.curve(configuration, self._seed), self._recording.epoch_s(configuration)


@contextmanager
def replay_home() -> Iterator[Settings]:
    """A home for the spool of replays, in memory where there is room."""
    parent = _FOLDER if _FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="replay-", dir=parent) as folder:
        settings = read_settings(Path(folder), {})
        prepare_home(settings)
        yield settings


def make_spec(
    recording: Recording, n_trials: int, seed: int, starts: Sequence[Hyperparameters] = (), **search: Any
) -> StudySpec:
    """A study of a recording's space."""
    document = {
        "study": {"name": "replay", "trials": n_trials, "seed": seed},
        "data": {"source": "digits", "task": "classification", "folds": 1},
        "space": dict(recording.space),
        "search": search,
    }
    return replace(spec_from_dict(document).for_task("classification"), start=tuple(starts))


def search(spec: StudySpec, recording: Recording, seed: int, settings: Settings, virtual_slots: int = 0) -> StoredStudy:
    """Runs our scheduler on a recording until the study's budget is spent.

    Args:
        spec: The study.
        recording: Its dataset.
        seed: The recorded seed that every trial has.
        settings: Where the spool is.
        virtual_slots: Of the study's virtual clock; 0 means that it has none, and one real slot sees every result.
    """
    storage = MemoryStorage()
    storage.create_new_study([StudyDirection.MAXIMIZE], spec.name)
    study = StoredStudy(spec.name, storage, make_pruner(spec))
    study.set_user_attr(SPEC, spec.to_json())
    if virtual_slots:
        study.set_user_attr(VIRTUAL_SLOTS, virtual_slots)
    clock = SteppingClock()
    pool = ReplayPool(recording, seed, 1, clock)
    tracker: Any = Untracked()
    context = StudyContext(spec, study, settings, tracker, Observer(), Shape(1000, 10, 2), {})
    Scheduler(context, pool, 0.0, clock.now).run()
    return study


def finals(study: StoredStudy, recording: Recording, plan: Plan, seeds: Sequence[int]) -> tuple[Verdict, int]:
    """Runs the finals of a search on a recording.

    Args:
        study: A finished search.
        recording: Its dataset.
        plan: Which finalist gets which seeds.
        seeds: The recorded seed of each seed number, from 1.

    Returns:
        The verdict, and how many trainings led to it.
    """
    found, results = candidates(study, plan.sizes[0]), dict[str, Mapping[str, Any]]()
    while True:
        finalists = [make_finalist(candidate, len(plan.sizes), results) for candidate in found]
        missing = plan.runs(finalists)
        if not missing:
            return judge(finalists, n_rejecting(plan.sizes), prefers_small=plan.prefers_small), len(results)
        rank, number = missing[0]
        curve = recording.curve(found[rank].hyperparameters, seeds[number - 1])
        value, name = max(curve), finalist_run_name(found[rank].trial, number)
        results[name] = {"best_val_accuracy": value, "best_epoch": curve.index(value) + 1, "run_id": None}


def plain_optuna(table: Table, seed: int, n_trials: int, sampler: optuna.samplers.BaseSampler) -> list[Hyperparameters]:
    """The best configuration of plain Optuna so far, after each trial, on one table of HPOBench.

    Each dimension is the index of its value, as the package's own example has it.
    """
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space: dict[str, Any] = {name: IntDistribution(0, len(values) - 1) for name, values in GRID.items()}
    best: list[Hyperparameters] = []
    for _ in range(n_trials):
        trial = study.ask(space)
        place = tuple(trial.params[name] for name in GRID)
        study.tell(trial, float(table.values[(*place, seed)]))
        leader = study.best_trial.params
        best.append(configuration_at([leader[name] for name in GRID]))
    return best


def plain_search(recording: Recording, n_trials: int, sampler: optuna.samplers.BaseSampler) -> list[float]:
    """The best value of plain Optuna so far, after each trial trained to its end, on our dimensions."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = make_spec(recording, n_trials, 0).space
    best: list[float] = []
    for _ in range(n_trials):
        trial = study.ask(space.distributions())
        study.tell(trial, max(recording.curve(space.suggest(trial), 0)))
        best.append(study.best_value)
    return best
