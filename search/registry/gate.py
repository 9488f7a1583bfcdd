"""The gate: the rule that a challenger must pass to become champion.

The test rows are the same for every challenger, so equal models would pass sooner or later by chance. The gate spends
its significance level over them: the k-th gets alpha / (k (k + 1)), and these shares add up to alpha.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.evaluation import ALPHA
from pipelines.evaluation.tests import discordant, discordant_with_majority, sign_test, smallest_difference
from search.home.text import ordinal


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The result of a model on the held-out test.

    Attributes:
        name: The model's name in a reason.
        fingerprint: Of the dataset and its split.
        right: (n_rows,) bool, the test rows that it got right, in their order; None if it was never evaluated.
        confusion: (n_classes, n_classes) counts on those rows; None where it is not needed.
        test_rows: Hash of those rows and their labels; "" for a test of an earlier version, which did not record it.
    """

    name: str
    fingerprint: str
    right: np.ndarray | None
    confusion: np.ndarray | None = None
    test_rows: str = ""

    def rows_as(self, other: Reading) -> str:
        """What tells the test rows from those of another model: their hash, or else the dataset's fingerprint."""
        return self.test_rows if self.test_rows and other.test_rows else self.fingerprint


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's decision.

    Attributes:
        passed: Whether the challenger may become champion.
        reason: In a sentence.
        p_value: Of McNemar's exact test; None if nothing was tested.
        level: Its significance level: the challenger's share of alpha; None if nothing was tested.
        smallest_difference: Of the two accuracies, that the test could show at this level; None if nothing was
            tested, or if the rows are too few.
    """

    passed: bool
    reason: str
    p_value: float | None = None
    level: float | None = None
    smallest_difference: float | None = None


def share_of(alpha: float, nth: int) -> float:
    """The significance level of the n-th challenger on the same rows, from 1; the shares of all add up to alpha."""
    return alpha / (nth * (nth + 1))


def pass_gate(challenger: Reading, champion: Reading | None, alpha: float = ALPHA, nth: int = 1) -> GateVerdict:
    """Passes a challenger that is better than the champion on the same held-out rows by more than chance explains.

    The first version is compared with always answering with the rows' most frequent class.

    Args:
        challenger: The model that is to become champion.
        champion: The current one; None if there is none.
        alpha: Significance level of McNemar's exact test, two-sided, of all challengers together.
        nth: The challenger's number, from 1, among the models tested on these rows but for the champion.
    """
    name = challenger.name
    if challenger.right is None:
        return GateVerdict(False, f"{name} was not evaluated on the held-out test")
    if champion is None:
        return _pass_first(challenger, alpha, nth)
    rows, needed_rows = challenger.rows_as(champion), champion.rows_as(challenger)
    if rows != needed_rows:
        reason = f"{name} was tested on other rows than {champion.name} (hash {rows}, not {needed_rows})"
        return GateVerdict(False, f"{reason}: their accuracies cannot be compared")
    if champion.right is None or champion.right.shape != challenger.right.shape:
        return GateVerdict(False, f"{champion.name} has no held-out test to compare with")
    both = f"test accuracy {challenger.right.mean():.4f}, {champion.name} has {champion.right.mean():.4f}"
    signs = discordant(challenger.right, champion.right)
    return _Comparison(f"{name} is", "better", both, signs, len(champion.right)).verdict(alpha, nth)


def _pass_first(challenger: Reading, alpha: float, nth: int) -> GateVerdict:
    name, confusion = challenger.name, challenger.confusion
    first = f"{name} is the first version; there is no champion to compare it with"
    if confusion is None:
        return GateVerdict(True, first)
    n_rows, n_right, majority = int(confusion.sum()), int(confusion.trace()), int(confusion.sum(axis=1).max())
    both = f"test accuracy {n_right / n_rows:.4f}, the most frequent class has {majority / n_rows:.4f}"
    what, signs = "better than always answering with one class", discordant_with_majority(confusion)
    verdict = _Comparison(f"{name} is", what, both, signs, n_rows).verdict(alpha, nth)
    return replace(verdict, reason=f"{first}; {verdict.reason}") if verdict.passed else verdict


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two models on the same rows.

    Attributes:
        subject: Begins the reason, such as "it is".
        what: What it is or is not, such as "better".
        both: Both accuracies.
        signs: Rows that the challenger alone gets right, and those that the other alone does.
        n_rows: All rows.
    """

    subject: str
    what: str
    both: str
    signs: tuple[int, int]
    n_rows: int

    def verdict(self, alpha: float, nth: int) -> GateVerdict:
        """The verdict of McNemar's exact test at the challenger's share of alpha."""
        (wins, losses), level, p_value = self.signs, share_of(alpha, nth), sign_test(*self.signs)
        smallest = smallest_difference(wins + losses, self.n_rows, level)
        tested = f"{self.both}; McNemar's exact test on {self.n_rows:,} rows: p = {p_value:.3g}"
        share = f"{level:.3g}, the {ordinal(nth)} challenger's share of alpha {alpha:g} on these rows"
        could = "no difference on so few rows" if smallest is None else f"a difference of {smallest:.4f}"
        share += f"; it could show {could}"
        if wins <= losses:
            reason = f"{self.subject} not {self.what}: {self.both}; the level is {share}"
        elif p_value >= level:
            reason = f"{self.subject} not significantly {self.what}: {tested}, not below {share}"
        else:
            reason = f"{self.subject} {self.what}: {tested}, below {share}"
        return GateVerdict(wins > losses and p_value < level, reason, p_value, level, smallest)
