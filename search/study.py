"""What the command line and a notebook call: one function for each thing that can be done with a study."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.datasets import Dataset, load
from pipelines.errors import SpecError
from search.pools import Pool
from search.progress import Observer, Silent
from search.sampling import make_sampler
from search.settings import Settings, prepare_home, read_settings
from search.spec import StudySpec
from search.spool import entries
from search.storage import (
    ELAPSED,
    TrialRow,
    leaderboard,
    load_study,
    open_storage,
    open_study,
    study_lock,
    study_names,
)

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from search.tracking import DatasetInput, Runs

POOLS = ("local",)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a search came to.

    Attributes:
        study: The study's name.
        rows: Every trial, the best first.
        wall_s: Seconds this run took.
        interrupted: Whether Ctrl-C ended it; the same call goes on.
        undelivered: Runs that MLflow has not taken yet; they wait in the spool.
    """

    study: str
    rows: tuple[TrialRow, ...]
    wall_s: float
    interrupted: bool
    undelivered: int = 0

    @property
    def best(self) -> TrialRow | None:
        """The best complete trial."""
        return next((row for row in self.rows if row.state == "COMPLETE"), None)

    def count(self, state: str) -> int:
        """Trials in a state: COMPLETE, PRUNED, FAIL, RUNNING, WAITING."""
        return sum(row.state == state for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The trials as a pandas frame, one column a hyperparameter."""
        return frame(self.rows)


def frame(rows: tuple[TrialRow, ...] | list[TrialRow]) -> pd.DataFrame:
    """Trials as a pandas frame, indexed by their number, one column a hyperparameter."""
    import pandas as pd

    records = []
    for row in rows:
        record = asdict(row)
        records.append(record.pop("params") | record)
    return pd.DataFrame.from_records(records, index="number" if records else None)


def trials(name: str, *, home: Path | None = None) -> list[TrialRow]:
    """The trials of a study, the best first.

    Raises:
        NotFoundError: There is no study of that name.
    """
    return leaderboard(load_study(read_settings(home), name))


def run_study(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> StudyResult:
    """Starts a study, or goes on with the one of that name, until its budget is spent.

    Args:
        spec: The study, from ``read_spec`` or ``default_spec``.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.
        pool: ``local``, a process per core or GPU of this machine.
        observer: Watches; nobody does where it is not given.

    Returns:
        Every trial of the study. Ctrl-C ends it early and cleanly.

    Raises:
        DataError: The dataset cannot be used.
        SpecError: The study of that name searches something else.
        UnavailableError: A database, the tracking server or the home cannot be used.
    """
    from search.scheduler import Scheduler
    from search.tracking import Tracker

    started = time.monotonic()
    if pool not in POOLS:
        raise SpecError(f"--pool: must be {' or '.join(POOLS)}, got {pool!r}")
    make_sampler(spec, spec.seed)  # says what is missing before anything is begun
    settings = read_settings(home)
    observer = observer or Silent()
    if pool == "local":
        from search.pools.local import warm_up

        warm_up()
    dataset = load(spec.data, settings.data_folders)
    open_home(settings)
    with study_lock(settings, spec.name):
        if spent := _spent_study(settings, spec, dataset.fingerprint):
            observer.note(f"the budget of study {spec.name} was spent before; a larger one lets it go on")
            return StudyResult(spec.name, tuple(leaderboard(spent)), time.monotonic() - started, interrupted=False)
        tracker = Tracker(lambda: open_runs(settings, spec, dataset), observer.note)
        with started_pool(spec, dataset, settings) as running_pool:
            patience_s = 60.0
            try:
                tracker.wait_connected()
                study = open_study(settings, spec, dataset.fingerprint)
                scheduler = Scheduler(
                    spec, study, running_pool, tracker, settings, dataset.training.x[0].size, dataset.n_classes,
                    run_tags(dataset), observer, started,
                )  # fmt: skip
                with interruptible(scheduler.interrupt):
                    scheduler.run()
            except KeyboardInterrupt:
                patience_s = 2.0  # asked to end at once; what waits lies in the spool
                raise
            finally:
                undelivered = tracker.close(patience_s)
        scheduler.note_runs()
        rows = tuple(leaderboard(study))
    return StudyResult(spec.name, rows, time.monotonic() - started, scheduler.interrupted, undelivered)


def open_home(settings: Settings) -> None:
    """Makes the home, once what lies outside it has answered: where that is away, nothing half-made is left.

    Raises:
        UnavailableError: The tracking server, a database or the folder cannot be used.
    """
    from search.tracking import require_answer

    require_answer(settings)
    if str(settings.home) not in settings.optuna_storage:
        open_storage(settings)
    prepare_home(settings)


def _spent_study(settings: Settings, spec: StudySpec, fingerprint: str) -> optuna.Study | None:
    """The study, where nothing is left to do for it and no worker has to be started."""
    if spec.name not in study_names(settings) or any(entries(settings.spool, spec.name)):
        return None
    study = open_study(settings, spec, fingerprint)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    out_of_trials = spec.trials is not None and sum(state.is_finished() for state in states) >= spec.trials
    out_of_time = spec.timeout_s is not None and study.user_attrs.get(ELAPSED, 0.0) >= spec.timeout_s
    return study if out_of_trials or out_of_time else None


@contextmanager
def started_pool(spec: StudySpec, dataset: Dataset, settings: Settings) -> Iterator[Pool]:
    """The pool of a study, ready to train on a dataset; its processes end with the block."""
    from search.pools.local import LocalPool
    from search.slots import find_slots

    slots = find_slots(spec.workers.slots, settings.visible_devices)
    pool = LocalPool(dataset, slots, memory_mb=spec.workers.memory_mb)
    try:
        yield pool
    finally:
        pool.close()


def open_runs(settings: Settings, spec: StudySpec, dataset: Dataset) -> Runs:
    """The runs of a study's experiment."""
    from search.tracking import Runs

    searched = ", ".join(spec.space.distributions()) or "nothing, every dimension is fixed"
    description = (
        f"Search over {searched} for an MLP on **{dataset.name}**: {len(dataset.training.y)} training and"
        f" {len(dataset.validation.y)} validation rows, {dataset.n_classes} classes; the test rows are sealed."
        f" Sampler {spec.sampler}, pruner {spec.pruner}, seed {spec.seed}."
    )
    return Runs(settings, spec.name, description, dataset_input(dataset, spec.data.source))


def dataset_input(dataset: Dataset, source: str) -> DatasetInput:
    """What MLflow's page shows of a dataset."""
    from search.tracking import DatasetInput

    profile = {"training_rows": len(dataset.training.y), "validation_rows": len(dataset.validation.y)}
    return DatasetInput(dataset.name, dataset.fingerprint, source, profile)


def run_tags(dataset: Dataset) -> dict[str, str]:
    """Tags of every run: the dataset, and the code that trained it."""
    tags = {"dataset.fingerprint": dataset.fingerprint, "mlflow.source.name": "mlp-search"}
    commit = git_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def git_commit() -> str:
    """The commit of this package's own checkout; "" where it was installed from a wheel or git is missing."""
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


_SECOND_CTRL_C_S = 0.5


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, calls ``interrupt``; the second ends everything at once.

    ``timeout`` and service managers send one signal twice, to the process and to its group: that counts as one.
    """
    pressed: float | None = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, stack: object) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed is None:
            pressed = time.monotonic()
            interrupt()
        elif time.monotonic() - pressed > _SECOND_CTRL_C_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
