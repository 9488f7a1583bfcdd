"""Paired tests of two models or two configurations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

# Smaller differences are rounding errors, as shares of the values.
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


def discordant(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> tuple[int, int]:
    """Returns how many rows the first of two models alone gets right, and how many the second alone.

    ``sign_test`` of them is McNemar's exact test of the two models.

    Args:
        right_a: (n_rows,) bool, whether the first model gets each row right.
        right_b: (n_rows,) bool, the same of the second model, in the same order.

    Raises:
        ValueError: The two differ in length.
    """
    first, second = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"both models must be scored on the same rows, got {first.shape} and {second.shape}")
    return int((first & ~second).sum()), int((second & ~first).sum())


def discordant_with_majority(confusion: npt.ArrayLike) -> tuple[int, int]:
    """Returns ``discordant`` of a model and of always answering with its rows' most frequent class.

    Args:
        confusion: (n_classes, n_classes) counts; rows are the true classes, columns the predicted ones.
    """
    counts = np.asarray(confusion)
    supports = counts.sum(axis=1)
    majority = int(supports.argmax())
    both_right = int(counts[majority, majority])
    return int(counts.trace()) - both_right, int(supports[majority]) - both_right


def sign_test(n_first: int, n_second: int) -> float:
    """Returns the two-sided p-value of the exact sign test; 1 where there is no sign."""
    if n_first + n_second == 0:
        return 1.0
    return float(stats.binomtest(n_first, n_first + n_second).pvalue)


def smallest_difference(n_signs: int, n_rows: int, level: float) -> float | None:
    """Returns the smallest difference of two accuracies that the exact sign test could show at a level.

    Args:
        n_signs: Rows that exactly one of the models gets right. Where they are too few to show anything, the fewest
            that could count.
        n_rows: All rows.
        level: Significance level.

    Returns:
        The difference; None if there are too few rows to show any.
    """
    fewest = math.floor(1 - math.log2(level)) + 1
    if fewest > n_rows:
        return None
    n_signs = max(n_signs, fewest)
    first = np.arange(n_signs // 2, n_signs + 1)
    is_shown = 2 * stats.binom.sf(first - 1, n_signs, 0.5) < level
    return float(2 * first[is_shown.argmax()] - n_signs) / n_rows


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Tests whether two configurations differ over the same seeds.

    This is a paired t-test, with two exceptions. A single pair, or equal values throughout, give p = 1. Where every
    seed shows the same difference, the variance is 0 and a t-test would be certain after two seeds: the exact sign
    test is used instead, which needs six seeds for p < 0.05.

    Args:
        a: Values of the first configuration, one per seed; more is better.
        b: Values of the second, for the same seeds in the same order.

    Raises:
        ValueError: The two differ in length, or are empty.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"both configurations need the same seeds, at least one, got {len(a)} and {len(b)}")
    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    same = SAME * max(1.0, float(np.abs([a, b]).max()))
    if len(a) < 2 or np.abs(differences).max() <= same:
        return PairedTest("paired t-test", 0.0, 1.0)
    if np.ptp(differences) <= same:
        n_better = len(a) if differences[0] > 0 else 0
        return PairedTest("sign test", n_better - len(a) / 2, float(stats.binomtest(n_better, len(a)).pvalue))
    result = stats.ttest_rel(a, b)
    return PairedTest("paired t-test", float(result.statistic), float(result.pvalue))
