"""Trains the finalists of a study, names the winner, and trains its refits or makes its ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError
from search.devices.precision import slow_note
from search.devices.slots import Slot
from search.finals.ensemble import make_ensemble, recorded_ensemble
from search.finals.finalist import Finalist
from search.finals.readings import seal_opened
from search.finals.result import FinalistsResult, Model
from search.finals.selection import Verdict, as_attribute, judge, n_rejecting
from search.finals.training.finalist_queue import FinalistQueue
from search.finals.training.finalist_runner import FinalistRunner
from search.finals.training.jobs import FinalistJob, joined, refit_job
from search.finals.winner import find_winner
from search.home.interrupts import interruptible
from search.optimization.leaderboard import baselines_of
from search.optimization.provenance import majority_of
from search.optimization.run_records import has_model, recorded_results
from search.scheduling.context import StudyContext
from search.scheduling.progress import Progress
from search.scheduling.recovery import record_runs
from search.spec.study_spec import StudySpec
from search.storage.attributes import VERDICT
from search.workers.pool import Pool
from search.workers.start import start_pool

ChooseJob: TypeAlias = "Callable[[Sequence[Slot]], FinalistJob | None]"
"""The next job for some slots; None where none is left."""


@dataclass(slots=True)
class FinalsTrainer:
    """One call of ``run_finalists``: the finalists, the verdict, and the refit or the ensemble.

    Attributes:
        context: The study.
        dataset: Its data.
        queue: The finalists to train.
        pool: Where they are trained; see ``run_study``.
    """

    context: StudyContext
    dataset: Dataset
    queue: FinalistQueue
    pool: str
    _is_noted: bool = field(default=False, init=False)

    def run(self, asked: Model | None) -> FinalistsResult:
        """Trains what is missing.

        Args:
            asked: The model of the study; None keeps the one that it has, and lets the plan choose for the first ones.
        """
        study, tracker, verdict = self.context.study, self.context.tracker, None
        model = asked or self._kept_model()
        # A run left by a dead process may belong to a configuration that is not trained any more.
        for run_name in sorted(self.queue.run_names - recorded_results(study).keys()):
            tracker.kill_left(run_name)
        interrupted = self._train_finalists()
        if not interrupted:
            verdict = self._judge()
            study.set_user_attr(VERDICT, as_attribute(verdict, self.queue.plan.sizes) | {"model": model})
            interrupted = self._train_refits(verdict.winner, self._n_refits(model))
        tracker.close()
        record_runs(study, tracker)
        undelivered = tracker.undelivered
        if verdict and not interrupted and model in ("ensemble", "refit-ensemble") and self.queue.n_seeds > 1:
            undelivered += make_ensemble(self.context, self.dataset)
        return self._result(verdict and self._judge(), undelivered, interrupted=interrupted)

    def _n_refits(self, model: Model | None) -> int:
        """Number of refits that a model of the study needs."""
        return {"refit": 1, "refit-ensemble": self.queue.n_seeds}.get(model or "", 0)

    def _kept_model(self) -> Model | None:
        """The model that the study has; for its first finals the one that the plan leaves time for."""
        if verdict := self.context.study.user_attrs.get(VERDICT):
            kept: Model | None = verdict.get("model")
            return kept
        return "refit" if self.queue.plan.refits and self.dataset.n_folds == 1 else "finalist"

    def _judge(self) -> Verdict:
        plan = self.queue.plan
        return judge(self.queue.finalists(), n_rejecting(plan.sizes), prefers_small=plan.prefers_small)

    def _result(self, verdict: Verdict | None, undelivered: int, *, interrupted: bool) -> FinalistsResult:
        """The result, once as many runs as possible have their ids."""
        study = self.context.study
        results = recorded_results(study)
        refit = results.get(verdict.winner.refit_run, {}) if verdict else {}
        run_id = refit["run_id"] if has_model(refit) else None
        opened = seal_opened(study.user_attrs)
        result = FinalistsResult(study.study_name, verdict, run_id, opened, interrupted, undelivered)
        result = replace(result, majority=majority_of(self.dataset), baselines=baselines_of(study.user_attrs))
        if verdict:
            model = study.user_attrs[VERDICT].get("model")
            names = verdict.winner.refit_runs[: self._n_refits(model)]
            failures = [f"{name}: {results[name]['message']}" for name in names if results.get(name, {}).get("message")]
            result = replace(result, model=model, refit_failure="; ".join(failures))
            with suppress(UnavailableError):  # MLflow does not have its run yet
                result = replace(result, used_run=find_winner(study).run_name)
        return replace(result, folds=self.dataset.n_folds, ensemble=recorded_ensemble(study) if verdict else None)

    def _train_finalists(self) -> bool:
        """Trains the missing runs; returns whether it was interrupted."""
        if self.queue.is_empty:
            return False
        return self._train(self.context.spec, self.dataset, self.queue.progress, self.queue.next_job)

    def _train_refits(self, winner: Finalist, n_refits: int) -> bool:
        """Trains the winner on training and validation rows together; returns whether it was interrupted."""
        spec, done = self.context.spec, recorded_results(self.context.study)
        missing = [n for n, name in enumerate(winner.refit_runs[:n_refits], 1) if _may_train(done.get(name, {}))]
        if not missing:
            return False
        jobs = iter([refit_job(self.context, self.dataset, winner, number) for number in missing])
        progress = Progress(spec.name, budget=len(missing), objective=self.context.spec.metric, runs="refits")
        if len(missing) == 1:
            spec = replace(spec, workers=replace(spec.workers, slots=1))
        return self._train(spec, joined(self.dataset), progress, lambda _: next(jobs, None))

    def _train(self, spec: StudySpec, dataset: Dataset, progress: Progress, choose: ChooseJob) -> bool:
        """Trains what ``choose`` returns for the slots; returns whether it was interrupted."""
        self.context.observer.waiting("starting the workers, which import TensorFlow")
        with closing(start_pool(self.pool, spec, dataset, self.context.settings)) as pool:
            self._note_precision(pool)
            runner = FinalistRunner(self.context, pool, progress, lambda: choose(pool.slots))
            with interruptible(runner.interrupt):
                runner.run()
        return runner.interrupted

    def _note_precision(self, pool: Pool) -> None:
        """Says once if this processor is slow in the study's precision."""
        if not self._is_noted:
            self._is_noted = True
            for line in slow_note(self.context.shape.precision_rule, pool.has_bfloat16):
                self.context.observer.note(line)


def _may_train(recorded: Mapping[str, Any]) -> bool:
    """Whether a refit is missing, or failed in a way that the next attempt may not: the same seed diverges again."""
    return not has_model(recorded) and recorded.get("stop_reason") != "diverged"
