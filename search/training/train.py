"""Trains one configuration on one dataset: one run in MLflow, no study."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.config import Hyperparameters, Precision, layers
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.errors import InputError, SpecError, TrainingError, UnavailableError
from pipelines.objectives import OBJECTIVES
from search.devices.memory import require_fit
from search.devices.precision import have_bfloat16, settle, slow_note
from search.devices.slots import Slot, find_slots
from search.devices.work import Shape
from search.home.interrupts import interruptible
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.optimization.baselines import PATIENCE_S, BaselineThread
from search.optimization.leaderboard import TrialRow
from search.optimization.provenance import dataset_input, majority_of, run_tags
from search.scheduling.dispatcher import Job
from search.scheduling.progress import Observer
from search.scheduling.trial_results import ResultWriter
from search.spec.conditions import broken_conditions
from search.spec.space import SearchSpace
from search.spec.study_spec import WorkerSettings
from search.tracking import RunStart, Tracker, now_ms
from search.tracking.connection import open_home
from search.tracking.experiment_view import NOTE, plain, training_view
from search.tracking.run_names import training_run_name
from search.tracking.runs import Runs
from search.tracking.spool import entries
from search.training.configuration import TrainingSpec
from search.training.continuation import SPEC_TAG, Earlier, read_earlier
from search.training.training_runner import TrainingResult, TrainingRunner
from search.workers import Task
from search.workers.local_pool import LocalPool, warm_up


def train_once(spec: TrainingSpec, *, home: Path | None = None, observer: Observer | None = None) -> TrainingResult:
    """Trains one configuration and logs it as a run of the experiment ``train-SOURCE``.

    The run has ``model.h5``, the weights of the best epoch, and ``checkpoint.h5``, those of the last epoch with the
    optimizer's state, which ``continue_training`` resumes from. With folds there is no ``checkpoint.h5``.

    Args:
        spec: The configuration and its data.
        home: Folder of the databases; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.
        observer: Watches the training; a notebook shows it where none is given.

    Returns:
        The result. Ctrl-C ends the training after its current epoch.

    Raises:
        DataError: The dataset cannot be used.
        InputError: A name was given instead of a specification.
        TrainingError: The configuration cannot be trained; its run is FAILED.
        UnavailableError: The tracking server or the home cannot be used.
    """
    if not isinstance(spec, TrainingSpec):
        raise InputError(f"spec: must be a TrainingSpec, got {spec!r}: search.default_training makes that of a dataset")
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
    if not isinstance(run_id, str):
        raise InputError(f"run_id: must be the id of a run in MLflow, got {run_id!r}")
    settings = read_settings(home)
    earlier = read_earlier(settings, run_id)
    return _train(earlier.resume(given), settings, observer or Observer(), earlier)


def _train(spec: TrainingSpec, settings: Settings, observer: Observer, earlier: Earlier | None) -> TrainingResult:
    slot = find_slots(WorkerSettings(slots=1), settings.visible_devices, trial_mb=0)[0]
    dataset = _load(spec, settings, observer)
    spec = spec.for_task(dataset.task, dataset.unfit(spec.shift))
    require_fit(spec.hyperparameters, dataset, [slot])
    _require_meaning(spec.hyperparameters, dataset, earlier)
    spec = _with_precision(spec, dataset, slot, observer)
    open_home(settings)
    parts = layers(spec.hyperparameters, *dataset.sizes)
    observer.begin(parts)
    job = _job(spec, dataset, sum(layer.n_parameters for layer in parts), earlier)
    baselines = BaselineThread(dataset, {}, spec.hyperparameters.class_weight)
    with ExitStack() as stack:
        left = _left_by_others(spec, settings, stack)
        tracker = stack.enter_context(Tracker(lambda: _open_runs(spec, settings, dataset), observer.note))
        observer.waiting("starting the worker, which imports TensorFlow, and waiting for MLflow")
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


def _load(spec: TrainingSpec, settings: Settings, observer: Observer) -> Dataset:
    """Reads the data while the process that workers are forked from imports TensorFlow."""
    observer.waiting(f"reading {spec.data.source}")
    warm_up()
    return load(spec.data, settings.data_folders, observer.note)


def _of_dataset(row: TrialRow, dataset: Dataset, baselines: BaselineThread) -> TrialRow:
    """The row with what is known of the validation rows."""
    scores = {name: dict(scores) for name, scores in baselines.scores(PATIENCE_S).items()}
    return replace(row, majority=majority_of(dataset), baselines=scores, folds=dataset.n_folds)


def _with_precision(spec: TrainingSpec, dataset: Dataset, slot: Slot, observer: Observer) -> TrainingSpec:
    """Settles the precision of the matrix products; a training that is continued has settled it before."""
    rule = settle(spec.precision, [slot], lambda: have_bfloat16([slot]))
    for line in slow_note(rule, lambda: have_bfloat16([slot])):
        observer.note(line)
    return replace(spec, precision=Shape.of(dataset, rule).precision(spec.hyperparameters))


def _require_meaning(configuration: Hyperparameters, dataset: Dataset, earlier: Earlier | None) -> None:
    """Checks the data of a training that is continued, and the effect of each value of a new one."""
    problems = broken_conditions(SearchSpace({}), configuration, dataset.sizes)
    if problems and not earlier:
        raise SpecError(problems)
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
    views = training_view(OBJECTIVES[spec.metric])
    return Runs(settings, spec.experiment, description, source, views)


def _description(spec: TrainingSpec, dataset: Dataset, n_parameters: int, earlier: Earlier | None) -> str:
    """The description of the run, in Markdown."""
    begins = f"continues run {earlier.run_id}" if earlier else f"began with seed {spec.seed}"
    return f"A single training of {n_parameters:,} weights on **{plain(dataset.name)}**, which {begins}."


def _job(spec: TrainingSpec, dataset: Dataset, n_parameters: int, earlier: Earlier | None) -> Job:
    precision: Precision = "bfloat16" if spec.precision == "bfloat16" else "float32"
    params = spec.hyperparameters.to_json() | {"seed": spec.seed, "n_parameters": n_parameters}
    tags = {SPEC_TAG: spec.to_json(), "precision": precision, **run_tags(dataset)}
    if dataset.n_folds > 1:
        tags["folds"] = str(dataset.n_folds)
    if earlier:
        tags["continued_from"] = earlier.run_id
    tags[NOTE] = _description(spec, dataset, n_parameters, earlier)
    start = RunStart(spec.experiment, training_run_name(), now_ms(), params, tags)
    checkpoint = earlier.checkpoint if earlier else None
    objective = spec.metric
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
