"""The gate: the rule that a challenger must pass to become champion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.evaluation import ALPHA
from pipelines.evaluation.tests import majority_exact, mcnemar_exact


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
    """

    passed: bool
    reason: str
    p_value: float | None = None


def pass_gate(challenger: Reading, champion: Reading | None, alpha: float = ALPHA) -> GateVerdict:
    """Passes a challenger that is better than the champion on the same held-out rows by more than chance explains.

    The first version is compared with always answering with the rows' most frequent class.

    Args:
        challenger: The model that is to become champion.
        champion: The current one; None if there is none.
        alpha: Significance level of McNemar's exact test, two-sided.
    """
    name = challenger.name
    if challenger.right is None:
        return GateVerdict(False, f"{name} was not evaluated on the held-out test")
    if champion is None:
        return _pass_first(challenger, alpha)
    rows, needed_rows = challenger.rows_as(champion), champion.rows_as(challenger)
    if rows != needed_rows:
        reason = f"{name} was tested on other rows than {champion.name} (hash {rows}, not {needed_rows})"
        return GateVerdict(False, f"{reason}: their accuracies cannot be compared")
    if champion.right is None or champion.right.shape != challenger.right.shape:
        return GateVerdict(False, f"{champion.name} has no held-out test to compare with")
    p_value = mcnemar_exact(challenger.right, champion.right)
    accuracy, needed = challenger.right.mean(), champion.right.mean()
    both = f"test accuracy {accuracy:.4f}, {champion.name} has {needed:.4f}"
    tested = f"McNemar's exact test on {len(champion.right):,} rows: p = {p_value:.3g}"
    if accuracy <= needed:
        return GateVerdict(False, f"{name} is not better: {both}", p_value)
    if p_value >= alpha:
        reason = f"{name} is not significantly better: {both}; {tested}, not below {alpha:g}"
        return GateVerdict(False, reason, p_value)
    return GateVerdict(True, f"{name} is better: {both}; {tested}", p_value)


def _pass_first(challenger: Reading, alpha: float) -> GateVerdict:
    name, confusion = challenger.name, challenger.confusion
    first = f"{name} is the first version; there is no champion to compare it with"
    if confusion is None:
        return GateVerdict(True, first)
    n_rows, n_right, majority = confusion.sum(), confusion.trace(), confusion.sum(axis=1).max()
    p_value = majority_exact(confusion)
    both = f"test accuracy {n_right / n_rows:.4f}, the most frequent class has {majority / n_rows:.4f}"
    tested = f"McNemar's exact test on {n_rows:,} rows: p = {p_value:.3g}"
    if n_right <= majority:
        return GateVerdict(False, f"{name} is not better than always answering with one class: {both}", p_value)
    if p_value >= alpha:
        reason = f"{name} is not significantly better than always answering with one class: {both}; {tested}"
        return GateVerdict(False, f"{reason}, not below {alpha:g}", p_value)
    return GateVerdict(
        True, f"{first}, and it is better than always answering with one class: {both}; {tested}", p_value
    )
