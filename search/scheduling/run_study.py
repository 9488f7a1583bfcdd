"""Runs a study until its budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from search.devices.memory import require_fit
from search.devices.precision import PrecisionRule, settle, slow_note
from search.devices.work import Shape
from search.home.interrupts import interruptible
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.model_files import ModelKeeper
from search.optimization.baselines import PATIENCE_S, BaselineThread
from search.optimization.explanations import explain_finished
from search.optimization.leaderboard import TrialRow, baselines_of, frame, leaderboard
from search.optimization.provenance import facts, open_runs, run_tags
from search.optimization.samplers import exhausted_note, is_exhausted, make_sampler
from search.optimization.starts import require_fit_starts, settle_starts
from search.optimization.studies import (
    as_recorded,
    is_begun,
    keep_recorded_defaults,
    open_study,
    precision_rule,
    recorded_attributes,
    require_own_experiment,
)
from search.optimization.studies.budget import spent_study, timeout_note, used_note
from search.scheduling.clock.trial_clock import virtual_slots_of
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.recovery import record_runs
from search.scheduling.scheduler import Scheduler
from search.spec.study_spec import StudySpec
from search.storage import StoredStudy, open_storage, storage_errors
from search.storage.attributes import FACTS, TIMED_OUT
from search.storage.sharing import search_lock
from search.tracking.connection import open_home
from search.tracking.run_names import trial_run_name
from search.tracking.tracker import Tracker
from search.workers.pool import Pool
from search.workers.start import local_slots, prepare_pool, require_no_gpus, start_pool

_FILE_PATIENCE_S = 60.0  # another program may have locked MLflow's file

_MAX_DESCRIBED = 1000  # a call to MLflow each; the best come first

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The result of a search.

    Attributes:
        study: The study's name.
        rows: Every trial, the best first.
        wall_s: Seconds this run took.
        interrupted: Whether Ctrl-C ended it; to resume, call it again.
        undelivered: Runs that MLflow does not have yet; they wait in the spool.
        n_trained: Trials that this run finished; 0 where the study had used its budget before.
        waited_s: Seconds that the slots of this run waited for results of other slots, together.
        waited_share: That time as a share of the time that they had.
        n_slots: Slots of this run at its end; 0 where nothing was to be trained.
        asked_to_stop: Whether Ctrl-C was pressed, also in the last epoch of a timeout.
    """

    study: str
    rows: tuple[TrialRow, ...]
    wall_s: float
    interrupted: bool
    undelivered: int = 0
    n_trained: int = 0
    waited_s: float = 0.0
    waited_share: float = 0.0
    n_slots: int = 0
    asked_to_stop: bool = False

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


def run_study(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> StudyResult:
    """Starts a study, or resumes the one of that name, and runs it until its budget is spent.

    The parameters and the errors are those of ``search.run_study``, which shows this result in notebooks.
    """
    started = time.monotonic()
    settings, observer = read_settings(home), observer or Observer()
    spec, dataset = read_data(spec, settings, lambda: prepare_pool(pool), observer)
    if pool == "local":
        space = keep_recorded_defaults(settings, spec).space
        slots = local_slots(spec, dataset, settings, observer.note)
        require_fit(space.largest_network(), dataset, slots)
        _virtual_slots(settings, spec, len(slots))
    else:
        require_no_gpus(spec)
    observer.waiting("opening the databases")
    open_home(settings)
    with storage_errors(settings), study_lock(settings, spec.name) as settings, search_lock(settings, spec.name):
        spec = settle_starts(settings, spec, dataset, observer.note)
        if spent := spent_study(settings, spec, dataset.fingerprint):
            observer.note(exhausted_note(spec) if is_exhausted(spent, spec.space) else used_note(spec))
            _prune_models(spent, spec, settings, dataset, observer)
            return StudyResult(spec.name, tuple(leaderboard(spent)), time.monotonic() - started, interrupted=False)
        return _search(spec, settings, dataset, pool, observer, started)


def read_data(
    spec: StudySpec, settings: Settings, prepare: Callable[[], None], observer: Observer
) -> tuple[StudySpec, Dataset]:
    """Reads the data of a study that is run or forecast.

    Args:
        spec: The study as the user specified it.
        settings: Places of this process.
        prepare: Called before the data is read; it imports TensorFlow in another process meanwhile.
        observer: Watches.

    Returns:
        The study with all that its data decides, and its dataset.

    Raises:
        DataError, SpecError, UnavailableError: As for ``plan_study``.
    """
    make_sampler(spec, spec.seed)  # raises what is missing before anything begins
    require_own_experiment(settings, spec.name)
    prepare()
    spec = as_recorded(settings, spec)
    observer.waiting(f"reading {spec.data.source}")
    dataset = load(spec.data, settings.data_folders, observer.note, decide_folds=True)
    unfit = dataset.unfit(spec.shift)
    if not is_begun(settings, spec.name):
        require_fit_starts(spec, dataset.task, unfit)
    spec = spec.for_task(dataset.task, unfit)
    n_features, _, n_pieces = dataset.sizes
    return spec.with_folds(dataset.n_folds).for_size(dataset.n_rows, n_features, n_pieces), dataset


def _search(
    spec: StudySpec, settings: Settings, dataset: Dataset, pool: str, observer: Observer, started: float
) -> StudyResult:
    """Runs the scheduler in a pool of its own, and waits for MLflow."""
    open_storage(settings)  # a new home gets its tables while another process imports TensorFlow
    patience_s = 0.0 if settings.is_tracked_elsewhere else _FILE_PATIENCE_S
    tracker = Tracker(lambda: open_runs(settings, spec, dataset), observer.note, patience_s=patience_s)
    baselines = BaselineThread(dataset, baselines_of(recorded_attributes(settings, spec.name)), spec.space.class_weight)
    observer.waiting("starting the workers, which import TensorFlow")
    with tracker, closing(start_pool(pool, spec, dataset, settings)) as running_pool:
        if not settings.has_own_tracking:  # the home's file is there: training need not wait for MLflow's import
            observer.waiting("starting the workers, and waiting for MLflow")
            tracker.wait_connected()
        study, rule = _open_study(spec, settings, dataset, running_pool, observer)
        known = facts(dataset, running_pool, baselines.scores(0.0))
        study.set_user_attr(FACTS, known)
        shape, tags = Shape.of(dataset, rule), run_tags(dataset)
        context = StudyContext(spec, study, settings, tracker, observer, shape, tags)
        scheduler = Scheduler(context, running_pool, started)
        with interruptible(scheduler.interrupt):
            scheduler.run()
        n_slots = len(running_pool.slots)
        late = facts(dataset, running_pool, baselines.scores(PATIENCE_S))
        if late != known:
            study.set_user_attr(FACTS, late)
        _finish(context, scheduler)
    record_runs(study, tracker)
    study.refresh()
    scheduler.keeper.report(observer.note)
    return _result(study, scheduler, tracker, started, n_slots)


def _prune_models(
    study: StoredStudy, spec: StudySpec, settings: Settings, dataset: Dataset, observer: Observer
) -> None:
    """Deletes model files of a study that has used its budget: it may be run to keep fewer of them."""
    if spec.keep_models is None:
        return
    with Tracker(lambda: open_runs(settings, spec, dataset), observer.note) as tracker:
        keeper = ModelKeeper(study, tracker, spec.keep_models)
        keeper.prune()
    keeper.report(observer.note)


def _result(study: StoredStudy, scheduler: Scheduler, tracker: Tracker, started: float, n_slots: int) -> StudyResult:
    return StudyResult(
        study.study_name,
        tuple(leaderboard(study)),
        time.monotonic() - started,
        scheduler.interrupted,
        tracker.undelivered,
        scheduler.n_trained,
        round(scheduler.progress.waited_s, 3),
        round(scheduler.waited_share, 4),
        n_slots,
        scheduler.was_asked_to_stop,
    )


def _finish(context: StudyContext, scheduler: Scheduler) -> None:
    """Gives each trial's run its paragraph, as ``show`` has it now, and deletes the model files that nothing needs."""
    study = context.study
    study.refresh()
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    if scheduler.is_out_of_time and not unfinished:
        study.set_user_attr(TIMED_OUT, context.spec.timeout_s)
    if not scheduler.was_asked_to_stop and (note := timeout_note(study, context.spec)):
        context.observer.note(note)
    found = explain_finished(study, _MAX_DESCRIBED)
    context.tracker.describe({trial_run_name(each.row.number): each.text for each in found})
    scheduler.keeper.prune()


def _open_study(
    spec: StudySpec, settings: Settings, dataset: Dataset, pool: Pool, observer: Observer
) -> tuple[StoredStudy, PrecisionRule]:
    """Starts or resumes the study, and returns the rule of its precision, which is settled when it is started."""

    def settle_precision() -> PrecisionRule:
        return settle(spec.workers.precision, pool.slots, pool.has_bfloat16)

    virtual_slots = _virtual_slots(settings, spec, len(pool.slots))
    study = open_study(settings, spec, dataset.fingerprint, settle_precision, virtual_slots)
    rule = precision_rule(study.user_attrs)
    for line in slow_note(rule, pool.has_bfloat16):
        observer.note(line)
    return study, rule


def _virtual_slots(settings: Settings, spec: StudySpec, n_slots: int) -> int:
    """The slots of a new study's virtual clock; 0 where it has none."""
    if spec.deterministic is False:
        return 0
    return virtual_slots_of(settings, spec, max(n_slots, spec.workers.slots or 0))
