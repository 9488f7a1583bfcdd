"""The gate: the rule that a challenger must pass to become champion.

Accuracies are compared by McNemar's exact test. Every other metric is compared by the sign-flip permutation test of
what the rows contribute to it: squared errors for RMSE and R², absolute errors for MAE, cross-entropies for the loss.

The test rows are the same for every challenger, so equal models would pass sooner or later by chance. The gate spends
its significance level over them: the k-th gets alpha / (k (k + 1)), and these shares add up to alpha.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.evaluation import ALPHA
from pipelines.evaluation.predictions import Predictions
from pipelines.evaluation.tests import (
    discordant,
    discordant_with_majority,
    exchange_test,
    sign_test,
    smallest_difference,
)
from search.home.text import ordinal, value_text

LOSS_AS = {"mse": "rmse", "mae": "mae", "huber": "mae"}
"""The metric that stands for the loss of a regression, whose unit depends on the training rows of each model."""
_COMPARED = {
    "accuracy": ("accuracy", "the rows' accuracies"),
    "loss": ("loss", "the rows' cross-entropies"),
    "rmse": ("mse", "the rows' squared errors"),
    "r2": ("mse", "the rows' squared errors"),
    "mae": ("mae", "the rows' absolute errors"),
    "auc": ("auc", "the rows' contributions to AUC"),
    "average_precision": ("average_precision", "the rows' contributions to average precision"),
    "balanced_accuracy": ("balanced_accuracy", "the rows' predicted classes"),
    "macro_f1": ("macro_f1", "the rows' predicted classes"),
}
"""The part of each row that is compared for a metric, and its name."""
_LOWER_IS_BETTER = ("loss", "mse", "mae")
_ROUNDING = 1e-6
"""Predictions are float32: a smaller difference, as a share of the values, is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The result of a model on the held-out test.

    Attributes:
        name: The model's name in a reason.
        fingerprint: Of the dataset and its split.
        right: (n_rows,) bool, the test rows that it got right, in their order; None if it was never evaluated.
        confusion: (n_classes, n_classes) counts on those rows; None where accuracy does not matter.
        test_rows: Hash of those rows and their labels; "" for a test of an earlier version, which did not record it.
        predictions: The predictions of those rows; None for a test of an earlier version, which did not keep them.
    """

    name: str
    fingerprint: str
    right: np.ndarray | None
    confusion: np.ndarray | None = None
    test_rows: str = ""
    predictions: Predictions | None = None

    @property
    def is_tested(self) -> bool:
        """Whether it was evaluated on the held-out test."""
        return self.right is not None or self.predictions is not None

    @property
    def is_beyond_mcnemar(self) -> bool:
        """Whether the test rows have weights or groups, which McNemar's test cannot count."""
        kept = self.predictions
        return kept is not None and (kept.weight is not None or kept.group is not None)

    @property
    def kept(self) -> Predictions:
        """The predictions, which must have been kept."""
        if self.predictions is None:
            raise ValueError(f"{self.name}: must have predictions, got none")
        return self.predictions

    def rows_as(self, other: Reading) -> str:
        """The identity of the test rows: their hash, or else the dataset's fingerprint."""
        return self.test_rows if self.test_rows and other.test_rows else self.fingerprint


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The gate's decision.

    Attributes:
        passed: Whether the challenger may become champion.
        reason: In a sentence.
        p_value: Of the test; None if nothing was tested.
        level: Its significance level: the challenger's share of alpha; None if nothing was tested.
        smallest_difference: Of the two accuracies, that McNemar's exact test could show at this level; None for
            another test, if nothing was tested, or if the rows are too few.
        test: The name of the test; None if nothing was tested.
    """

    passed: bool
    reason: str
    p_value: float | None = None
    level: float | None = None
    smallest_difference: float | None = None
    test: str | None = None


def share_of(alpha: float, nth: int) -> float:
    """The significance level of the n-th challenger on the same rows, from 1; the shares of all add up to alpha."""
    return alpha / (nth * (nth + 1))


def pass_gate(
    challenger: Reading, champion: Reading | None, alpha: float = ALPHA, nth: int = 1, metric: str = "accuracy"
) -> GateVerdict:
    """Passes a challenger that is better than the champion on the same held-out rows by more than chance explains.

    The first version is compared with the best constant prediction for these rows: by accuracy, their most frequent
    class. A later one must have a better value than that prediction, too.

    Args:
        challenger: The model that is to become champion.
        champion: The current one; None if there is none.
        alpha: Significance level of the test, two-sided, of all challengers together.
        nth: The challenger's number, from 1, among the models tested on these rows but for the champion.
        metric: That of the challenger's objective, without its rows; of a regression's loss, that of ``LOSS_AS``.
    """
    name = challenger.name
    if not challenger.is_tested:
        return GateVerdict(False, f"{name} was not evaluated on the held-out test")
    if champion is None:
        return _pass_first(challenger, alpha, nth, metric)
    rows, needed_rows = challenger.rows_as(champion), champion.rows_as(challenger)
    if rows != needed_rows:
        reason = f"{name} was tested on other rows than {champion.name} (hash {rows}, not {needed_rows})"
        return GateVerdict(False, f"{reason}: they cannot be compared")
    by_rows = metric != "accuracy" or challenger.is_beyond_mcnemar or champion.is_beyond_mcnemar
    problem = _missing(challenger, by_rows=by_rows) or _missing(champion, by_rows=by_rows)
    problem = problem or _unlike(challenger, champion, by_rows=by_rows)
    if problem:
        return GateVerdict(False, problem)
    if by_rows:
        compared = _by_contributions(challenger.kept, champion.kept, champion.name, metric)
    else:
        compared = _mcnemar(challenger, champion)
    verdict = compared.verdict(f"{name} is", "better", alpha, nth)
    constant = _beside_constant(challenger, metric)
    if verdict.passed and constant and not constant.is_better:
        reason = f"{name} is better than {champion.name}, but not {constant.what}: {constant.both}"
        return replace(verdict, passed=False, reason=reason)
    return verdict


def _missing(model: Reading, *, by_rows: bool) -> str:
    """The reason why a model cannot be compared, by contributions of rows or by correct rows; "" if it can."""
    if not model.is_tested:
        return f"{model.name} has no held-out test to compare with"
    if not by_rows and model.right is None:
        return f"{model.name} has no accuracy: it is a regression"
    if by_rows and model.predictions is None:
        remedy = "read its study's test again with evaluate --again"
        return f"{model.name} was tested by an earlier version, which kept no predictions to compare by: {remedy}"
    return ""


def _unlike(challenger: Reading, champion: Reading, *, by_rows: bool) -> str:
    """The reason why two tested models cannot be compared; "" if they can."""
    if by_rows:
        own, other = challenger.kept, champion.kept
        # A target is decoded from float32 that each split has scaled in its own way, so that 0 is nearly 0.
        rounding = 1e-6 * float(np.abs(other.truth).max(initial=0))
        is_alike = own.predicted.shape == other.predicted.shape and np.allclose(own.truth, other.truth, atol=rounding)
        is_alike = is_alike and np.array_equal(_weights(own), _weights(other))
    else:
        is_alike = np.asarray(challenger.right).shape == np.asarray(champion.right).shape
    return "" if is_alike else f"{challenger.name} predicts other classes, rows or weights than {champion.name}"


def _weights(model: Predictions) -> np.ndarray:
    return np.ones(len(model.truth)) if model.weight is None else model.weight


def _pass_first(challenger: Reading, alpha: float, nth: int, metric: str) -> GateVerdict:
    first = f"{challenger.name} is the first version; there is no champion to compare it with"
    if metric != "accuracy" and (problem := _missing(challenger, by_rows=True)):
        return GateVerdict(False, problem)
    compared = _beside_constant(challenger, metric)
    if compared is None:
        return GateVerdict(True, first)
    verdict = compared.verdict(f"{challenger.name} is", compared.what, alpha, nth)
    return replace(verdict, reason=f"{first}; {verdict.reason}") if verdict.passed else verdict


def _beside_constant(model: Reading, metric: str) -> _Comparison | None:
    """A model beside the best constant prediction; None where too little was kept."""
    if metric == "accuracy" and not model.is_beyond_mcnemar:
        return None if model.confusion is None else _against_majority(model.confusion)
    own = model.kept
    return _by_contributions(own, own.of_best_constant(metric), "the best constant prediction", metric)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two models on the same rows.

    Attributes:
        test: Name of the test.
        both: Both values of the metric.
        n_rows: The rows.
        is_better: Whether the first model has the better value.
        p_value: Of the test, two-sided.
        n_signs: For McNemar's test, the rows that exactly one of the models gets right.
        what: The property that the first model must have, in words.
    """

    test: str
    both: str
    n_rows: int
    is_better: bool
    p_value: float
    n_signs: int | None = None
    what: str = "better than a constant prediction"

    def verdict(self, subject: str, what: str, alpha: float, nth: int) -> GateVerdict:
        """The verdict at the challenger's share of alpha.

        Args:
            subject: Begins the reason, such as "it is".
            what: The property, such as "better".
            alpha: Significance level of all challengers together.
            nth: The challenger's number.
        """
        level, p_value, smallest = share_of(alpha, nth), self.p_value, None
        tested = f"{self.both}; {self.test} on {self.n_rows:,} rows: p = {p_value:.3g}"
        share = f"{level:.3g}, the {ordinal(nth)} challenger's share of alpha {alpha:g} on these rows"
        if self.n_signs is not None:
            smallest = smallest_difference(self.n_signs, self.n_rows, level)
            share += "; " + (
                f"the smallest difference it can detect is {smallest:.4f}"
                if smallest is not None
                else "it can detect no difference on so few rows"
            )
        if not self.is_better:
            reason = f"{subject} not {what}: {self.both}; the level is {share}"
        elif p_value >= level:
            reason = f"{subject} not significantly {what}: {tested}, not below {share}"
        else:
            reason = f"{subject} {what}: {tested}, below {share}"
        return GateVerdict(self.is_better and p_value < level, reason, p_value, level, smallest, self.test)


def _mcnemar(challenger: Reading, champion: Reading) -> _Comparison:
    right, other = np.asarray(challenger.right), np.asarray(champion.right)
    both = f"test accuracy {right.mean():.4f}, {champion.name} has {other.mean():.4f}"
    return _by_signs(both, discordant(right, other), len(other))


def _against_majority(confusion: np.ndarray) -> _Comparison:
    n_rows, n_right, majority = int(confusion.sum()), int(confusion.trace()), int(confusion.sum(axis=1).max())
    both = f"test accuracy {n_right / n_rows:.4f}, the most frequent class has {majority / n_rows:.4f}"
    compared = _by_signs(both, discordant_with_majority(confusion), n_rows)
    return replace(compared, what="better than always predicting one class")


def _by_signs(both: str, signs: tuple[int, int], n_rows: int) -> _Comparison:
    return _Comparison("McNemar's exact test", both, n_rows, signs[0] > signs[1], sign_test(*signs), sum(signs))


def _by_contributions(own: Predictions, other: Predictions, name: str, metric: str) -> _Comparison:
    compared, what = _COMPARED[metric]
    own = own if own.group is not None else replace(own, group=other.group)
    sign = -1 if compared in _LOWER_IS_BETTER else 1
    scores = [model.parts(compared).value for model in (own, other)]
    values = [model.parts(metric).value for model in (own, other)]
    both = f"test {metric} {value_text(values[0])}, {name} has {value_text(values[1])}"
    is_better = sign * (scores[0] - scores[1]) > _ROUNDING * max(map(abs, scores))
    p_value = exchange_test(compared, own, other)
    return _Comparison(f"the sign-flip permutation test of {what}", both, len(own.truth), is_better, p_value)
