"""Scores a network on the validation rows after each epoch."""

from __future__ import annotations

import numpy as np

from pipelines.objectives import Objective
from pipelines.training.epoch import build_evaluation
from pipelines.training.optimizers import Tensors
from pipelines.training.rows import TrainingRows
from pipelines.training.scores import classification_score, regression_scores


class Validation:
    """The validation metrics of a task and of its objective.

    Args:
        rows: Of the dataset.
        loss: The training's loss.
        objective: The metric that picks the best epoch.
    """

    def __init__(self, rows: TrainingRows, loss: str, objective: Objective) -> None:
        self._rows = rows
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

    def _regression(self, outputs: np.ndarray) -> dict[str, float]:
        decode = self._rows.target.decode  # type: ignore[union-attr]  # asked of regressions alone
        labels, weight = self._rows.labels, self._rows.label_weight
        scores = regression_scores(decode(outputs), decode(labels), weight)
        return {f"val_{name}": score for name, score in scores.items()}

    def _classification(self, logits: np.ndarray) -> dict[str, float]:
        shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        shares /= shares.sum(axis=1, keepdims=True)
        metrics = [name for name in dict.fromkeys(("accuracy", self._objective.metric)) if name != "loss"]
        labels, weight = self._rows.labels, self._rows.label_weight
        return {f"val_{metric}": classification_score(metric, shares, labels, weight) for metric in metrics}
