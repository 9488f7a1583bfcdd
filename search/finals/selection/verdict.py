"""The winner of the finalists, and how it compares with the others.

The first place of a leaderboard is the best of many noisy values, so its value is too good on average. Finalists
are trained with seeds that no trial had, the same ones for each configuration, and are compared by their means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import NotFoundError
from pipelines.evaluation import ALPHA
from pipelines.evaluation.intervals import difference_of_means_p, difference_p, limits_of
from pipelines.evaluation.metrics import standard_error
from pipelines.evaluation.tests import PairedTest, paired_test
from search.finals.finalist import Finalist
from search.finals.selection.plans import lowest_equal
from search.home.text import value_text


@dataclass(frozen=True, slots=True)
class Verdict:
    """The winner and how it compares with the others.

    Attributes:
        finalists: The winner first, then by mean; those that were stopped early last.
        test: Winner against runner-up over their common seeds; None if there is no other.
        rows_p: P-value of their difference over seeds and validation rows together; 0 if the rows are unknown.
        explanation: The rules that decided, in a sentence or two.
        expected: The value to expect of the winner with a new seed. Its own mean is the best of several, so it is too
            good on average; None where no seed is left that did not choose.
    """

    finalists: tuple[Finalist, ...]
    test: PairedTest | None
    explanation: str
    rows_p: float = 0.0
    expected: float | None = None

    @property
    def winner(self) -> Finalist:
        """The configuration to use."""
        return self.finalists[0]

    @property
    def runner_up(self) -> Finalist | None:
        """The best of the others."""
        return self.finalists[1] if len(self.finalists) > 1 else None

    @property
    def expected_interval(self) -> tuple[float, float] | None:
        """95% interval of ``expected``: that of the winner's mean, moved by their difference."""
        own = self.winner.interval
        if own is None or self.expected is None:
            return None
        shift, (lowest, highest) = self.expected - self.winner.mean, limits_of(self.winner.objective.metric)
        low, high = (min(highest, max(lowest, end + shift)) for end in own)
        return low, high

    @property
    def p_value(self) -> float:
        """The larger of both tests: a difference must hold on other rows and with other seeds; 1 without a test."""
        return max(self.test.p_value, self.rows_p) if self.test else 1.0

    @property
    def significant(self) -> bool:
        """Whether the winner is better than the runner-up by more than chance explains."""
        # The winner may have the lower mean, being smaller: then a low p-value does not say that it is better.
        return self.test is not None and self.test.statistic > 0 and self.p_value < ALPHA

    @property
    def loss(self) -> float:
        """By how much the runner-up's mean over their common seeds is better, where the tests show that; else 0."""
        if self.test is None or self.test.statistic >= 0 or self.p_value >= ALPHA:
            return 0.0
        other = self.finalists[1]
        return float(np.mean(np.subtract(other.gains, self.winner.gains_of(other.seeds))))


def judge(finalists: Sequence[Finalist], n_screening: int = 0, *, prefers_small: bool = True) -> Verdict:
    """Names the winner: of those within one standard error of the best mean, the smallest network.

    Args:
        finalists: All configurations.
        n_screening: Number of seeds, from the first, by which some of them were rejected.
        prefers_small: False names the one with the best mean: the standard error of few seeds is a poor guess.

    Raises:
        NotFoundError: No configuration was trained with every seed.
    """
    complete = [f for f in finalists if f.is_complete]
    if not complete:
        reasons = "; ".join(f.failure for f in finalists if f.failure) or "none was trained to its end"
        raise NotFoundError(f"finalists: at least one must be trained with every seed, got none ({reasons})")
    winner, best = _choose(complete, prefers_small)
    others = sorted((f for f in finalists if f is not winner), key=lambda f: (not f.is_complete, -f.gain))
    test, rows_p = _compare(winner, others[0]) if others and others[0].values else (None, 0.0)
    verdict = Verdict((winner, *others), test, "", rows_p, _expected(complete, n_screening, prefers_small))
    smaller_ones = others if prefers_small else []
    return replace(verdict, explanation=f"{_explain_choice(winner, best, smaller_ones)} {_explain_test(verdict)}")


def _choose(complete: Sequence[Finalist], prefers_small: bool) -> tuple[Finalist, Finalist]:
    """The winner and the one with the best mean."""
    best = max(complete, key=lambda f: (f.gain, -f.n_parameters))
    floor = lowest_equal(best) if prefers_small else best.gain
    return min((f for f in complete if f.gain >= floor), key=lambda f: (f.n_parameters, -f.gain)), best


def _expected(complete: Sequence[Finalist], n_screening: int, prefers_small: bool) -> float | None:
    """The mean over seeds of the value that the winner by the other seeds has with this one: it did not choose."""
    fresh = [number for number in complete[0].seeds if number > n_screening]
    if not fresh or (len(complete) > 1 and complete[0].n_seeds == 1):
        return None
    values = []
    for number in fresh:
        chosen = 0
        if len(complete) > 1:
            others = [finalist.without(number) for finalist in complete]
            chosen = others.index(_choose(others, prefers_small)[0])
        values += complete[chosen].values_of([number])
    return float(np.mean(values))


def _compare(winner: Finalist, other: Finalist) -> tuple[PairedTest, float]:
    """Tests a difference over their common seeds, and over these and the validation rows together."""
    # The other may lack a seed; the winner has each of them.
    gains = winner.gains_of(other.seeds)
    test, own, others = paired_test(gains, other.gains), winner.scores(other.seeds), other.scores(other.seeds)
    if own is not None and others is not None:
        return test, difference_p(own, others)
    return test, difference_of_means_p(gains, other.gains, winner.n_rows) if winner.n_rows else 0.0


def _explain_choice(winner: Finalist, best: Finalist, others: Sequence[Finalist]) -> str:
    start = f"The configuration of trial {winner.candidate.trial}"
    if winner is best:
        rest = " and none within one standard error of it is smaller" if others else ""
        return f"{start} has the best mean{rest}."
    return (
        f"{start} is the smallest network within one standard error of the best mean, {value_text(best.mean)} of trial"
        f" {best.candidate.trial}: {winner.n_parameters:,} parameters instead of {best.n_parameters:,}."
    )


def _explain_test(verdict: Verdict) -> str:
    test, other = verdict.test, verdict.runner_up
    if test is None or other is None:
        return "No other configuration has a run: none is significantly better than another."
    over_rows = f"; over seeds and rows, p = {verdict.rows_p:.3g}" if verdict.rows_p else ""
    against = f"trial {other.candidate.trial} ({test.name} over the seeds, p = {test.p_value:.3g}{over_rows})"
    if verdict.loss:
        reason = "it was not chosen because it was not trained with every seed"
        if other.is_complete:
            error = standard_error(other.values)
            reason = (
                "the smaller network was chosen because its mean is within one standard error"
                f" ({value_text(error)}) of the best"
            )
        by = value_text(verdict.loss)
        return f"The configuration of {against} is significantly better, by {by} on average; {reason}."
    if verdict.significant:
        return f"It is significantly better than {against}."
    return f"No configuration is significantly better: it does not differ from {against} by more than chance."


def as_attribute(verdict: Verdict, sizes: Sequence[int]) -> dict[str, object]:
    """The verdict as the study keeps it; ``sizes`` are those of its plan."""
    return {
        "winner": verdict.winner.candidate.trial,
        "runner_up": verdict.runner_up.candidate.trial if verdict.runner_up else None,
        "objective": verdict.winner.objective.name,
        "trials": [f.candidate.trial for f in verdict.finalists],
        "means": [f.mean for f in verdict.finalists],
        "top": sizes[0],
        "seeds": len(sizes),
        "rows": verdict.winner.n_rows,
        "class_rows": list(verdict.winner.class_rows),
        "rounds": list(sizes),
        "p_value": verdict.p_value,
        "significant": verdict.significant,
        "loss": verdict.loss,
        "explanation": verdict.explanation,
        "expected": verdict.expected,
        "expected_interval": verdict.expected_interval,
    }
