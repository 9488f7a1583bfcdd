"""Trains one configuration on one dataset: one run in MLflow, no study."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from pipelines.config import layers
from pipelines.data.datasets import Dataset, load
from pipelines.errors import SpecError, TrainingError, UnavailableError
from search.devices.memory import require_fit
from search.devices.slots import find_slots
from search.home.interrupts import interruptible
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.optimization.leaderboard import TrialRow
from search.optimization.provenance import dataset_input, run_tags
from search.scheduling.dispatcher import Job
from search.scheduling.progress import Observer
from search.scheduling.trial_results import ResultWriter
from search.spec.study_spec import WorkerSettings
from search.tracking.connection import open_home
from search.tracking.entries import Entry, RunStart, now_ms
from search.tracking.experiment_view import plain
from search.tracking.run_names import training_run_name
from search.tracking.runs import Runs
from search.tracking.spool import entries
from search.tracking.tracker import Tracker
from search.training.configuration import TrainingSpec
from search.training.continuation import EPOCHS_TAG, SPEC_TAG, Earlier, read_earlier
from search.training.training_runner import TrainingRunner
from search.workers.local_pool import LocalPool, warm_up
from search.workers.tasks import StopReason, Task

_HURRY_S = 2.0  # how long MLflow gets after an error or a second Ctrl-C


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        row: As in a leaderboard; its number is 0. Epochs count from the first run where this one goes on from another.
        stop_reason: Why it ended: finished, interrupted, or diverged where the loss was no longer a number.
        undelivered: Runs that MLflow has not taken yet; they wait in the spool.
    """

    row: TrialRow
    stop_reason: StopReason
    undelivered: int = 0


def train_once(spec: TrainingSpec, *, home: Path | None = None, observer: Observer | None = None) -> TrainingResult:
    """Trains one configuration and logs it as a run of the experiment ``train-SOURCE``.

    The run has ``model.h5``, the best epoch's weights, and ``checkpoint.h5``, the last epoch's with the optimizer's
    state, which ``continue_training`` goes on from.

    Args:
        spec: The configuration and its data.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.
        observer: Watches; nobody does where it is not given.

    Returns:
        What it came to. Ctrl-C ends it after the epoch in training.

    Raises:
        DataError: The dataset cannot be used.
        TrainingError: It cannot be trained; the run is there, FAILED.
        UnavailableError: The tracking server or the home cannot be used.
    """
    return _train(spec, read_settings(home), observer or Observer(), None)


def continue_training(
    run_id: str,
    *,
    home: Path | None = None,
    observer: Observer | None = None,
    **given: Any,
) -> TrainingResult:
    """Goes on exactly where a run of ``train_once`` stopped: five epochs and five more are ten.

    The new run has the earlier one's epochs too, and the best weights of all of them.

    Args:
        run_id: The run in MLflow.
        home: As for ``train_once``.
        observer: As for ``train_once``.
        **given: ``epochs``, how many more; without it, those that an interruption left. Anything else has to be as
            it was.

    Raises:
        NotFoundError: There is no such run, or it has no checkpoint.
        SpecError: An option or the data is not the run's.
        InputError: A file of the run was changed.
        DataError, TrainingError, UnavailableError: As for ``train_once``.
    """
    settings = read_settings(home)
    earlier = read_earlier(settings, run_id)
    return _train(earlier.go_on(given), settings, observer or Observer(), earlier)


def _train(spec: TrainingSpec, settings: Settings, observer: Observer, earlier: Earlier | None) -> TrainingResult:
    slot = find_slots(WorkerSettings(slots=1), settings.visible_devices, trial_mb=0)[0]
    warm_up()
    dataset = load(spec.data, settings.data_folders)
    require_fit(spec.hyperparameters, dataset, [slot])
    _require_same_rows(dataset, earlier)
    open_home(settings)
    parts = layers(spec.hyperparameters, dataset.training.x[0].size, dataset.n_classes)
    observer.begin(parts)
    job = _job(spec, dataset, sum(layer.n_parameters for layer in parts), earlier)
    with ExitStack() as stack:
        left = _left_by_others(spec, settings, stack)
        tracker = Tracker(lambda: _open_runs(spec, settings, dataset), observer.note)
        stack.callback(tracker.close, _HURRY_S)
        pool = stack.enter_context(closing(LocalPool(dataset, [slot])))
        tracker.wait_connected()
        for folder in left:
            tracker.deliver(folder)
        runner = TrainingRunner(pool, observer, ResultWriter(settings.spool, tracker), job, earlier)
        with interruptible(runner.interrupt):
            runner.run()
        undelivered = tracker.close()
        ending = runner.ending
        if ending.state == "FAIL":
            raise TrainingError(ending.tags["message"])
        row = _row(spec, ending, dict(tracker.opened()).get(job.name))
        return TrainingResult(row, cast(StopReason, ending.tags["stop_reason"]), undelivered)


def _require_same_rows(dataset: Dataset, earlier: Earlier | None) -> None:
    if earlier and earlier.fingerprint != dataset.fingerprint:
        raise SpecError(
            f"{dataset.name}: must hold the rows that run {earlier.run_id} was trained on, got others: they"
            " were changed since, or are split another way"
        )


def _left_by_others(spec: TrainingSpec, settings: Settings, stack: ExitStack) -> list[Path]:
    """Results in the spool that no running process is about to deliver; the lock lasts as long as ``stack``."""
    try:
        own = stack.enter_context(study_lock(settings, spec.experiment))
    except UnavailableError:
        return []
    return [] if own.process_index else list(entries(settings.spool, spec.experiment))


def _open_runs(spec: TrainingSpec, settings: Settings, dataset: Dataset) -> Runs:
    description = f"Single trainings on **{plain(dataset.name)}**; `--continue` resumes one from its checkpoint.h5."
    return Runs(settings, spec.experiment, description, dataset_input(dataset, spec.data.source))


def _job(spec: TrainingSpec, dataset: Dataset, n_parameters: int, earlier: Earlier | None) -> Job:
    params = asdict(spec.hyperparameters) | {"seed": spec.seed, "n_parameters": n_parameters}
    tags = {SPEC_TAG: spec.to_json(), **run_tags(dataset)}
    if earlier:
        tags["continued_from"] = earlier.run_id
    start = RunStart(spec.experiment, training_run_name(), now_ms(), params, tags)
    checkpoint = earlier.checkpoint if earlier else None
    return Job(start, Task(0, spec.hyperparameters, spec.seed, start=checkpoint, keep_state=True))


def _row(spec: TrainingSpec, ending: Entry, run_id: str | None) -> TrialRow:
    best_epoch = ending.metrics.get("best_epoch")
    return TrialRow(
        number=0,
        state=ending.state,
        value=ending.metrics.get("best_val_accuracy"),
        params=asdict(spec.hyperparameters),
        best_epoch=None if best_epoch is None else int(best_epoch),
        epochs_trained=int(ending.tags[EPOCHS_TAG]),
        duration_s=ending.metrics["duration_s"],
        device=ending.start.tags["device"],
        run_id=run_id,
    )
