"""Forecasts the time and memory of a study from a few short trainings, and records nothing."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import psutil
from scipy.optimize import nnls

from pipelines.config import Hyperparameters, count_parameters, layer_sizes
from pipelines.data.datasets import Dataset, Split, load
from pipelines.errors import TrainingError
from search.devices.memory import require_fit
from search.home.settings import read_settings
from search.optimization.pruners import is_audited, make_pruner
from search.optimization.samplers import make_sampler
from search.optimization.seeds import draw_seed
from search.optimization.studies import require_own_experiment
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Observer, Progress
from search.spec.study_spec import StudySpec
from search.tracking.entries import RunStart
from search.workers import Outcome, Pool, Task
from search.workers.local_pool import LocalPool, warm_up
from search.workers.start import local_slots

N_PROBES, PROBE_EPOCHS = 6, 2
PROBE_ROWS = 8192
PROBE_PRODUCTS = 1 << 33
"""Limit on rows times weights in an epoch of a probe: about a second of one core, however large the networks."""
N_DRAWN = 100
"""Trials that are simulated where the study has no smaller budget."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The time and memory that a study needs on this machine.

    The forecast samples the space at random. A sampler that prefers large networks takes longer.

    Attributes:
        configurations_per_hour: Rate of all slots together, with pruning.
        unpruned_per_hour: The same without pruning.
        forecast_s: Duration of the whole budget in seconds, start-up included.
        memory_mb: Upper limit for the searching process and all slots, in MB; they share some memory.
        slots: Number of trials that train at the same time.
        devices: Device of each slot.
        notes: Remarks on the dataset.
    """

    configurations_per_hour: float
    unpruned_per_hour: float
    forecast_s: float
    memory_mb: int
    slots: int
    devices: tuple[str, ...]
    notes: tuple[str, ...] = ()


def plan_study(spec: StudySpec, *, home: Path | None = None) -> Forecast:
    """Forecasts a study from short trainings of a few configurations of its space.

    Args:
        spec: The study, from ``read_spec`` or ``default_spec``.
        home: Folder in which datasets are looked up; nothing else in it is read or written.

    Raises:
        DataError: The dataset cannot be used.
        SpecError: The study has the name of MLflow's own experiment.
        TrainingError: A configuration of the space cannot be trained here.
        UnavailableError: The sampler needs a package that is not installed.
    """
    started = time.monotonic()
    make_sampler(spec, spec.seed)
    settings = read_settings(home)
    require_own_experiment(settings, spec.name)
    warm_up()
    dataset = load(spec.data, settings.data_folders)
    slots = local_slots(spec, dataset, settings)
    require_fit(spec.space.largest_network(), dataset, slots)
    drawn = simulate(spec)
    few = _few_rows(dataset, max(_n_weights(hp, dataset) for hp, _ in drawn))
    probes = [replace(hp, epochs=min(hp.epochs, PROBE_EPOCHS)) for hp, _ in drawn[-N_PROBES:]]
    with closing(LocalPool(few, slots, memory_mb=spec.workers.memory_mb)) as pool:
        tasks = [Task(number, hp, draw_seed(spec.seed, number)) for number, hp in enumerate(probes)]
        runner = ProbeRunner(pool, tasks)
        runner.run()
    outcomes = [runner.outcomes[task.number] for task in tasks]
    startup_s = time.monotonic() - started - sum(outcome.duration_s for outcome in outcomes) / len(slots)
    cost = _Cost.fit(probes, outcomes, few)
    full_s = statistics.fmean(cost.trial_s(hp, hp.epochs, dataset) for hp, _ in drawn)
    trial_s = statistics.fmean(cost.trial_s(hp, epochs, dataset) for hp, epochs in drawn)
    return Forecast(
        configurations_per_hour=round(3600 * len(slots) / trial_s, 1),
        unpruned_per_hour=round(3600 * len(slots) / full_s, 1),
        forecast_s=round(_whole_s(spec, max(0.0, startup_s), trial_s / len(slots)), 1),
        memory_mb=_memory_mb(outcomes, _n_bytes(dataset) - _n_bytes(few), len(slots)),
        slots=len(slots),
        devices=tuple(slot.device for slot in slots),
        notes=dataset.notes,
    )


class ProbeRunner(JobRunner[Job]):
    """Trains probe fits and records nothing.

    Args:
        pool: Where they train.
        tasks: Each with a number of its own.

    Attributes:
        outcomes: By the tasks' numbers.
    """

    def __init__(self, pool: Pool, tasks: Sequence[Task]) -> None:
        super().__init__(pool, Observer(), Progress("plan"), None)
        self._jobs = [Job(RunStart("plan", f"probe-{task.number}", 0, {}, {}), task) for task in tasks]
        self.outcomes: dict[int, Outcome] = {}

    def result(self, job: Job, outcome: Outcome) -> None:
        """Keeps the outcome."""
        del self._running[job.number]
        self.outcomes[job.number] = outcome

    def fail(self, job: Job, message: str, traceback: str) -> None:
        """Ends the forecast."""
        raise TrainingError(message)


def simulate(spec: StudySpec) -> list[tuple[Hyperparameters, int]]:
    """Simulates the trials of a study: the study's pruner sees random configurations with synthetic curves.

    A curve rises to a random level with noise that shrinks over the epochs, so early ranks mostly predict final ranks.

    Returns:
        Each configuration, the study's ``[[start]]`` first, with the epochs that it would train.
    """
    n_trials = min(spec.trials or N_DRAWN, N_DRAWN)
    random = np.random.default_rng(spec.seed)
    sampler = optuna.samplers.RandomSampler(spec.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=make_pruner(spec))
    for start in spec.start[:n_trials]:
        study.enqueue_trial(spec.space.params(start))
    drawn = []
    for _ in range(n_trials):
        trial = study.ask()
        hp, level = spec.space.suggest(trial), random.random()
        for epoch in range(1, hp.epochs + 1):
            trial.report(level + (random.normal(0, 0.2) - 0.5) / epoch, epoch)
            if epoch < hp.epochs and trial.should_prune() and not spec.is_start(trial.number):
                epoch = hp.epochs if is_audited(spec, trial.number) else epoch
                break
        study.tell(trial, level)
        # The next epoch trains while the pruner decides about this one.
        drawn.append((hp, min(epoch + 1, hp.epochs)))
    return drawn


@dataclass(frozen=True, slots=True)
class _Cost:
    """Seconds of a trial: a constant, and for each epoch a linear function of its steps, products and updates."""

    once_s: float
    per_epoch: tuple[float, ...]

    @classmethod
    def fit(cls, probes: Sequence[Hyperparameters], outcomes: Sequence[Outcome], dataset: Dataset) -> _Cost:
        """Fits non-negative costs to the probes by least squares of the relative error."""
        work = np.array([_work(hp, dataset) for hp in probes])
        took = np.array([outcome.history[-1].duration_s for outcome in outcomes])
        scale = work.max(axis=0)
        solution, _ = nnls(work / scale / took[:, None], np.ones(len(took)))
        once = [outcome.duration_s - len(outcome.history) * last for outcome, last in zip(outcomes, took, strict=True)]
        return cls(max(0.0, statistics.median(once)), tuple(solution / scale))

    def trial_s(self, hp: Hyperparameters, epochs: int, dataset: Dataset) -> float:
        """Seconds of one trial of that many epochs."""
        epoch_s = sum(a * b for a, b in zip(self.per_epoch, _work(hp, dataset), strict=True))
        return self.once_s + epochs * epoch_s


def _work(hp: Hyperparameters, dataset: Dataset) -> tuple[float, float, float]:
    """Steps, products (rows times weights) and updates (steps times weights) of one epoch."""
    n_rows, n_weights = len(dataset.training.y), _n_weights(hp, dataset)
    n_steps = math.ceil(n_rows / hp.batch_size)
    return float(n_steps), float(n_rows * n_weights), float(n_steps * n_weights)


def _n_weights(hp: Hyperparameters, dataset: Dataset) -> int:
    return count_parameters(layer_sizes(hp, dataset.training.x[0].size, dataset.n_classes))


def _few_rows(dataset: Dataset, most_weights: int) -> Dataset:
    """The first rows of a dataset, few enough that an epoch of the largest network is short."""
    n_training = len(dataset.training.y)
    n_rows = min(n_training, max(256, min(PROBE_ROWS, PROBE_PRODUCTS // most_weights)))
    n_validation = max(1, len(dataset.validation.y) * n_rows // n_training)
    training = Split(dataset.training.x[:n_rows], dataset.training.y[:n_rows])
    validation = Split(dataset.validation.x[:n_validation], dataset.validation.y[:n_validation])
    return replace(dataset, training=training, validation=validation)


def _n_bytes(dataset: Dataset) -> int:
    return sum(array.nbytes for split in (dataset.training, dataset.validation) for array in (split.x, split.y))


def _memory_mb(outcomes: Sequence[Outcome], more_bytes: int, n_slots: int) -> int:
    """Memory of this process and the probes, plus the rows that the probes did not have."""
    own = psutil.Process().memory_info().rss
    return ((own + more_bytes) >> 20) + n_slots * max(outcome.memory_mb for outcome in outcomes)


def _whole_s(spec: StudySpec, startup_s: float, interval_s: float) -> float:
    """Seconds until the study reaches its first limit."""
    counts = [n for n in (spec.trials, spec.space.size()) if n is not None]
    budget_s = startup_s + min(counts, default=math.inf) * interval_s
    return budget_s if spec.timeout_s is None else min(spec.timeout_s, budget_s)
