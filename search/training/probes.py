"""Short trainings on few rows, which tell what a training costs and record nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.errors import TrainingError
from pipelines.files.archives import Array
from search.devices.precision import PrecisionRule
from search.devices.slots import Slot
from search.devices.work import Shape
from search.optimization.seeds import draw_seed
from search.scheduling.dispatcher import Job
from search.scheduling.job_runner import JobRunner
from search.scheduling.progress import Observer, Progress
from search.spec.study_spec import StudySpec
from search.tracking.entries import RunStart
from search.training.cost import Cost
from search.workers import Outcome, Pool, Task
from search.workers.local_pool import LocalPool

N_PROBES, PROBE_EPOCHS = 6, 2
PROBE_ROWS = 8192
PROBE_PRODUCTS = 1 << 33
"""Limit on rows times weights in an epoch of a probe: about a second of one core, however large the networks."""
_BOOKKEEPING_S = 0.1
"""Processor time of a trial outside its training: sampler, databases, run, model file."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Short trainings on few rows: their cost, outcomes and precision, and the size of the rows in bytes."""

    cost: Cost
    outcomes: Sequence[Outcome]
    n_bytes: int
    precision_rule: PrecisionRule


def train_probes(
    spec: StudySpec,
    configurations: Sequence[Hyperparameters],
    dataset: Dataset,
    slots: Sequence[Slot],
    rule: PrecisionRule,
) -> Probes:
    """Trains the last of some configurations for a few epochs, on few enough rows for the largest of them."""
    few = few_rows(dataset, dataset.n_folds * max(map(Shape.of(dataset).n_weights, configurations)))
    probes = [replace(hp, epochs=min(hp.epochs, PROBE_EPOCHS)) for hp in configurations[-N_PROBES:]]
    shape = Shape.of(few, rule)
    with closing(LocalPool(few, slots, memory_mb=spec.workers.memory_mb)) as pool:
        runner = ProbeRunner(pool, [_probe(spec, number, hp, shape) for number, hp in enumerate(probes)])
        runner.run()
    outcomes = [runner.outcomes[number] for number in range(len(probes))]
    trained = [(probe, outcome) for probe, outcome in zip(probes, outcomes, strict=True) if outcome.history]
    if not trained:
        raise TrainingError(
            "the loss was not a number in any of the short trainings: lower the space's learning rates, or choose"
            " another data.scaling"
        )
    cost = Cost.fit([probe for probe, _ in trained], [outcome for _, outcome in trained], shape)
    return Probes(replace(cost, once_s=cost.once_s + _BOOKKEEPING_S), outcomes, few.n_bytes, rule)


def _probe(spec: StudySpec, number: int, hyperparameters: Hyperparameters, shape: Shape) -> Task:
    objective, precision = spec.metric, shape.precision(hyperparameters)
    return Task(number, hyperparameters, draw_seed(spec.seed, number), objective=objective, precision=precision)


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


def few_rows(dataset: Dataset, most_weights: int) -> Dataset:
    """The first rows of a dataset, few enough that an epoch of the largest network is short."""
    n_training = len(dataset.training.y)
    n_rows = min(n_training, max(256, min(PROBE_ROWS, PROBE_PRODUCTS // most_weights)))
    n_validation = max(1, len(dataset.validation.y) * n_rows // n_training)
    if dataset.fold_of is not None:
        return _few_of_each_fold(dataset, n_validation)
    return replace(dataset, training=dataset.training.head(n_rows), validation=dataset.validation.head(n_validation))


def _few_of_each_fold(dataset: Dataset, n_rows: int) -> Dataset:
    """The first rows of each fold: a probe trains a network for each of them, as a trial does."""
    fold_of: Array = np.asarray(dataset.fold_of)
    kept = np.zeros(len(fold_of), bool)
    for number in range(dataset.n_folds):
        kept[np.flatnonzero(fold_of == number)[:n_rows]] = True
    n_training = len(dataset.training.y)
    training, validation = dataset.training.at(kept[:n_training]), dataset.validation.at(kept[n_training:])
    return replace(dataset, training=training, validation=validation, fold_of=fold_of[kept])
