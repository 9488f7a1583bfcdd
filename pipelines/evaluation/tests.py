"""Paired tests of two models or two configurations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipelines.evaluation.predictions import Predictions
from pipelines.evaluation.row_scores import MAX_SCORES, in_blocks, in_groups

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
    """Returns ``discordant`` of a model and of always predicting its rows' most frequent class.

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


def exchange_test(metric: str, first: Predictions, second: Predictions) -> float:
    """Returns the two-sided p-value of the permutation test of two models' metrics.

    If two models are equal, it does not matter which of them gave which of the two predictions for a row. So p is the
    share of ``N_DRAWS`` random exchanges, drawn with a fixed seed, that give a difference of the metrics at least as
    large as the observed one, with (1 + count) / (1 + draws). Rows of one group are exchanged together. It is exact for
    means over rows, for balanced accuracy and macro F1; for AUC and average precision the rows' own parts are
    exchanged, because the scores of two models may have different scales.

    Args:
        metric: See ``pipelines.training.scores``.
        first: Predictions of the first model.
        second: The second's, for the same rows.
    """
    if metric == "macro_f1":
        n_as_large = _n_as_large_f1(first, second)
        p_value = (1 + n_as_large) / (1 + N_DRAWS)
        return p_value if n_as_large else min(p_value, _bound(*_differences(metric, first, second)))
    # A few true rows move average precision further than their influence says: their own precisions must show it too.
    names = (metric, "precisions") if metric == "average_precision" else (metric,)
    return max(sign_flip_test(*_differences(name, first, second)) for name in names)


def _differences(metric: str, first: Predictions, second: Predictions) -> tuple[npt.NDArray[np.float64], float]:
    """Returns the differences of the own parts of (n_rows,) rows or of groups of rows, and that of the metrics."""
    one, other = first.parts(metric), second.parts(metric)
    exchanged, group = one.own - other.own, first.group
    return exchanged if group is None else in_groups(exchanged, group), one.value - other.value


def sign_flip_test(exchanged: npt.NDArray[np.float64], difference: float | None = None) -> float:
    """Returns the two-sided p-value of the permutation test of a sum over rows.

    An exchange changes the sign of a row's part. Hoeffding's bound on the share of such signs stands for it where it is
    smaller, for levels that so few draws cannot reach.

    Args:
        exchanged: (n_rows,) parts of the first model minus those of the second (``Parts.own``).
        difference: Of the two metrics; None is the mean of ``exchanged``.
    """
    blocks = in_blocks(exchanged)
    mean = float(blocks.mean()) if difference is None else difference
    distance = abs(mean) * len(blocks)
    blocks = blocks[blocks != 0]
    if not len(blocks):
        return 1.0
    norm = float(np.sqrt((blocks**2).sum()))
    p_value = (1 + _n_as_far(blocks / norm, distance / norm)) / (1 + N_DRAWS)
    return min(p_value, _bound(exchanged, mean))


def _bound(exchanged: npt.NDArray[np.float64], difference: float) -> float:
    """Returns Hoeffding's bound on the chance that random signs give such a difference."""
    blocks = in_blocks(exchanged)
    spread = float((blocks**2).sum())
    return min(1.0, 2 * math.exp(-((difference * len(blocks)) ** 2) / (2 * spread))) if spread else 1.0


def _random_bits(n_values: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yields ``N_DRAWS`` draws of 0 or 1 for each of n values, some at once."""
    rng, n_bytes = np.random.default_rng(0), -(-n_values // 8)
    for start in range(0, N_DRAWS, _DRAWS_AT_ONCE):
        n_draws = min(_DRAWS_AT_ONCE, N_DRAWS - start)
        packed = np.frombuffer(rng.bytes(n_draws * n_bytes), np.uint8).reshape(n_draws, n_bytes)
        yield np.unpackbits(packed, axis=1, count=n_values).astype(np.float32)


def _n_as_far(values: npt.NDArray[np.float64], distance: float) -> int:
    """Counts the random signs of (n,) values whose sum is at least at a distance from 0."""
    weights = values.astype(np.float32)
    sums = (2 * (is_plus @ weights) - weights.sum() for is_plus in _random_bits(len(values)))
    # Sums that are equal but for rounding count as equal.
    return sum(int((np.abs(found) >= distance - _ROUNDING).sum()) for found in sums)


def _n_as_large_f1(first: Predictions, second: Predictions) -> int:
    """Counts the random exchanges of predicted classes after which macro F1 differ at least as much as before."""
    labels, n_classes = first.truth, first.predicted.shape[1]
    weights = np.ones(len(labels)) if first.weight is None else first.weight.astype(np.float64)
    names = np.eye(n_classes)
    # (n_rows, 2 * n_classes): what each row adds to the right and to the predicted rows of each class.
    rows = [
        weights[:, None] * np.hstack([names[labels] * (predicted == labels)[:, None], names[predicted]])
        for predicted in (first.predicted.argmax(axis=1), second.predicted.argmax(axis=1))
    ]
    differs = np.flatnonzero((rows[0] != rows[1]).any(axis=1))
    if not len(differs):
        return N_DRAWS
    if first.group is None:  # neighbors are exchanged together where there are very many
        together = np.arange(len(differs)) // -(-len(differs) // MAX_SCORES)
    else:
        together = np.unique(first.group[differs], return_inverse=True)[1]
    changes = np.zeros((together.max() + 1, 2 * n_classes), np.float32)
    np.add.at(changes, together, (rows[1] - rows[0])[differs])
    both, own = rows[0].sum(axis=0) + rows[1].sum(axis=0), rows[0].sum(axis=0)
    supports, count = np.bincount(labels, weights, n_classes).astype(np.float64), 0
    difference = abs(float((_macro_f1(own[None], supports) - _macro_f1((both - own)[None], supports))[0]))
    for is_exchanged in _random_bits(len(changes)):
        drawn = own + (is_exchanged @ changes).astype(np.float64)
        found = _macro_f1(drawn, supports) - _macro_f1(both - drawn, supports)
        count += int((np.abs(found) >= difference - _ROUNDING).sum())
    return count


def _macro_f1(counts: npt.NDArray[np.float64], supports: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns (n,) macro F1 from (n, 2 * n_classes) right and predicted rows of each class."""
    right, predicted = np.split(counts, 2, axis=1)
    rows = supports + predicted
    occurs = rows > _ROUNDING
    return np.asarray((2 * right / np.where(occurs, rows, 1)).sum(axis=1) / occurs.sum(axis=1))


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
    same = SAME * float(np.abs([a, b]).max())
    if len(a) < 2 or np.abs(differences).max() <= same:
        return PairedTest("paired t-test", 0.0, 1.0)
    if np.ptp(differences) <= same:
        n_better = len(a) if differences[0] > 0 else 0
        return PairedTest("sign test", n_better - len(a) / 2, float(stats.binomtest(n_better, len(a)).pvalue))
    result = stats.ttest_rel(a, b)
    return PairedTest("paired t-test", float(result.statistic), float(result.pvalue))
