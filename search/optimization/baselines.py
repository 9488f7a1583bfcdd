"""Baselines: a constant prediction, and a linear model on the same encoded rows.

A network that does not beat both is not worth its cost. They are trained once for a study, in a thread of the
searching process while the workers start.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from pipelines.config import ClassWeight
from pipelines.data.datasets import Dataset, Split
from pipelines.files.archives import Array
from pipelines.objectives import Objective
from pipelines.training.scores import CLASSIFICATION_METRICS, REGRESSION_METRICS, score
from search.home.text import value_text

MAX_PRODUCTS = 20_000_000
"""The linear model is trained on as many rows, drawn at random, as rows x features x outputs stay below."""
PATIENCE_S = 10.0
"""For the baselines at the end of a training; they take a second at most, unless the machine is very busy."""
_SEED = 0
_BLOCK_ROWS = 65_536  # of a prediction: a standardized copy of all rows could be large
_MAX_STEPS = 200
_NAMES = {
    "majority": "Always predicting the most frequent class",
    "mean": "Always predicting the mean",
    "median": "Always predicting the median",
    "linear": "A linear model",
}

_WORDS = {"accuracy": "", "auc": "AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "macro_f1": "macro F1"}

Baselines: TypeAlias = Mapping[str, Mapping[str, float]]
"""Metrics by name, such as ``auc``, of each baseline: ``majority``, or ``mean`` and ``median``, and ``linear``."""


def validation_scores(dataset: Dataset, class_weight: ClassWeight | None = None) -> dict[str, Mapping[str, float]]:
    """Scores the baselines on the validation rows; with folds returns the means over them."""
    if dataset.fold_of is None:
        return dict(baseline_scores(dataset, dataset.validation, class_weight))
    folds = map(dataset.of_fold, range(dataset.n_folds))  # one at a time: each has a copy of all rows
    scores = [baseline_scores(fold, fold.validation, class_weight) for fold in folds]
    names = [name for name in scores[0] if all(name in found for found in scores)]
    return {
        name: {metric: float(np.mean([found[name][metric] for found in scores])) for metric in scores[0][name]}
        for name in names
    }


def baseline_scores(
    dataset: Dataset, rows: Split, class_weight: ClassWeight | None = None
) -> dict[str, dict[str, float]]:
    """Fits the baselines to the training rows and scores them on other rows.

    Args:
        dataset: The training rows; with folds those of all folds are.
        rows: The rows to score on, as ``dataset`` encodes them.
        class_weight: Of the networks beside them; the linear model has the same.
    """
    dataset = replace(dataset, training=dataset.fitted, fold_of=None)
    constant = "mean" if dataset.preprocessing.target else "majority"
    scores = {constant: _score(dataset, rows, _constant(dataset, len(rows.y)))}
    if dataset.preprocessing.target:
        scores["median"] = _score(dataset, rows, np.full(len(rows.y), _median(dataset)))
    linear = _linear(dataset, rows.x, class_weight)
    return scores if linear is None else scores | {"linear": _score(dataset, rows, linear)}


def constant_prediction(dataset: Dataset) -> Array:
    """Returns the answer of a model that knows no inputs: (n_classes,) shares in the rows of training, or (1,) mean."""
    rows, target = dataset.fitted, dataset.preprocessing.target
    if target:
        return np.asarray(np.average(target.decode(rows.y), weights=rows.weight, keepdims=True))
    counts: Array = np.bincount(rows.y, rows.weight, dataset.n_outputs)
    return np.asarray(counts / counts.sum())


def _median(dataset: Dataset) -> float:
    """The value of least absolute error to the targets in the rows of training."""
    rows, target = dataset.fitted, dataset.preprocessing.target
    assert target
    values = target.decode(rows.y)
    if rows.weight is None:
        return float(np.median(values))
    return float(np.quantile(values, 0.5, weights=rows.weight, method="inverted_cdf"))


def _constant(dataset: Dataset, n_rows: int) -> Array:
    """Returns (n_rows, n_classes) shares of the classes in training, or (n_rows,) means."""
    answers = np.tile(constant_prediction(dataset), (n_rows, 1))
    return answers[:, 0] if dataset.preprocessing.target else answers


def _linear(dataset: Dataset, x: Array, class_weight: ClassWeight | None) -> Array | None:
    """Returns predictions of logistic or ridge regression, as ``_constant``; None where one class alone is drawn."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    # That a model has not converged, or columns depend on each other, is no news to the user. For the whole process:
    # warnings.catch_warnings is not safe in a thread.
    warnings.filterwarnings("ignore", module=r"sklearn\.linear_model")
    training, target = _drawn(dataset), dataset.preprocessing.target
    known = _flat(training.x)
    # In float64: the float32 mean of equal numbers differs from them, and rows beyond these would be far from it.
    center, scale = (moment(axis=0, dtype=np.float64).astype(np.float32) for moment in (known.mean, known.std))
    scale[known.min(axis=0) == known.max(axis=0)] = 1
    known = (known - center) / scale
    blocks = ((_flat(x[i : i + _BLOCK_ROWS]) - center) / scale for i in range(0, len(x), _BLOCK_ROWS))
    with threadpool_limits(1):  # the other cores train
        if target:
            ridge = Ridge().fit(known, training.y, training.weight)
            return target.decode(np.concatenate([ridge.predict(block) for block in blocks]))
        if len(np.unique(training.y)) < 2:
            return None
        weights = None if class_weight == "none" else class_weight
        logistic = LogisticRegression(max_iter=_MAX_STEPS, class_weight=weights)
        logistic.fit(known, training.y, training.weight)
        shares = np.zeros((len(x), dataset.n_outputs))
        shares[:, logistic.classes_] = np.concatenate([logistic.predict_proba(block) for block in blocks])
    return shares


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1).astype(np.float32, copy=False)


def _drawn(dataset: Dataset) -> Split:
    """Returns the training rows that the linear model is fitted to."""
    rows = dataset.training
    n_kept = max(MAX_PRODUCTS // (rows.x[0].size * dataset.n_outputs), 1)
    if n_kept >= len(rows.y):
        return rows
    kept = np.sort(np.random.default_rng(_SEED).choice(len(rows.y), n_kept, replace=False))
    return rows.at(kept)


def _score(dataset: Dataset, rows: Split, answers: Array) -> dict[str, float]:
    target = dataset.preprocessing.target
    metrics, truth = (REGRESSION_METRICS, target.decode(rows.y)) if target else (CLASSIFICATION_METRICS, rows.y)
    return {metric: score(metric, answers, truth, rows.weight) for metric in metrics}


class BaselineThread:
    """Trains the baselines of a study beside the start of its workers.

    Args:
        dataset: The study's dataset.
        recorded: Those that the study has; they are not trained again.
        class_weight: Of every network of the study; None where they differ.
    """

    def __init__(self, dataset: Dataset, recorded: Baselines, class_weight: ClassWeight | None = None) -> None:
        self._dataset = dataset
        self._class_weight = class_weight
        self._found = dict(recorded)
        self._thread = threading.Thread(target=self._train, name="mlp-search baselines", daemon=True)
        if not recorded:
            self._thread.start()

    def _train(self) -> None:
        try:
            self._found = validation_scores(self._dataset, self._class_weight)
        except (ValueError, MemoryError, np.linalg.LinAlgError):
            self._found = {}  # a study without a baseline is better than none

    def scores(self, timeout_s: float) -> dict[str, Mapping[str, float]]:
        """Returns the scores on the validation rows; none where they take longer than ``timeout_s``."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return {} if self._thread.is_alive() else self._found


@dataclass(frozen=True, slots=True)
class Comparison:
    """A value beside the baselines of its metric.

    Attributes:
        value: The value; None if there is none.
        maximize: Whether more is better.
        baselines: The value of each baseline by its name.
        metric: The metric in words; "" for accuracy.
    """

    value: float | None
    maximize: bool
    baselines: Mapping[str, float]
    metric: str = ""

    def sentences(self, what: str) -> list[str]:
        """One for each baseline, which says so where it is not beaten.

        Args:
            what: Has the value, such as "the best trial".
        """
        return [self._sentence(name, baseline, what) for name, baseline in self.baselines.items() if name in _NAMES]

    def _sentence(self, name: str, baseline: float, what: str) -> str:
        line = " ".join([_NAMES[name], "reaches", *filter(None, [self.metric]), value_text(baseline)])
        if self.value is None:
            return f"{line}."
        sign = 1 if self.maximize else -1
        # Values are float32 where a training reports them. An error may be small in its unit, a score is at most 1.
        size = 1.0 if self.maximize else max(abs(self.value), abs(baseline))
        is_beaten = sign * (self.value - baseline) > 1e-6 * size
        return f"{line}." if is_beaten else f"{line}: {what} does not beat it."


def compare(
    value: float | None, objective: Objective, baselines: Baselines, majority: float | None = None
) -> Comparison:
    """Returns a value beside the baselines that have its metric.

    Args:
        value: Of the objective's metric.
        objective: The objective.
        baselines: Scores on the same rows.
        majority: The share of the most frequent class; a study of an earlier version knows no other baseline.
    """
    other = "mean" if objective.metric == "mae" and "median" in baselines else "median"
    known = {name: scores[objective.metric] for name, scores in baselines.items() if objective.metric in scores}
    known.pop(other, None)  # of the constants the better one: no other has a lower error on the rows of training
    if majority is not None and objective.metric == "accuracy":
        known = {"majority": majority} | known
    name = objective.metric
    return Comparison(value, objective.maximize, known, _WORDS.get(name, name.replace("_", " ")))
