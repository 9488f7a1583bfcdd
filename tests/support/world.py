"""A home on which studies are searched by scripts: both databases are real, training is not."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import mlflow
from scripted_pool import Script, ScriptedPool, by_width

from pipelines.config import DataConfig
from search.devices.precision import settle
from search.devices.work import Shape
from search.home.settings import Settings
from search.optimization.leaderboard import TrialRow, leaderboard
from search.optimization.run_records import record_run_id
from search.optimization.samplers import TrialSampler
from search.optimization.studies import load_study, open_study, precision_rule
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer, Progress
from search.scheduling.recovery import record_runs
from search.scheduling.scheduler import Scheduler
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import RESULT
from search.tracking.entries import MODEL_FILE, Entry, Epoch, RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.spool import write_entry
from search.tracking.tracker import Tracker
from search.workers.tasks import Task

SPACE = SearchSpace({"width": Range(8, 64), "depth": Choice((1, 2)), "epochs": Choice((4,))})
SIX = SearchSpace({"width": Choice((8, 16, 32)), "depth": Choice((1, 2)), "epochs": Choice((4,))})
_names = itertools.count()


@dataclass
class Watcher(Observer):
    """Records notes and may act on progress."""

    lines: list[str] = field(default_factory=list)
    act: Any = None

    def update(self, progress: Progress) -> None:
        if self.act:
            self.act(progress)

    def note(self, line: str) -> None:
        self.lines.append(line)


class Nowhere(Runs):
    """Takes runs as MLflow does, and keeps none."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def open(self, start: RunStart) -> str:
        return f"run-{next(self._numbers)}"

    def find(self, run_name: str) -> list[Any]:
        return []

    def is_there(self, run_id: str) -> bool:
        return True

    def _take(self, *given: object) -> None:
        pass

    log = end = kill = discard = describe = _take


@dataclass
class World:
    """A home on which studies are searched by scripts.

    Attributes:
        settings: Its places.
        is_tracked: Whether its runs are sent to MLflow, which takes most of the time of a scripted study.
    """

    settings: Settings
    is_tracked: bool = True

    def connect(self, study: str) -> Runs:
        """Where the runs of a study go."""
        if not self.is_tracked:
            return Nowhere()
        return Runs(self.settings, study, "", DatasetInput("digits", "f00d", "digits"))

    def spec(self, **changes: Any) -> StudySpec:
        name = f"study-{next(_names)}"
        return replace(
            StudySpec(
                name=name, data=DataConfig("digits", folds=1), space=SPACE, trials=6, sampler="random", pruner="none"
            ),
            **changes,
        )

    def search(
        self,
        spec: StudySpec,
        pool: ScriptedPool,
        act: Any = None,
        virtual_slots: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> Watcher:
        """Runs a scheduler to its end; ``act(scheduler, progress)`` is called as the observer is."""
        watcher = Watcher()
        tracker = Tracker(lambda: self.connect(spec.name), watcher.note)
        tracker.wait_connected()
        study = open_study(
            self.settings,
            spec,
            "f00d",
            lambda: settle(spec.workers.precision, pool.slots, lambda: True),
            virtual_slots,
        )
        tags, rule = {"dataset.fingerprint": "f00d"}, precision_rule(study.user_attrs)
        context = StudyContext(spec, study, self.settings, tracker, watcher, Shape(1000, 64, 10, rule), tags)
        scheduler = Scheduler(context, pool, now(), now)
        watcher.act = act and (lambda progress: act(scheduler, progress))
        try:
            scheduler.run()
        finally:
            left = tracker.close()
            record_runs(study, tracker)
        assert left == 0
        return watcher

    def rows(self, spec: StudySpec) -> list[TrialRow]:
        return sorted(leaderboard(load_study(self.settings, spec.name)), key=lambda row: row.number)

    def runs(self, spec: StudySpec) -> dict[str, Any]:
        client = self.client
        experiment = client.get_experiment_by_name(spec.name)
        assert experiment
        found = client.search_runs([experiment.experiment_id])
        assert len({run.info.run_name for run in found}) == len(found), "one run a trial"
        return {run.info.run_name: run for run in found}

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.settings.tracking_uri)


def states(rows: Iterable[TrialRow]) -> list[str]:
    return [row.state for row in rows]


def script(by_number: Mapping[int, list[list[float | str]]]) -> Script:
    """A script with incidents for single trials, attempt by attempt; other trials follow ``by_width``."""

    def play(task: Task, attempt: int) -> Iterable[float | str]:
        attempts = by_number.get(task.number, [])
        return attempts[attempt - 1] if attempt <= len(attempts) else by_width(task, attempt)

    return play


def interrupt_after(n_epochs: int) -> Any:
    """Interrupts at the first update after that many reported epochs."""
    seen: Counter[str] = Counter()

    def act(scheduler: Scheduler, progress: Progress) -> None:
        for view in progress.slots.values():
            if view.report:
                seen[f"{view.run_name} {view.report.epoch}"] = 1
        if len(seen) >= n_epochs:
            scheduler.interrupt()

    return act


@dataclass
class Left:
    """Trial 0 as a killed process leaves it after each of its steps."""

    world: World
    spec: StudySpec

    def __post_init__(self) -> None:
        self.study = open_study(self.world.settings, self.spec, "f00d")
        self.study.sampler = TrialSampler(self.spec, self.study)
        self.trial = self.study.ask()
        hp = self.spec.space.suggest(self.trial)
        self.params = self.trial.params
        tags = {"study": self.spec.name, "trial": "0", "device": "gone:0"}
        self.start = RunStart(self.spec.name, "trial-0000", 1_700_000_000_000, asdict(hp) | {"seed": 1}, tags)
        self.epochs = tuple(Epoch(n, 1_700_000_000_000 + n, {"loss": 0.5, "val_accuracy": 0.77}) for n in (1, 2, 3, 4))

    def opened(self) -> str:
        runs = Runs(self.world.settings, self.spec.name, "", None)
        run_id = runs.open(self.start)
        runs.log(run_id, self.start.params, self.epochs[:2], None)
        record_run_id(self.study, "trial-0000", run_id)
        return run_id

    def reported(self) -> None:
        for epoch in (1, 2):
            self.trial.report(0.77, epoch)

    def spooled(self) -> Entry:
        result = {"params": dict(self.start.params), "best_val_accuracy": 0.77, "best_epoch": 1, "epochs_trained": 4}
        entry = Entry(
            self.start, 1_700_000_009_000, "COMPLETE", 0.77, result, self.epochs, {"best_val_accuracy": 0.77},
            {"trial.state": "COMPLETE"}, 0,
        )  # fmt: skip
        write_entry(self.world.settings.spool, entry, {MODEL_FILE: b"model"})
        return entry

    def told(self, entry: Entry) -> None:
        self.trial.set_user_attr(RESULT, dict(entry.result))
        self.study.tell(self.trial, entry.value)
