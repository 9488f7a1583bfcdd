"""Scores of single rows under several seeds: the interval of their mean, and the test of two means.

An accuracy is a mean over rows and over seeds, and both are samples: other rows would give another accuracy, and so
would other seeds. The interval and the test here count both. A score is a number of a row that is averaged: 1 for a
row that was classified correctly and 0 for another, or what a row contributes to another metric
(``pipelines.training.scores``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipelines.evaluation import CONFIDENCE
from pipelines.evaluation.row_scores import over_groups
from pipelines.evaluation.worth import class_worth, most_rows, worth

MIN_SEEDS = 3
"""Fewer seeds say too little of their spread for an interval."""

_SAME = 1e-9
_STRATIFIED = ("balanced_accuracy", "auc", "average_precision")
"""Metrics whose variance is a sum over the classes, the rare one with few degrees of freedom."""
_QUANTILE = (1 + CONFIDENCE) / 2

Scores = npt.NDArray[np.float64]
"""(n_seeds, n_rows) scores: the same rows in the same order for each seed."""

Part = tuple[float, int]
"""A part of the variance of a mean, and its degrees of freedom."""

Limits = tuple[float, float]
"""The lowest and the highest value that a metric can have."""
SHARE: Limits = (0.0, 1.0)
"""Of accuracy, and of every metric of a classification but the loss."""
_LIMITS: dict[str, Limits] = {
    "loss": (0.0, math.inf),
    "rmse": (0.0, math.inf),
    "mae": (0.0, math.inf),
    "r2": (-math.inf, 1.0),
}


def limits_of(metric: str) -> Limits:
    """Returns the lowest and the highest value of a metric, such as ``auc``."""
    return _LIMITS.get(metric, SHARE)


def interval(scores: Scores, limits: Limits = SHARE, n_rows: float = 0) -> tuple[float, float] | None:
    """Returns the 95% interval of a mean over rows and seeds together.

    The variance is that of a two-way table without repetition. The interval of a share is Wilson's (see ``_wilson``),
    of another metric Student's.

    Args:
        scores: (n_seeds, n_scores), whose mean is the metric.
        limits: Of the metric.
        n_rows: What the rows are worth at most (``most_rows``); 0 if that is the number of scores.

    Returns:
        Low and high; None below three seeds.
    """
    n_seeds, n_scores = scores.shape
    return _interval(scores, limits, n_rows or n_scores) if n_seeds >= MIN_SEEDS else None


def interval_of_rows(
    metric: str,
    scores: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float32] | None = None,
    groups: npt.NDArray[np.integer] | None = None,
    labels: npt.NDArray[np.integer] | None = None,
    n_classes: int = 0,
) -> tuple[float, float]:
    """Returns the 95% interval of one model's metric over the rows.

    Args:
        metric: Its name, such as ``auc``.
        scores: (n_rows,), whose mean is the metric.
        weights: (n_rows,) weights that the scores have; None for equal ones. A share counts on no more rows than they
            are worth.
        groups: (n_rows,) numbers of groups whose rows are not independent; None without groups.
        labels: (n_rows,) class numbers; None for a regression.
        n_classes: Number of classes, also of those without a row.
    """
    n_rows = float(len(scores)) if weights is None else worth(weights)
    parts = None
    if labels is not None:
        n_rows = most_rows(metric, float(scores.mean()), n_rows, class_worth(labels, n_classes, weights))
        parts = _class_parts(scores, labels) if groups is None and metric in _STRATIFIED else None
    numbers = scores if groups is None else over_groups(scores, groups)
    return _interval(numbers[None], limits_of(metric), n_rows, parts)


def _class_parts(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.integer]) -> list[Part]:
    """Returns the parts of the variance of the mean by class: the contributions of each class have their own mean."""
    parts = []
    for number in np.unique(labels):
        of_class = scores[labels == number]
        if (n := len(of_class)) > 1:
            parts.append((float(of_class.var(ddof=1)) * n / len(scores) ** 2, n - 1))
    return parts


def _interval(scores: Scores, limits: Limits, n_rows: float, parts: list[Part] | None = None) -> tuple[float, float]:
    parts = parts or _variance(scores)
    if limits != SHARE:
        return _student(scores, limits, parts)
    share = min(1.0, max(0.0, float(scores.mean())))
    if np.ptp(scores) > _SAME:
        return _wilson(share, n_rows, parts)
    # They differ by rounding alone, as those of a perfect model do. Where all groups of rows agree, nothing shows that
    # their rows are worth more than the groups.
    return _wilson(share, min(n_rows, scores.shape[1]), [])


def _variance(scores: Scores) -> list[Part]:
    """Returns the parts of the variance of the mean: that of the rows, and that of the seeds if there are several."""
    n_seeds, n_rows = scores.shape
    of_rows, of_seeds = scores.mean(axis=0), scores.mean(axis=1)
    rows = (float(of_rows.var()) / max(n_rows - 1, 1), n_rows - 1)
    if n_seeds == 1:
        return [rows]
    rest = scores - of_rows - of_seeds[:, None] + scores.mean()
    # Networks that predict single rows differently have different means without being better or worse.
    noise = (rest**2).sum() / ((n_seeds - 1) * max(n_rows - 1, 1) * n_rows)
    seeds = max(0.0, of_seeds.var(ddof=1) - noise) / n_seeds
    return [rows, (seeds, n_seeds - 1)]


def _student(scores: Scores, limits: Limits, parts: Sequence[Part]) -> tuple[float, float]:
    """Returns Student's 95% interval of a mean, within the limits of its metric: all of them for a single score."""
    if scores.shape[1] < 2:
        return limits
    mean, variance = float(scores.mean()), sum(part for part, _ in parts)
    half = float(stats.t.ppf(_QUANTILE, _degrees(parts)) * np.sqrt(variance)) if variance > 0 else 0.0
    return max(limits[0], mean - half), min(limits[1], mean + half)


def interval_of_means(means: Sequence[float], n_rows: int) -> tuple[float, float] | None:
    """Returns the 95% interval of the mean of accuracies whose rows are not known: Wilson's or Student's, the wider.

    Args:
        means: Accuracies on the same rows, one per seed.
        n_rows: The number of rows.

    Returns:
        Low and high; None below three seeds, or without a number of rows.
    """
    n_seeds = len(means)
    if n_seeds < MIN_SEEDS or not n_rows:
        return None
    return _wilson(float(np.mean(means)), n_rows, [(float(np.var(means, ddof=1)) / n_seeds, n_seeds - 1)])


def _degrees(parts: Sequence[Part]) -> float:
    """Returns the degrees of freedom of a sum of variances above 0, after Satterthwaite."""
    total = sum(variance for variance, _ in parts)
    return total**2 / sum(variance**2 / max(degrees, 1) for variance, degrees in parts)


def _wilson(share: float, n_rows: float, parts: Sequence[Part]) -> tuple[float, float]:
    """Returns Wilson's 95% interval of a share, on as many rows as its variance is worth, at most on all.

    So it is never narrower than Wilson's interval on the rows, it stays within 0 and 1, and it has a width where all
    seeds agree. The idea is that of Korn and Graubard, 1998, for shares in clustered samples.
    """
    z, variance = float(stats.norm.ppf(_QUANTILE)), sum(part for part, _ in parts)
    n = float(n_rows)
    if variance > 0:
        t = float(stats.t.ppf(_QUANTILE, _degrees(parts)))
        n = min(n, share * (1 - share) / variance * (z / t) ** 2) or n  # a share of 0 or 1 has no variance of its own
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def difference_p(a: Scores, b: Scores) -> float:
    """Returns the two-sided p-value of a difference of two means over rows and seeds together.

    As in McNemar's test, the variance over the rows is the one without a difference, and the difference is reduced by
    the smallest step that a row can make. With one seed, the seeds add nothing.

    Args:
        a: (n_seeds, n_rows) scores of the first configuration.
        b: The same of the second, for the same seeds and rows.
    """
    differences = a - b
    of_rows, of_seeds = differences.mean(axis=0), differences.mean(axis=1)
    n_seeds, n_rows = differences.shape
    parts = [(float((of_rows**2).sum()) / n_rows**2, n_rows - 1)]
    if n_seeds > 1:
        parts.append((float(of_seeds.var(ddof=1)) / n_seeds, n_seeds - 1))
    steps = np.abs(of_rows)[of_rows != 0]
    p_value = _p_value(abs(float(of_rows.mean())) - float(steps.min(initial=1.0)) / n_rows, parts)
    # Chance gives as many rows the same sign that often: a normal distribution does not know how few they are.
    return max(p_value, min(1.0, 2.0 ** (1 - len(steps))))


def difference_of_means_p(a: Sequence[float], b: Sequence[float], n_rows: int) -> float:
    """Returns ``difference_p`` of accuracies whose rows are not known: as if the two erred on rows independently.

    Args:
        a: Accuracies of the first configuration, one per seed; at least one.
        b: The same of the second, for the same seeds.
        n_rows: The number of rows.
    """
    differences, share = np.subtract(a, b), float(np.mean([a, b]))
    parts = [(2 * share * (1 - share) / n_rows, n_rows - 1)]
    if len(a) > 1:
        parts.append((float(differences.var(ddof=1)) / len(a), len(a) - 1))
    return _p_value(abs(float(differences.mean())), parts)


def _p_value(distance: float, parts: Sequence[Part]) -> float:
    variance = sum(part for part, _ in parts)
    if variance <= 0 or distance <= 0:
        return 1.0
    return float(2 * stats.t.sf(distance / np.sqrt(variance), _degrees(parts)))
