"""Which configurations are trained again, and which of them has won: the rules, without any training.

A leaderboard's first place is the luckiest of many trials. Finalists are trained with seeds that no trial used, the
same seeds for each, and are judged by their means.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.evaluation.metrics import mean_interval, standard_error
from pipelines.evaluation.tests import SAME, PairedTest, paired_test
from search.optimization.leaderboard import trial_row

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration of the leaderboard: the first trial that had it, and what that trial reached."""

    trial: int
    hyperparameters: Hyperparameters
    value: float


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration and what it reached with each seed.

    Attributes:
        candidate: The configuration.
        seeds: Numbers, from 1, of the seeds it was trained with; fewer where it was stopped early or one failed.
        values: Best validation accuracy with each of them.
        best_epochs: The epoch of each.
        run_ids: MLflow's runs; None for one that MLflow has not taken yet.
        n_parameters: Weights that training changes.
        n_seeds: Seeds that were asked for.
        failure: Why a run of it failed; "" where none did.
    """

    candidate: Candidate
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    best_epochs: tuple[int, ...]
    run_ids: tuple[str | None, ...]
    n_parameters: int
    n_seeds: int
    failure: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether it was trained with every seed."""
        return len(self.values) == self.n_seeds and not self.failure

    @property
    def mean(self) -> float:
        """Mean validation accuracy; 0 without a run."""
        return mean_interval(self.values)[0] if self.values else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the mean, by Student's t."""
        return mean_interval(self.values)[1:] if self.values else (0.0, 0.0)

    @property
    def epochs(self) -> int:
        """The best epoch, on average: how long a training without validation rows goes on."""
        return mean_epoch(self.best_epochs)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who has won.

    Attributes:
        finalists: The winner first, then by mean; those that were stopped early last.
        test: Winner against runner-up; None where there is no other.
        explanation: The rules that decided, in a sentence or two.
    """

    finalists: tuple[Finalist, ...]
    test: PairedTest | None
    explanation: str

    @property
    def winner(self) -> Finalist:
        """The configuration to use."""
        return self.finalists[0]

    @property
    def runner_up(self) -> Finalist | None:
        """The best of the others."""
        return self.finalists[1] if len(self.finalists) > 1 else None

    @property
    def p_value(self) -> float:
        """Of the test; 1 where nothing was tested."""
        return self.test.p_value if self.test else 1.0

    @property
    def significant(self) -> bool:
        """Whether the winner is better than the runner-up by more than chance explains."""
        return self.test is not None and self.test.statistic > 0 and self.test.p_value < ALPHA


def candidates(study: optuna.Study, top: int) -> list[Candidate]:
    """The best distinct configurations of complete trials, the best first.

    Raises:
        NotFoundError: No trial is complete.
    """
    rows = [trial_row(t, {}) for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    distinct: dict[str, Candidate] = {}
    for row in rows:
        found = Candidate(row.number, Hyperparameters(**row.params), row.value or 0.0)
        distinct.setdefault(json.dumps(row.params, sort_keys=True), found)
    if not distinct:
        raise NotFoundError(f"study {study.study_name!r}: must have a complete trial, got none: run it first")
    return sorted(distinct.values(), key=lambda c: (-c.value, c.trial))[:top]


def mean_epoch(best_epochs: Sequence[int]) -> int:
    """The mean of some best epochs, as a number of epochs."""
    return max(1, round(sum(best_epochs) / len(best_epochs)))


def order(n_candidates: int, n_seeds: int) -> list[tuple[int, int]]:
    """(candidate, seed number) in the order of training.

    The first two go through all seeds and set the mark; then every other one is tried seed by seed.
    """
    every = [(rank, number) for rank in range(n_candidates) for number in range(1, n_seeds + 1)]
    return sorted(every, key=lambda run: (run[0] > 1, run[1] if run[0] > 1 else 0, run))


def is_out(finalist: Finalist, others: Sequence[Finalist], ceiling: float) -> bool:
    """Whether a configuration can neither win nor come second any more.

    So it is where, with every seed that is left at the ceiling, its mean would be below the second best mean of the
    configurations that are complete, and more than one standard error below the best.

    Args:
        finalist: The configuration.
        others: All of them.
        ceiling: The highest validation accuracy that any run of the study has reached.
    """
    if finalist.failure:
        return True
    done = sorted((f for f in others if f.is_complete), key=lambda f: -f.mean)
    if finalist.is_complete or len(done) < 2:
        return False
    left = finalist.n_seeds - len(finalist.values)
    reachable = (sum(finalist.values) + left * ceiling) / finalist.n_seeds
    return reachable < min(done[0].mean - standard_error(done[0].values), done[1].mean) - SAME


def judge(finalists: Sequence[Finalist]) -> Verdict:
    """Names the winner: of those within one standard error of the best mean, the smallest network.

    Raises:
        NotFoundError: No configuration was trained with every seed.
    """
    complete = [f for f in finalists if f.is_complete]
    if not complete:
        reasons = "; ".join(f.failure for f in finalists if f.failure) or "none was trained to its end"
        raise NotFoundError(f"finalists: one at least must be trained with every seed, got none ({reasons})")
    best = max(complete, key=lambda f: (f.mean, -f.n_parameters))
    floor = best.mean - standard_error(best.values) - SAME
    winner = min((f for f in complete if f.mean >= floor), key=lambda f: (f.n_parameters, -f.mean))
    rest = sorted((f for f in finalists if f is not winner), key=lambda f: (not f.is_complete, -f.mean))
    test = None
    if rest and rest[0].values:  # the winner has every seed
        test = paired_test([winner.values[number - 1] for number in rest[0].seeds], rest[0].values)
    verdict = Verdict((winner, *rest), test, "")
    return Verdict(verdict.finalists, test, _explain(verdict, best))


def _explain(verdict: Verdict, best: Finalist) -> str:
    winner, second = verdict.winner, verdict.runner_up
    if winner is best:
        text = f"The configuration of trial {winner.candidate.trial} has the best mean"
        text += " and none within one standard error of it is smaller." if second else "."
    else:
        text = (
            f"The configuration of trial {winner.candidate.trial} is the smallest network within one standard error of"
            f" the best mean, {best.mean:.4f} of trial {best.candidate.trial}: {winner.n_parameters:,} parameters"
            f" instead of {best.n_parameters:,}."
        )
    if second is None or verdict.test is None:
        return f"{text} There is no other configuration: none is significantly better than another."
    against = f"trial {second.candidate.trial} ({verdict.test.name} over the seeds, p = {verdict.p_value:.3g})"
    if verdict.significant:
        return f"{text} It is significantly better than {against}."
    return f"{text} No configuration is significantly better: it does not differ from {against} by more than chance."


def as_attribute(verdict: Verdict, top: int, n_seeds: int) -> dict[str, Any]:
    """What the study keeps of a verdict."""
    return {
        "winner": verdict.winner.candidate.trial,
        "runner_up": verdict.runner_up.candidate.trial if verdict.runner_up else None,
        "trials": [f.candidate.trial for f in verdict.finalists],
        "means": [f.mean for f in verdict.finalists],
        "top": top,
        "seeds": n_seeds,
        "p_value": verdict.p_value,
        "significant": verdict.significant,
        "explanation": verdict.explanation,
    }
