"""Trains the best configurations of a study again, with several new seeds each, and names the winner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.data.datasets import Dataset, Split
from pipelines.errors import SpecError
from search.finals.finalist import Candidate, Finalist, make_finalist
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
from search.tracking.connection import open_home
from search.tracking.run_names import finalist_run_name
from search.tracking.tracker import Tracker
from search.workers.start import prepare_pool, start_pool
from search.workers.tasks import Task

REFIT_METRICS = ("loss", "accuracy")
"""Metrics of a refit: it trains on the validation rows, so their metrics would mean nothing."""


@dataclass(frozen=True, slots=True)
class FinalistsResult:
    """The result of the finals.

    Attributes:
        study: The study's name.
        verdict: The winner and the others; None if the finals were interrupted before.
        refit_run_id: The run that trained the winner on training and validation rows together; None without a refit.
        seal_opened: How often the held-out test of the study was read.
        interrupted: Whether Ctrl-C ended it; the same call resumes it.
        undelivered: Runs that were not sent to MLflow yet; they wait in the spool.
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
    """Trains the best configurations of a study again and names the winner; called again, it trains what is missing.

    Args:
        name: The study.
        top: How many distinct configurations.
        seeds: Runs of each, with seeds that no trial had; a configuration that can come neither first nor second
            any more gets fewer.
        refit: Whether the winner is trained once more, on training and validation rows together, for as many epochs
            as its best one was on average. The model is the last epoch's: there are no rows to choose another by.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        pool: Where they are trained; see ``run_study``.
        observer: Is told of every change; None for nobody.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        SpecError: An option breaks a rule, or the dataset was changed since.
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
    """One call of ``run_finalists``: the finalists, the verdict and the refit."""

    def __init__(
        self, context: StudyContext, dataset: Dataset, chosen: Sequence[Candidate], top: int, n_seeds: int, pool: str
    ) -> None:
        self._context = context
        self._spec = context.spec
        self._study = context.study
        self._dataset = dataset
        self._candidates = chosen
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
            # A run left by a dead process may belong to a configuration that is not trained any more.
            names = {finalist_run_name(c.trial, n + 1) for c in self._candidates for n in range(self._n_seeds)}
            for run_name in sorted(names - recorded_results(study).keys()):
                tracker.kill_left(run_name)
            interrupted = self._train_finalists()
            if not interrupted:
                verdict = judge(self._finalists())
                study.set_user_attr(VERDICT, as_attribute(verdict, self._top, self._n_seeds))
                interrupted = refit and self._train_refit(verdict.winner)
        record_runs(study, tracker)
        verdict = verdict and judge(self._finalists())  # again: by now more runs have their ids
        run_id = recorded_results(study).get(refit_run(verdict.winner), {}).get("run_id") if verdict else None
        opened = seal_opened(study.user_attrs)
        return FinalistsResult(self._spec.name, verdict, run_id, opened, interrupted, tracker.undelivered)

    def _train_finalists(self) -> bool:
        """Trains the missing runs; returns whether it was interrupted."""
        self._started = set(recorded_results(self._study))
        self._progress = Progress(self._spec.name, budget=len(self._candidates) * self._n_seeds)
        self._progress.complete = sum(len(finalist.values) for finalist in self._finalists())
        first = self._next_finalist()
        if first is None:
            return False
        # It was only asked for to see whether a pool has to be started.
        self._started.remove(first.name)
        return self._train(self._next_finalist, self._dataset)

    def _train_refit(self, winner: Finalist) -> bool:
        """Trains the winner on training and validation rows together; returns whether it was interrupted."""
        if refit_run(winner) in recorded_results(self._study):
            return False
        self._progress = Progress(self._spec.name, budget=1)
        jobs = iter([self._refit_job(winner)])
        return self._train(lambda: next(jobs, None), joined(self._dataset), n_slots=1)

    def _train(self, choose: Callable[[], FinalistJob | None], dataset: Dataset, n_slots: int | None = None) -> bool:
        spec = self._spec
        if n_slots:
            spec = replace(spec, workers=replace(spec.workers, slots=n_slots))
        with closing(start_pool(self._pool, spec, dataset, self._context.settings)) as pool:
            runner = FinalistRunner(self._context, pool, self._progress, choose)
            with interruptible(runner.interrupt):
                runner.run()
        return runner.interrupted

    def _finalists(self) -> list[Finalist]:
        """Each configuration with its results so far, in the order of the leaderboard."""
        results = recorded_results(self._study)
        return [
            make_finalist(candidate, self._context.n_parameters(candidate.hyperparameters), self._n_seeds, results)
            for candidate in self._candidates
        ]

    def _next_finalist(self) -> FinalistJob | None:
        """The next run to train; configurations that are out get no more runs."""
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
    """A dataset that also trains on its validation rows, which stay its validation rows too."""
    splits = dataset.training, dataset.validation
    rows = Split(np.concatenate([split.x for split in splits]), np.concatenate([split.y for split in splits]))
    return replace(dataset, training=rows)
