"""The gate: the rule that a challenger must pass to become champion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.evaluation import ALPHA
from pipelines.evaluation.tests import mcnemar_exact


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The result of a model on the held-out test.

    Attributes:
        fingerprint: Of the dataset and its split.
        accuracy: Test accuracy; None if the model was never evaluated.
        right: (n_rows,) bool, the test rows that it got right, in their order; None as above.
        name: The model's name in a reason.
    """

    fingerprint: str
    accuracy: float | None
    right: np.ndarray | None
    name: str


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's decision.

    Attributes:
        passed: Whether the challenger may become champion.
        reason: In a sentence.
        champion_accuracy: Test accuracy of the champion; None if there is none.
        p_value: Of McNemar's exact test; None if nothing was tested.
    """

    passed: bool
    reason: str
    champion_accuracy: float | None = None
    p_value: float | None = None


def pass_gate(challenger: Reading, champion: Reading | None, alpha: float = ALPHA) -> GateVerdict:
    """Passes a challenger that is better than the champion on the same held-out rows by more than chance explains.

    Args:
        challenger: The model that is to become champion.
        champion: The current one; None if there is none, and the challenger passes untested.
        alpha: Significance level of McNemar's exact test, two-sided.
    """
    if challenger.accuracy is None or challenger.right is None:
        reason = f"{challenger.name} was not evaluated on the held-out test"
        return GateVerdict(False, reason, champion.accuracy if champion else None)
    if champion is None:
        reason = f"{challenger.name} is the first version; there is no champion to compare it with"
        return GateVerdict(True, reason)
    if challenger.fingerprint != champion.fingerprint:
        reason = f"{challenger.name} was tested on other rows than {champion.name} (fingerprint"
        reason += f" {challenger.fingerprint}, not {champion.fingerprint}): their accuracies cannot be compared"
        return GateVerdict(False, reason, champion.accuracy)
    if champion.accuracy is None or champion.right is None or champion.right.shape != challenger.right.shape:
        return GateVerdict(False, f"{champion.name} has no held-out test to compare with", champion.accuracy)
    p_value = mcnemar_exact(challenger.right, champion.right)
    both = f"test accuracy {challenger.accuracy:.4f}, {champion.name} has {champion.accuracy:.4f}"
    tested = f"McNemar's exact test on {len(champion.right):,} rows: p = {p_value:.3g}"
    if challenger.accuracy <= champion.accuracy:
        return GateVerdict(False, f"{challenger.name} is not better: {both}", champion.accuracy, p_value)
    if p_value >= alpha:
        reason = f"{challenger.name} is not significantly better: {both}; {tested}, not below {alpha:g}"
        return GateVerdict(False, reason, champion.accuracy, p_value)
    return GateVerdict(True, f"{challenger.name} is better: {both}; {tested}", champion.accuracy, p_value)
