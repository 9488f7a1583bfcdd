"""The trainings of the finals: finalists with new seeds, and refits on training and validation rows together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipelines.data.datasets import Dataset
from pipelines.objectives import epoch_metrics
from search.finals.finalist import Candidate, Finalist
from search.optimization.seeds import refit_seed
from search.scheduling.context import StudyContext
from search.scheduling.dispatcher import Job
from search.workers.tasks import Task


@dataclass(slots=True, kw_only=True)
class FinalistJob(Job):
    """A finalist or a refit to train.

    Attributes:
        last_epoch: Epoch after which training ends, though the learning rate's schedule spans more; None for the
            configuration's last.
        replaces_run: True: an earlier process may have left a run of this name.
        companions: Jobs of the same configuration with the task's ``more_seeds``, which train in its program and have
            runs of their own.
    """

    last_epoch: int | None = None
    replaces_run: bool = True
    companions: tuple[FinalistJob, ...] = ()


def job_of(
    context: StudyContext, number: int, run_name: str, candidate: Candidate, seed: int, role: str = "finalist"
) -> FinalistJob:
    """The job that trains a configuration of a study once.

    Args:
        context: The study.
        number: Of the job among those that train at the same time.
        run_name: Of its run.
        candidate: The configuration.
        seed: Of its weights and batches.
        role: The run's tag.
    """
    hyperparameters = candidate.hyperparameters
    start = context.run_start(run_name, hyperparameters, seed, trial=str(candidate.trial), role=role)
    precision = context.shape.precision(hyperparameters)
    task = Task(number, hyperparameters, seed, objective=context.spec.metric, keep_rows=True, precision=precision)
    return FinalistJob(start, task, limit_s=context.spec.workers.trial_timeout_s)


def refit_job(context: StudyContext, dataset: Dataset, winner: Finalist, number: int) -> FinalistJob:
    """The job of one of the winner's refits, numbered from 1; it trains in ``joined`` of the dataset."""
    seed = refit_seed(context.spec.seed, number)
    job = job_of(context, number - 1, winner.refit_runs[number - 1], winner.candidate, seed, "refit")
    job.task = replace(job.task, keep_last=True, keep_rows=False)
    job.last_epoch = winner.epochs
    job.metrics = refit_metrics(epoch_metrics(dataset.task, context.spec.metric))
    return job


def refit_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Those of a study's metrics that a refit has: it trains on the validation rows, whose metrics mean nothing."""
    return tuple(name for name in metrics if not name.startswith("val_"))


def joined(dataset: Dataset) -> Dataset:
    """A dataset that trains one network on its validation rows too, which stay its validation rows; it has no folds."""
    return replace(dataset, training=dataset.training.joined(dataset.validation), fold_of=None)
