"""Trains one configuration on one dataset: one run in MLflow, no study."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.config import Precision, layers
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.errors import SpecError, TrainingError, UnavailableError
from pipelines.objectives import OBJECTIVES
from pipelines.training.history import EpochReport, sha256
from search.devices.memory import require_fit
from search.devices.precision import have_bfloat16, precision_of, settle, slow_note
from search.devices.slots import Slot, find_slots
from search.home.interrupts import interruptible
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.optimization.baselines import PATIENCE_S, BaselineThread
from search.optimization.leaderboard import TrialRow, result_row
from search.optimization.provenance import dataset_input, majority_of, run_tags
from search.optimization.run_records import metrics_of, result_of
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Observer, Progress
from search.scheduling.trial_results import Result, ResultWriter
from search.spec.study_spec import WorkerSettings
from search.tracking import Entry, RunStart, Tracker, now_ms
from search.tracking.connection import open_home
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE
from search.tracking.experiment_view import plain
from search.tracking.run_names import training_run_name
from search.tracking.runs import Runs
from search.tracking.spool import entries
from search.training.configuration import TrainingSpec
from search.training.continuation import CHECKPOINT_TAG, EPOCHS_TAG, MODEL_TAG, SPEC_TAG, Earlier, read_earlier
from search.workers import Outcome, Pool, StopReason, Task
from search.workers.local_pool import LocalPool, warm_up

_DIVERGED = "the loss was not a number in the first epoch: lower --learning-rate, or scale the inputs"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a single training.

    Attributes:
        row: As in a leaderboard, with number 0. Epochs count from the first run where this one continues another.
        stop_reason: Why it ended: finished, interrupted, or diverged where the loss was no longer a number.
        undelivered: Runs that MLflow does not have yet; they wait in the spool.
    """

    row: TrialRow
    stop_reason: StopReason
    undelivered: int = 0


def train_once(spec: TrainingSpec, *, home: Path | None = None, observer: Observer | None = None) -> TrainingResult:
    """Trains one configuration and logs it as a run of the experiment ``train-SOURCE``.

    The run has ``model.h5``, the weights of the best epoch, and ``checkpoint.h5``, those of the last epoch with the
    optimizer's state, which ``continue_training`` resumes from. With folds there is no ``checkpoint.h5``.

    Args:
        spec: The configuration and its data.
        home: Folder of the databases; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.
        observer: Watches the training.

    Returns:
        The result. Ctrl-C ends the training after its current epoch.

    Raises:
        DataError: The dataset cannot be used.
        TrainingError: The configuration cannot be trained; its run is FAILED.
        UnavailableError: The tracking server or the home cannot be used.
    """
    return _train(spec, read_settings(home), observer or Observer(), None)


def continue_training(
    run_id: str, *, home: Path | None = None, observer: Observer | None = None, **given: Any
) -> TrainingResult:
    """Resumes exactly where a run of ``train_once`` stopped: five epochs and five more equal ten.

    The new run has the epochs of the earlier one too, and the best weights of all of them.

    Args:
        run_id: The run in MLflow.
        home: As for ``train_once``.
        observer: As for ``train_once``.
        **given: ``epochs``, the number of further epochs; by default those that an interruption left. Every other
            option must be as it was.

    Raises:
        NotFoundError: There is no such run, or it has no checkpoint.
        SpecError: An option or the data is not the run's.
        InputError: A file of the run was changed.
        DataError, TrainingError, UnavailableError: As for ``train_once``.
    """
    settings = read_settings(home)
    earlier = read_earlier(settings, run_id)
    return _train(earlier.resume(given), settings, observer or Observer(), earlier)


def _train(spec: TrainingSpec, settings: Settings, observer: Observer, earlier: Earlier | None) -> TrainingResult:
    slot = find_slots(WorkerSettings(slots=1), settings.visible_devices, trial_mb=0)[0]
    warm_up()
    dataset = load(spec.data, settings.data_folders, observer.note)
    spec = spec.for_task(dataset.task)
    require_fit(spec.hyperparameters, dataset, [slot])
    _require_same_rows(dataset, earlier)
    spec = _with_precision(spec, dataset, slot, observer)
    open_home(settings)
    parts = layers(spec.hyperparameters, dataset.training.x[0].size, dataset.n_outputs)
    observer.begin(parts)
    job = _job(spec, dataset, sum(layer.n_parameters for layer in parts), earlier)
    baselines = BaselineThread(dataset, {}, spec.hyperparameters.class_weight)
    with ExitStack() as stack:
        left = _left_by_others(spec, settings, stack)
        tracker = stack.enter_context(Tracker(lambda: _open_runs(spec, settings, dataset), observer.note))
        pool = stack.enter_context(closing(LocalPool(dataset, [slot])))
        tracker.wait_connected()
        for folder in left:
            tracker.deliver(folder)
        runner = TrainingRunner(pool, observer, ResultWriter(settings.spool, tracker), job, earlier)
        with interruptible(runner.interrupt):
            runner.run()
    if runner.error:
        raise TrainingError(runner.error)
    if runner.trained is None:  # interrupted before it began
        raise KeyboardInterrupt
    row = replace(_of_dataset(runner.trained.row, dataset, baselines), run_id=dict(tracker.opened()).get(job.name))
    return replace(runner.trained, row=row, undelivered=tracker.undelivered)


def _of_dataset(row: TrialRow, dataset: Dataset, baselines: BaselineThread) -> TrialRow:
    """The row with what is known of the validation rows."""
    scores = {name: dict(scores) for name, scores in baselines.scores(PATIENCE_S).items()}
    return replace(row, majority=majority_of(dataset), baselines=scores, folds=dataset.n_folds)


def _with_precision(spec: TrainingSpec, dataset: Dataset, slot: Slot, observer: Observer) -> TrainingSpec:
    """Settles the precision of the matrix products; a training that is continued has settled it before."""
    rule = settle(spec.precision, [slot], lambda: have_bfloat16([slot]))
    for line in slow_note(rule, lambda: have_bfloat16([slot])):
        observer.note(line)
    n_features, n_outputs = dataset.training.x[0].size, dataset.n_outputs
    return replace(spec, precision=precision_of(rule, spec.hyperparameters, n_features, n_outputs))


def _require_same_rows(dataset: Dataset, earlier: Earlier | None) -> None:
    if earlier and earlier.fingerprint != dataset.fingerprint:
        raise SpecError(
            f"{dataset.name}: must hold the rows that run {earlier.run_id} was trained on, got others: they"
            " changed since, or are split another way"
        )


def _left_by_others(spec: TrainingSpec, settings: Settings, stack: ExitStack) -> list[Path]:
    """Results in the spool that no running process is about to deliver; the lock lasts as long as ``stack``."""
    with suppress(UnavailableError):
        own = stack.enter_context(study_lock(settings, spec.experiment))
        return [] if own.process_index else list(entries(settings.spool, spec.experiment))
    return []


def _open_runs(spec: TrainingSpec, settings: Settings, dataset: Dataset) -> Runs:
    description = f"Single trainings on **{plain(dataset.name)}**; `--continue` resumes one from its checkpoint.h5."
    source = dataset_input(dataset, spec.data.source)
    return Runs(settings, spec.experiment, description, source, spec.objective or "val_accuracy")


def _job(spec: TrainingSpec, dataset: Dataset, n_parameters: int, earlier: Earlier | None) -> Job:
    precision: Precision = "bfloat16" if spec.precision == "bfloat16" else "float32"
    params = spec.hyperparameters.to_json() | {"seed": spec.seed, "n_parameters": n_parameters}
    tags = {SPEC_TAG: spec.to_json(), "precision": precision, **run_tags(dataset)}
    if earlier:
        tags["continued_from"] = earlier.run_id
    start = RunStart(spec.experiment, training_run_name(), now_ms(), params, tags)
    checkpoint = earlier.checkpoint if earlier else None
    objective = spec.objective or "val_accuracy"
    task = Task(
        number=0,
        hyperparameters=spec.hyperparameters,
        seed=spec.seed,
        start=checkpoint,
        objective=objective,
        keep_state=dataset.fold_of is None,  # the networks of folds are not trained further
        precision=precision,
    )
    return Job(start, task)


class TrainingRunner(JobRunner[Job]):
    """Trains one job.

    Args:
        pool: A pool of one slot.
        observer: Is told every epoch.
        writer: Persists the run.
        job: What to train.
        earlier: The run that the job continues; None for a new one.

    Attributes:
        trained: The result without the run's id; None until there is one.
        error: Why the training failed, "" where it did not.
    """

    def __init__(self, pool: Pool, observer: Observer, writer: ResultWriter, job: Job, earlier: Earlier | None) -> None:
        super().__init__(pool, observer, Progress(job.start.study, objective=job.task.objective), writer)
        self._tracker = writer.tracker
        self._jobs = [job]
        self._earlier = earlier
        self.trained: TrainingResult | None = None
        self.error = ""

    def submit(self, job: Job, slot: Slot) -> None:
        """Starts an attempt; its run begins with the epochs of the earlier run."""
        super().submit(job, slot)
        for epoch in self._earlier.history if self._earlier else ():
            job.epochs.append(replace(epoch, at_ms=job.start.started_ms))
            self._tracker.log_epoch(job.name, job.epochs[-1])

    def announce_interruption(self) -> None:
        """Nothing: the epoch in training counts, and the answer to its report ends the training."""

    def decide(self, job: Job, report: EpochReport) -> StopReason | None:
        """Shows an epoch."""
        self._observer.epoch(report)
        return None

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Records a training, even one that an interruption ended: it can be continued."""
        self._results.append(self.result(job, outcome))

    def result(self, job: Job, outcome: Outcome) -> Result:
        """What is recorded of a training: its result, its files, and what another run needs to continue it."""
        best_epoch, best_value, model = self._best(outcome)
        if not best_epoch and outcome.stop_reason == "diverged":
            return self._failed(job, _DIVERGED)
        result, objective = result_of(job.task, outcome, job.slot.device), OBJECTIVES[job.task.objective]
        result |= {objective.best_key: best_value if best_epoch else None, "best_epoch": best_epoch or None}
        result["epochs_trained"] += self._earlier.checkpoint.epochs if self._earlier else 0
        state = "INTERRUPTED" if outcome.stop_reason == "interrupted" else "COMPLETE"
        row = result_row(0, state, result, objective)
        self.trained = TrainingResult(row, outcome.stop_reason)
        tags: dict[str, str] = {"stop_reason": outcome.stop_reason}
        tags |= {CHECKPOINT_TAG: sha256(outcome.checkpoint)} if outcome.checkpoint else {}
        tags |= {EPOCHS_TAG: str(row.epochs_trained)} | ({MODEL_TAG: sha256(model)} if model else {})
        entry = Entry(job.start, now_ms(), state, history=tuple(job.epochs), metrics=metrics_of(result), tags=tags)
        return Result(job, entry, {MODEL_FILE: model, CHECKPOINT_FILE: outcome.checkpoint})

    def _best(self, outcome: Outcome) -> tuple[int, float, bytes]:
        """The best epoch of this run and the earlier one, the first of equals, with its value and model."""
        earlier, is_better = self._earlier, OBJECTIVES[self.progress.objective].is_better
        if earlier and earlier.best_value is not None and not is_better(outcome.best_value, earlier.best_value):
            return earlier.best_epoch, earlier.best_value, earlier.model
        return outcome.best_epoch, outcome.best_value, outcome.model

    def fail(self, job: Job, message: str, traceback: str) -> None:
        """Records a training that failed."""
        self._results.append(self._failed(job, message))

    def _failed(self, job: Job, message: str) -> Result:
        self.error = message
        tags = {"stop_reason": "failed", "message": message}
        return Result(job, Entry(job.start, now_ms(), "FAIL", history=tuple(job.epochs), tags=tags), {})

    def show(self, result: Result) -> None:
        """Nothing: the caller shows the result."""
