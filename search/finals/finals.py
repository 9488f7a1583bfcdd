"""Trains a study's best configurations again, with several new seeds each, and names the winner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.datasets import Dataset, Split
from pipelines.errors import SpecError
from search.finals.finalist import Candidate, Finalist
from search.finals.finalist_runner import FinalistJob, FinalistRunner
from search.finals.readings import seal_opened
from search.finals.selection import candidates, is_out, order
from search.finals.verdict import Verdict, as_attribute, judge
from search.finals.winner import refit_run
from search.home.interrupts import interruptible
from search.home.settings import read_settings
from search.optimization.provenance import open_runs, run_tags
from search.optimization.run_records import recorded_results
from search.optimization.seeds import finalist_seed, refit_seed
from search.optimization.studies import load_own_study, study_data
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer, Progress
from search.scheduling.recovery import deliver_left, record_runs
from search.storage.advisory_locks import sole_lock
from search.storage.attributes import VERDICT
from search.storage.database import storage_errors
from search.tracking.home import open_home
from search.tracking.run_names import finalist_run_name
from search.tracking.tracker import Tracker
from search.workers.start import prepare_pool, started_pool
from search.workers.tasks import Task

REFIT_METRICS = ("loss", "accuracy")
"""What is logged of a refit: its validation rows are trained on, and what they gave would mean nothing."""


@dataclass(frozen=True, slots=True)
class FinalistsResult:
    """What the finals came to.

    Attributes:
        study: The study's name.
        verdict: Who has won; None where an interruption came before.
        refit_run_id: The winner's training on training and validation rows together, where it was asked for.
        seal_opened: How often the sealed test was opened before.
        interrupted: Whether Ctrl-C ended it; the same call goes on.
        undelivered: Runs that MLflow has not taken yet; they wait in the spool.
    """

    study: str
    verdict: Verdict | None
    refit_run_id: str | None
    seal_opened: int
    interrupted: bool
    undelivered: int = 0


def run_finalists(
    name: str,
    *,
    top: int = 5,
    seeds: int = 5,
    refit: bool = False,
    home: Path | None = None,
    pool: str = "local",
    observer: Observer | None = None,
) -> FinalistsResult:
    """Trains the best configurations of a study again and names the winner; nothing is trained twice.

    Args:
        name: The study.
        top: How many distinct configurations.
        seeds: Runs of each, with seeds that no trial had; a configuration that can neither win nor come second any
            more gets fewer.
        refit: Whether the winner is trained once more, on training and validation rows together, for as many epochs
            as it took to its best one on average. Nothing is chosen in it: the model is the last epoch's.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.
        pool: Where they train; see ``run_study``.
        observer: Watches; nobody does where it is not given.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        SpecError: An option breaks a rule, or the dataset is not the study's any more.
        DataError, UnavailableError: As for ``run_study``.
    """
    for option, value in (("--top", top), ("--seeds", seeds)):
        if value < 1:
            raise SpecError(f"{option}: must be at least 1, got {value}")
    prepare_pool(pool)
    settings = read_settings(home)
    spec, dataset = study_data(load_own_study(settings, name), settings)
    open_home(settings)
    with storage_errors(settings), sole_lock(settings, name) as settings:
        study = load_own_study(settings, name)
        chosen = candidates(study, top)
        observer = observer or Observer()
        tracker = Tracker(lambda: open_runs(settings, spec, dataset), observer.note)
        n_features = dataset.training.x[0].size
        context = StudyContext(
            spec, study, settings, tracker, observer, n_features, dataset.n_classes, run_tags(dataset)
        )
        return _Finals(context, dataset, chosen, top, seeds, pool).run(refit=refit)


class _Finals:
    """One call: the finalists, the verdict, and the refit."""

    def __init__(
        self, context: StudyContext, dataset: Dataset, chosen: Sequence[Candidate], top: int, n_seeds: int, pool: str
    ) -> None:
        self._context, self._dataset, self._candidates = context, dataset, chosen
        self._spec, self._study = context.spec, context.study
        self._top = top
        self._n_seeds = n_seeds
        self._pool = pool
        self._started: set[str] = set()
        self._progress = Progress(context.spec.name)

    def run(self, *, refit: bool) -> FinalistsResult:
        study, verdict = self._study, None
        with self._context.tracker as tracker:
            tracker.wait_connected()
            deliver_left(study, self._context.settings, tracker)
            for run_name in self._unfinished():  # one that a dead process had in training may be out by now
                tracker.kill_left(run_name)
            interrupted = self._train_finalists()
            if not interrupted:
                verdict = judge(self._finalists())
                study.set_user_attr(VERDICT, as_attribute(verdict, self._top, self._n_seeds))
                interrupted = refit and self._train_refit(verdict.winner)
        record_runs(study, tracker)
        verdict = verdict and judge(self._finalists())  # with the runs that MLflow has taken in the meantime
        run_id = recorded_results(study).get(refit_run(verdict.winner), {}).get("run_id") if verdict else None
        opened = seal_opened(study.user_attrs)
        return FinalistsResult(self._spec.name, verdict, run_id, opened, interrupted, tracker.undelivered)

    def _unfinished(self) -> list[str]:
        """The names of runs that are not known to have ended."""
        names = {finalist_run_name(c.trial, n + 1) for c in self._candidates for n in range(self._n_seeds)}
        return sorted(names - recorded_results(self._study).keys())

    def _train_finalists(self) -> bool:
        """Trains what is missing; whether it was interrupted."""
        self._started = set(recorded_results(self._study))
        self._progress = Progress(self._spec.name, budget=len(self._candidates) * self._n_seeds)
        self._progress.complete = sum(len(finalist.values) for finalist in self._finalists())
        if (first := self._next_finalist()) is None:
            return False  # no worker has to be started
        self._started.remove(first.name)
        return self._train(self._next_finalist, self._dataset)

    def _train_refit(self, winner: Finalist) -> bool:
        """Trains the winner on training and validation rows together; whether it was interrupted."""
        if refit_run(winner) in recorded_results(self._study):
            return False
        self._progress = Progress(self._spec.name, budget=1)
        jobs = iter([self._refit_job(winner)])
        return self._train(lambda: next(jobs, None), joined(self._dataset), n_slots=1)

    def _train(self, choose: Callable[[], FinalistJob | None], dataset: Dataset, n_slots: int | None = None) -> bool:
        spec = self._spec
        if n_slots:
            spec = replace(spec, workers=replace(spec.workers, slots=n_slots))
        with started_pool(self._pool, spec, dataset, self._context.settings) as pool:
            runner = FinalistRunner(self._context, pool, self._progress, choose)
            with interruptible(runner.interrupt):
                runner.run()
        return runner.interrupted

    def _finalists(self) -> list[Finalist]:
        """What is known of each configuration, in the order of the leaderboard."""
        noted = recorded_results(self._study)
        return [self._finalist(candidate, noted) for candidate in self._candidates]

    def _finalist(self, candidate: Candidate, noted: dict[str, dict[str, Any]]) -> Finalist:
        names = [finalist_run_name(candidate.trial, number) for number in range(1, self._n_seeds + 1)]
        runs = {number: noted[name] for number, name in enumerate(names, 1) if name in noted}
        done = {number: run for number, run in runs.items() if run.get("best_val_accuracy") is not None}
        failed = [f"trial {candidate.trial}: {run['message']}" for run in runs.values() if run.get("message")]
        return Finalist(
            candidate,
            tuple(done),
            tuple(run["best_val_accuracy"] for run in done.values()),
            tuple(run["best_epoch"] for run in done.values()),
            tuple(run["run_id"] for run in done.values()),
            self._context.n_parameters(candidate.hyperparameters),
            self._n_seeds,
            failed[0] if failed else "",
        )

    def _next_finalist(self) -> FinalistJob | None:
        """The next run to train; configurations that can neither win nor come second get no more of them."""
        finalists = self._finalists()
        self._show_leader(finalists)
        reached = [value for finalist in finalists for value in (*finalist.values, finalist.candidate.value)]
        wanted = [not is_out(finalist, finalists, max(reached)) for finalist in finalists]
        for index, (rank, number) in enumerate(order(len(finalists), self._n_seeds)):
            candidate = self._candidates[rank]
            name = finalist_run_name(candidate.trial, number)
            if wanted[rank] and name not in self._started:
                self._started.add(name)
                return self._job(index, name, candidate, finalist_seed(self._spec.seed, number), "finalist")
        return None

    def _show_leader(self, finalists: Sequence[Finalist]) -> None:
        leader = max(finalists, key=lambda finalist: finalist.mean)
        if leader.values:
            self._progress.best_number, self._progress.best_value = leader.candidate.trial, leader.mean
            self._progress.best_params = asdict(leader.candidate.hyperparameters)

    def _refit_job(self, winner: Finalist) -> FinalistJob:
        job = self._job(0, refit_run(winner), winner.candidate, refit_seed(self._spec.seed), "refit")
        job.task = replace(job.task, keep_last=True)
        job.last_epoch = winner.epochs
        job.metrics = REFIT_METRICS
        return job

    def _job(self, number: int, run_name: str, candidate: Candidate, seed: int, role: str) -> FinalistJob:
        tags = {"trial": str(candidate.trial), "role": role}
        start = self._context.run_start(run_name, candidate.hyperparameters, seed, **tags)
        return FinalistJob(start, Task(number, candidate.hyperparameters, seed))


def joined(dataset: Dataset) -> Dataset:
    """A dataset whose training rows are its training and its validation rows; the latter stay what they were."""
    splits = dataset.training, dataset.validation
    rows = Split(np.concatenate([split.x for split in splits]), np.concatenate([split.y for split in splits]))
    return replace(dataset, training=rows)
