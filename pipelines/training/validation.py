"""Scores a network on the validation rows after each epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines.objectives import Objective
from pipelines.training.epoch import build_evaluation
from pipelines.training.optimizers import Tensors
from pipelines.training.rows import TrainingRows
from pipelines.training.scores import classification_score, regression_scores


class Answers(NamedTuple):
    """Predictions of the validation rows.

    Attributes:
        metric: The objective without its rows, such as ``auc``; the training's loss where that is the objective.
        predicted: (n_rows, n_classes) probabilities, or (n_rows,) values.
        truth: (n_rows,) class numbers, or values.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """

    metric: str
    predicted: np.ndarray
    truth: np.ndarray
    weight: np.ndarray | None


class Validation:
    """The validation metrics of a task and of its objective.

    Args:
        rows: Of the dataset.
        loss: The training's loss.
        objective: The metric that picks the best epoch.
    """

    def __init__(self, rows: TrainingRows, loss: str, objective: Objective) -> None:
        self._rows = rows
        self._loss = loss
        self._objective = objective
        # Accuracy without weights, and the loss, are summed where the outputs are computed.
        is_plain = objective.name in ("val_accuracy", "val_loss") and rows.validation.weight is None
        self._evaluate = build_evaluation(loss, keep_outputs=not (is_plain and rows.target is None))

    def scores(self, weights: Tensors) -> dict[str, float]:
        """Returns the metrics by name: ``val_loss``, those of the task, and the objective."""
        loss, accuracy, outputs = self._evaluate(self._rows.validation, weights)
        found = {"val_loss": float(loss)}
        if self._rows.target is not None:
            return found | self._regression(outputs.numpy()[:, 0])
        if not len(outputs):
            return found | {"val_accuracy": float(accuracy)}
        return found | self._classification(outputs.numpy())

    def answers(self, weights: Tensors) -> Answers:
        """Returns the predictions of the validation rows that the objective is computed from."""
        labels, weight, target = self._rows.labels, self._rows.label_weight, self._rows.target
        outputs = build_evaluation(self._loss, keep_outputs=True)(self._rows.validation, weights)[2].numpy()
        is_loss = self._objective.metric == "loss"
        metric = self._loss if is_loss else self._objective.metric
        if target is None:
            return Answers(metric, _softmax(outputs), labels, weight)
        predicted = outputs[:, 0]
        if is_loss:  # of standardized targets
            return Answers(metric, predicted, labels, weight)
        return Answers(metric, target.decode(predicted), target.decode(labels), weight)

    def _regression(self, outputs: np.ndarray) -> dict[str, float]:
        decode = self._rows.target.decode  # type: ignore[union-attr]  # asked of regressions alone
        labels, weight = self._rows.labels, self._rows.label_weight
        scores = regression_scores(decode(outputs), decode(labels), weight)
        return {f"val_{name}": score for name, score in scores.items()}

    def _classification(self, logits: np.ndarray) -> dict[str, float]:
        shares = _softmax(logits)
        metrics = [name for name in dict.fromkeys(("accuracy", self._objective.metric)) if name != "loss"]
        labels, weight = self._rows.labels, self._rows.label_weight
        return {f"val_{metric}": classification_score(metric, shares, labels, weight) for metric in metrics}


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Returns (n_rows, n_classes) float64 probabilities."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
