"""Trains the best configurations of a study again, with several new seeds each, and names the winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipelines.config import FUSED_OPTIMIZERS, layer_sizes
from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from pipelines.objectives import OBJECTIVES, epoch_metrics
from pipelines.training.packing import networks_at_once, trainings_at_once
from search.devices.precision import slow_note
from search.finals.ensemble import Ensemble, make_ensemble, recorded_ensemble, require_seeds
from search.finals.finalist import Candidate, Finalist, candidates, make_finalist
from search.finals.finalist_runner import FinalistJob, FinalistRunner
from search.finals.opening import exclusive_study
from search.finals.readings import seal_opened
from search.finals.selection import EverySeed, Plan, Verdict, as_attribute, judge, n_rejecting
from search.home.html import HtmlResult
from search.home.interrupts import interruptible
from search.home.text import times
from search.optimization.leaderboard import baselines_of
from search.optimization.provenance import majority_of
from search.optimization.run_records import recorded_results
from search.optimization.seeds import finalist_seed, refit_seed
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer, Progress
from search.scheduling.recovery import record_runs
from search.spec.study_spec import StudySpec
from search.storage.attributes import VERDICT
from search.tracking.run_names import finalist_run_name
from search.workers.pool import Pool
from search.workers.start import prepare_pool, start_pool
from search.workers.tasks import Task

Model = Literal["finalist", "refit", "ensemble", "refit-ensemble"]
"""The model of a study: its median finalist, its winner trained once more, the winner's networks of all seeds as one
model, or as many refits as one model."""


@dataclass(frozen=True, slots=True)
class FinalistsResult(HtmlResult):
    """The result of the finals.

    Attributes:
        study: The study's name.
        verdict: The winner and the others; None if the finals were interrupted before.
        refit_run_id: The run that trained the winner on training and validation rows together; None without a refit.
        seal_opened: How often the held-out test of the study was read.
        interrupted: Whether Ctrl-C ended it; the same call resumes it.
        undelivered: Runs that were not sent to MLflow yet; they wait in the spool.
        majority: Accuracy of always predicting the validation rows' most frequent class; None in a regression.
        baselines: Metrics on the validation rows of each baseline; see ``TrialRow``.
        folds: Number of folds that the value of each run is the mean of; 1 with one split.
        ensemble: The winner's networks of all seeds as one model; None without one.
        model: Of the study; None before the finals ended, and where an earlier version did not record it.
    """

    study: str
    verdict: Verdict | None
    refit_run_id: str | None
    seal_opened: int
    interrupted: bool
    undelivered: int = 0
    majority: float | None = None
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    folds: int = 1
    ensemble: Ensemble | None = None
    model: Model | None = None

    @property
    def _shown(self) -> Mapping[str, object]:
        finalists = self.verdict.finalists if self.verdict else ()
        means = {f"trial {found.candidate.trial}": found.mean for found in finalists}
        explanation = self.verdict.explanation if self.verdict else "interrupted: call it again to continue"
        read = {"held-out test": f"read {times(self.seal_opened)}" if self.seal_opened else "never read"}
        return {"study": self.study, "winner": explanation, "mean over seeds": means, **read}


def run_finalists(
    name: str,
    *,
    top: int = 5,
    seeds: int = 5,
    refit: bool | None = None,
    ensemble: bool = False,
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
            as its best one was on average. The model is the last epoch's: there are no rows to choose another by. None
            does what the study's finalists did before; the first ones do it where the study has one split.
        ensemble: Whether the winner's networks of all seeds become one model, which predicts their mean. With ``refit``
            true they are refits, as many as there are seeds.
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
    if ensemble:
        require_seeds(seeds)
    model = _model_of(refit=refit, ensemble=ensemble)
    return run_plan(name, EverySeed((top,) * seeds), model=model, home=home, pool=pool, observer=observer)


def _model_of(*, refit: bool | None, ensemble: bool) -> Model | None:
    """The model that options ask for; None where they leave it open."""
    if ensemble:
        return "refit-ensemble" if refit else "ensemble"
    return None if refit is None else "refit" if refit else "finalist"


def run_plan(
    name: str,
    plan: Plan,
    *,
    model: Model | None = None,
    home: Path | None = None,
    pool: str = "local",
    observer: Observer | None = None,
) -> FinalistsResult:
    """``run_finalists`` with any plan of which configuration gets which seeds.

    Args:
        name: The study.
        plan: Says which runs there are.
        model: Of the study; None keeps the one that it has, and lets the plan choose for its first finals.
        home: As for ``run_finalists``, like the others.
        pool: See there.
        observer: See there.
    """
    prepare_pool(pool)
    with exclusive_study(name, home, observer or Observer()) as (context, dataset):
        return _Finals(context, dataset, candidates(context.study, plan.sizes[0]), plan, pool).run(model)


@dataclass(slots=True)
class _Finals:
    """One call of ``run_finalists``: the finalists, the verdict, and the refit or the ensemble."""

    context: StudyContext
    dataset: Dataset
    candidates: Sequence[Candidate]
    plan: Plan
    pool: str
    started: set[str] = field(default_factory=set)
    is_noted: bool = False
    progress: Progress = field(init=False)

    def run(self, asked: Model | None) -> FinalistsResult:
        """Trains what is missing.

        Args:
            asked: The model of the study; None keeps the one that it has, and lets the plan choose for the first ones.
        """
        study, tracker, verdict = self.context.study, self.context.tracker, None
        model = asked or self._kept_model()
        # A run left by a dead process may belong to a configuration that is not trained any more.
        names = {finalist_run_name(c.trial, n + 1) for c in self.candidates for n in range(self.n_seeds)}
        for run_name in sorted(names - recorded_results(study).keys()):
            tracker.kill_left(run_name)
        interrupted = self._train_finalists()
        if not interrupted:
            verdict = self._judge()
            study.set_user_attr(VERDICT, as_attribute(verdict, self.plan.sizes) | {"model": model})
            refits = {"refit": 1, "refit-ensemble": self.n_seeds}.get(model or "", 0)
            interrupted = self._train_refits(verdict.winner, refits)
        tracker.close()
        record_runs(study, tracker)
        undelivered = tracker.undelivered
        if verdict and not interrupted and model in ("ensemble", "refit-ensemble") and self.n_seeds > 1:
            undelivered += make_ensemble(self.context, self.dataset)
        return self._result(verdict and self._judge(), undelivered, interrupted=interrupted)

    def _kept_model(self) -> Model | None:
        """The model that the study has; for its first finals the one that the plan leaves time for."""
        if verdict := self.context.study.user_attrs.get(VERDICT):
            kept: Model | None = verdict.get("model")
            return kept
        return "refit" if self.plan.refits and self.dataset.n_folds == 1 else "finalist"

    @property
    def n_seeds(self) -> int:
        """Seeds of a configuration that gets every run."""
        return len(self.plan.sizes)

    def _judge(self) -> Verdict:
        return judge(self._finalists(), n_rejecting(self.plan.sizes), prefers_small=self.plan.prefers_small)

    def _result(self, verdict: Verdict | None, undelivered: int, *, interrupted: bool) -> FinalistsResult:
        """The result, once as many runs as possible have their ids."""
        study = self.context.study
        run_id = recorded_results(study).get(verdict.winner.refit_run, {}).get("run_id") if verdict else None
        opened = seal_opened(study.user_attrs)
        result = FinalistsResult(study.study_name, verdict, run_id, opened, interrupted, undelivered)
        result = replace(result, majority=majority_of(self.dataset), baselines=baselines_of(study.user_attrs))
        result = replace(result, model=study.user_attrs[VERDICT].get("model") if verdict else None)
        return replace(result, folds=self.dataset.n_folds, ensemble=recorded_ensemble(study) if verdict else None)

    def _train_finalists(self) -> bool:
        """Trains the missing runs; returns whether it was interrupted."""
        self.started = set(recorded_results(self.context.study))
        n_candidates, objective = len(self.candidates), self.context.objective
        budget = sum(min(size, n_candidates) for size in self.plan.sizes)
        self.progress = Progress(self.context.spec.name, budget=budget, objective=objective, runs="finalists")
        finalists = self._finalists()
        self.progress.complete = sum(len(finalist.values) for finalist in finalists)
        self._show_leader(finalists)
        if not self._missing(finalists):
            return False
        return self._train(self.context.spec, self.dataset, self._next_finalist)

    def _train_refits(self, winner: Finalist, n_refits: int) -> bool:
        """Trains the winner on training and validation rows together; returns whether it was interrupted."""
        spec, done = self.context.spec, recorded_results(self.context.study)
        names = list(enumerate(winner.refit_runs[:n_refits], 1))
        missing = [self._refit(winner, name, number) for number, name in names if name not in done]
        if not missing:
            return False
        jobs = iter(missing)
        self.progress = Progress(spec.name, budget=len(missing), objective=self.context.objective, runs="refits")
        if len(missing) == 1:
            spec = replace(spec, workers=replace(spec.workers, slots=1))
        return self._train(spec, joined(self.dataset), lambda _: next(jobs, None))

    def _refit(self, winner: Finalist, name: str, number: int) -> FinalistJob:
        job = self._job(number - 1, name, winner.candidate, refit_seed(self.context.spec.seed, number), "refit")
        job.task = replace(job.task, keep_last=True, keep_rows=False)
        job.last_epoch = winner.epochs
        job.metrics = refit_metrics(epoch_metrics(self.dataset.task, self.context.objective))
        return job

    def _train(self, spec: StudySpec, dataset: Dataset, choose: Callable[[int], FinalistJob | None]) -> bool:
        """Trains what ``choose`` returns for a number of slots; returns whether it was interrupted."""
        self.context.observer.waiting("starting the workers, which import TensorFlow")
        with closing(start_pool(self.pool, spec, dataset, self.context.settings)) as pool:
            self._note_precision(pool)
            runner = FinalistRunner(self.context, pool, self.progress, lambda: choose(len(pool.slots)))
            with interruptible(runner.interrupt):
                runner.run()
        return runner.interrupted

    def _note_precision(self, pool: Pool) -> None:
        """Says once if this processor is slow in the study's precision."""
        if not self.is_noted:
            self.is_noted = True
            for line in slow_note(self.context.shape.precision_rule, pool.has_bfloat16):
                self.context.observer.note(line)

    def _finalists(self) -> list[Finalist]:
        """Each configuration with its results so far, in the order of the leaderboard."""
        results = recorded_results(self.context.study)
        known = len(self.dataset.scored.y), OBJECTIVES[self.context.objective]
        return [make_finalist(candidate, self.n_seeds, results, *known) for candidate in self.candidates]

    def _missing(self, finalists: Sequence[Finalist]) -> list[tuple[int, int]]:
        """The runs that the plan asks for and no slot has begun, (configuration from 0, seed number from 1)."""
        return [run for run in self.plan.runs(finalists) if self._run_name(*run) not in self.started]

    def _next_finalist(self, n_slots: int) -> FinalistJob | None:
        """The next run to train, with other seeds of its configuration that train beside it."""
        finalists = self._finalists()
        self._show_leader(finalists)
        missing = self._missing(finalists)
        if not missing:
            return None
        rank = missing[0][0]
        n_seeds = trainings_at_once(self._seeds_at_once(rank), len(missing), n_slots)
        numbers = [number for other, number in missing if other == rank][:n_seeds]
        first, *others = [self._start(rank, number) for number in numbers]
        first.task = replace(first.task, more_seeds=tuple(job.task.seed for job in others))
        first.companions = tuple(others)
        return first

    def _run_name(self, rank: int, number: int) -> str:
        return finalist_run_name(self.candidates[rank].trial, number)

    def _start(self, rank: int, number: int) -> FinalistJob:
        name = self._run_name(rank, number)
        self.started.add(name)
        seed, index = finalist_seed(self.context.spec.seed, number), rank * self.n_seeds + number
        return self._job(index, name, self.candidates[rank], seed, "finalist")

    def _seeds_at_once(self, rank: int) -> int:
        """The number of seeds of a configuration that train faster in one program."""
        hyperparameters, dataset = self.candidates[rank].hyperparameters, self.dataset
        if hyperparameters.optimizer not in FUSED_OPTIMIZERS:
            return 1
        sizes = layer_sizes(hyperparameters, *dataset.sizes)
        return max(1, networks_at_once(sizes) // dataset.n_folds)

    def _show_leader(self, finalists: Sequence[Finalist]) -> None:
        leader = max(finalists, key=lambda finalist: finalist.gain)
        if leader.values:
            self.progress.best_number = leader.candidate.trial
            self.progress.best_value = leader.mean
            self.progress.best_params = leader.candidate.hyperparameters.to_json()

    def _job(self, number: int, run_name: str, candidate: Candidate, seed: int, role: str) -> FinalistJob:
        hyperparameters = candidate.hyperparameters
        start = self.context.run_start(run_name, hyperparameters, seed, trial=str(candidate.trial), role=role)
        limit_s = self.context.spec.workers.trial_timeout_s
        precision = self.context.shape.precision(hyperparameters)
        task = Task(
            number, hyperparameters, seed, objective=self.context.objective, keep_rows=True, precision=precision
        )
        return FinalistJob(start, task, limit_s=limit_s)


def refit_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Those of a study's metrics that a refit has: it trains on the validation rows, whose metrics mean nothing."""
    return tuple(name for name in metrics if not name.startswith("val_"))


def joined(dataset: Dataset) -> Dataset:
    """A dataset that trains one network on its validation rows too, which stay its validation rows; it has no folds."""
    return replace(dataset, training=dataset.training.joined(dataset.validation), fold_of=None)
