"""Paired tests of two models or two configurations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipelines.evaluation.row_scores import in_blocks

# Smaller differences are rounding errors, as shares of the values.
SAME = 1e-12
N_DRAWS = 10_000
"""Random signs of a permutation test."""
_DRAWS_AT_ONCE = 500
_ROUNDING = 1e-5


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


def sign_flip_test(differences: npt.NDArray[np.float64], labels: npt.ArrayLike | None = None) -> float:
    """Returns the two-sided p-value of the sign-flip permutation test of paired differences.

    If two models are equal, each row's difference has either sign with the same chance. So p is the share of
    ``N_DRAWS`` random signs, drawn with a fixed seed, that give a sum as far from 0, with (1 + count) / (1 + draws);
    Hoeffding's bound on that share stands for it where it is smaller, for levels that so few draws cannot reach.

    What a row of a rare class contributes to a metric over classes is large, and its variance is known from few rows.
    There a normal deviate of the same p is looked up in Student's distribution, with the degrees of freedom that the
    classes' parts of the variance have after Satterthwaite.

    Args:
        differences: (n_rows,) first model minus second.
        labels: (n_rows,) class numbers; None without classes.
    """
    blocks = in_blocks(differences)
    blocks = blocks[blocks != 0]
    if not len(blocks):
        return 1.0
    total, spread = abs(float(blocks.sum())), float((blocks**2).sum())
    bound = 2 * math.exp(-(total**2) / (2 * spread))
    p_value = min((1 + _n_as_far(blocks / np.sqrt(spread), total / np.sqrt(spread))) / (1 + N_DRAWS), bound)
    if labels is None or p_value >= 1:
        return p_value
    return float(2 * stats.t.sf(stats.norm.isf(p_value / 2), _degrees(differences, np.asarray(labels))))


def _n_as_far(values: npt.NDArray[np.float64], distance: float) -> int:
    """Counts the random signs of (n,) values whose sum is at least at a distance from 0."""
    rng, n_bytes, count = np.random.default_rng(0), -(-len(values) // 8), 0
    weights = values.astype(np.float32)
    for start in range(0, N_DRAWS, _DRAWS_AT_ONCE):
        n_draws = min(_DRAWS_AT_ONCE, N_DRAWS - start)
        packed = np.frombuffer(rng.bytes(n_draws * n_bytes), np.uint8).reshape(n_draws, n_bytes)
        is_plus = np.unpackbits(packed, axis=1, count=len(values)).astype(np.float32)
        sums = 2 * (is_plus @ weights) - weights.sum()
        # Sums that are equal but for rounding count as equal.
        count += int((np.abs(sums) >= distance - _ROUNDING).sum())
    return count


def _degrees(differences: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    n_rows, squares = np.bincount(labels), np.bincount(labels, differences**2)
    total = float(squares.sum())
    return total**2 / float((squares**2 / np.maximum(n_rows - 1, 1)).sum()) if total else 1.0


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
