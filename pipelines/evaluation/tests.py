"""Paired tests of two models or two configurations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

# Smaller differences between accuracies are rounding errors.
SAME = 1e-12


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A test of two configurations over the same seeds.

    Attributes:
        name: Name of the test, for people.
        statistic: Positive if the first configuration is better; 0 if nothing could be tested.
        p_value: Two-sided p-value.
    """

    name: str
    statistic: float
    p_value: float


def mcnemar_exact(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> float:
    """Returns the two-sided p-value of McNemar's exact test of two models on the same rows.

    Only rows that exactly one of the models gets right count; without any the p-value is 1.

    Args:
        right_a: (n_rows,) bool, whether the first model gets each row right.
        right_b: (n_rows,) bool, the same of the second model, in the same order.

    Raises:
        ValueError: The two differ in length.
    """
    first, second = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"both models must be scored on the same rows, got {first.shape} and {second.shape}")
    return sign_test(int((first & ~second).sum()), int((second & ~first).sum()))


def majority_exact(confusion: npt.ArrayLike) -> float:
    """Returns the two-sided p-value of McNemar's exact test of a model against its rows' most frequent class.

    Args:
        confusion: (n_classes, n_classes) counts; rows are the true classes, columns the predicted ones.
    """
    counts = np.asarray(confusion)
    supports = counts.sum(axis=1)
    majority = int(supports.argmax())
    both_right = int(counts[majority, majority])
    return sign_test(int(counts.trace()) - both_right, int(supports[majority]) - both_right)


def sign_test(n_first: int, n_second: int) -> float:
    """Returns the two-sided p-value of the exact sign test; 1 where there is no sign."""
    if n_first + n_second == 0:
        return 1.0
    return float(stats.binomtest(n_first, n_first + n_second).pvalue)


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Tests whether two configurations differ in accuracy over the same seeds.

    This is a paired t-test, with two exceptions. A single pair, or equal values throughout, give p = 1. Where every
    seed shows the same difference, the variance is 0 and a t-test would be certain after two seeds: the exact sign
    test is used instead, which needs six seeds for p < 0.05.

    Args:
        a: Accuracies of the first configuration, one per seed.
        b: Accuracies of the second, for the same seeds in the same order.

    Raises:
        ValueError: The two differ in length, or are empty.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"both configurations need the same seeds, at least one, got {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if len(a) < 2 or np.abs(differences).max() <= SAME:
        return PairedTest("paired t-test", 0.0, 1.0)
    if np.ptp(differences) <= SAME:
        n_better = len(a) if differences[0] > 0 else 0
        return PairedTest("sign test", n_better - len(a) / 2, float(stats.binomtest(n_better, len(a)).pvalue))
    result = stats.ttest_rel(a, b)
    return PairedTest("paired t-test", float(result.statistic), float(result.pvalue))
