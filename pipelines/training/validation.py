"""Scores networks on the validation rows after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.network.architecture import Architecture
from pipelines.network.epoch import build_evaluation, build_packed_evaluation, unless_few
from pipelines.network.optimizers import Tensors
from pipelines.objectives import Objective
from pipelines.training.pack import Network, Pack
from pipelines.training.rows import TrainingRows
from pipelines.training.scores import REGRESSION_METRICS, score

Scores = dict[str, float]


class Answers(NamedTuple):
    """Predictions of validation rows.

    Attributes:
        rows: (n_rows,) numbers of the rows, from 0.
        metric: The objective without its rows, such as ``auc``; the training's loss where that is the objective.
        predicted: (n_rows, n_classes) probabilities, or (n_rows,) values.
        truth: (n_rows,) class numbers, or values.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """

    rows: np.ndarray
    metric: str
    predicted: np.ndarray
    truth: np.ndarray
    weight: np.ndarray | None


class Validation:
    """The validation metrics of a task and of its objective.

    Args:
        rows: Of the dataset.
        network: The architecture of the networks.
        loss: The training's loss.
        objective: The metric that picks the best epoch.
    """

    def __init__(self, rows: TrainingRows, network: Architecture, loss: str, objective: Objective) -> None:
        self._rows = rows
        self._network = network.predicting
        self._loss = loss
        self._objective = objective
        # Accuracy without weights, and the loss, are summed where the outputs are computed.
        is_plain = objective.name in ("val_accuracy", "val_loss") and rows.validation.weight is None
        self._keep_outputs = not is_plain or rows.target is not None

    def scores(self, pack: Pack) -> list[Scores]:
        """Returns the metrics of each network by name: ``val_loss``, those of the task, and the objective."""
        if pack.members[0].fold is None and len(pack.members) == 1:
            return [self._of_one(pack.weights)]
        index = [self._index(member) for member in pack.members]
        longest = max(map(len, index))
        padded = np.stack([np.pad(numbers, (0, longest - len(numbers)), mode="edge") for numbers in index])
        weights = [weight[None] for weight in pack.weights] if len(index) == 1 else pack.weights
        evaluate = build_packed_evaluation(self._network, self._loss, len(index))
        rows = self._rows.validation
        losses, outputs = unless_few(evaluate, rows, padded.size)(rows, tf.constant(padded), weights)
        losses, outputs = losses.numpy(), outputs.numpy()
        right = None if self._keep_outputs else outputs.argmax(-1) == self._rows.labels[padded.T]
        return [
            self._scores(outputs[: len(numbers), place], numbers, losses[: len(numbers), place])
            if right is None
            else _means(losses[: len(numbers), place], right[: len(numbers), place])
            for place, numbers in enumerate(index)
        ]

    def _index(self, network: Network) -> np.ndarray:
        folds = self._rows.folds
        return folds[network.fold].validation if network.fold is not None else np.arange(len(self._rows.labels))

    def _of_one(self, weights: Tensors) -> Scores:
        evaluate = build_evaluation(self._network, self._loss, keep_outputs=self._keep_outputs)
        rows = self._rows.validation
        loss, accuracy, outputs = unless_few(evaluate, rows, len(self._rows.labels))(rows, weights)
        n_rows = len(self._rows.labels)
        if not self._keep_outputs:  # a share of the rows, as that of several networks; float32 has rounded it
            return {"val_loss": float(loss), "val_accuracy": round(float(accuracy) * n_rows) / n_rows}
        return {"val_loss": float(loss)} | self._metrics(outputs.numpy(), np.arange(n_rows))

    def _scores(self, outputs: np.ndarray, numbers: np.ndarray, losses: np.ndarray) -> Scores:
        loss = float(np.average(losses, weights=self._weight(numbers)))
        return {"val_loss": loss} | self._metrics(outputs, numbers)

    def _metrics(self, outputs: np.ndarray, rows: np.ndarray) -> Scores:
        target, labels, weight = self._rows.target, self._rows.labels[rows], self._weight(rows)
        if target is not None:
            with np.errstate(all="ignore"):  # of a network that diverges
                predicted, truth = target.decode(outputs[:, 0]), target.decode(labels)
                return {f"val_{metric}": score(metric, predicted, truth, weight) for metric in REGRESSION_METRICS}
        shares = softmax(outputs)
        metrics = [name for name in dict.fromkeys(("accuracy", self._objective.metric)) if name != "loss"]
        return {f"val_{metric}": score(metric, shares, labels, weight) for metric in metrics}

    def answers(self, members: Sequence[Network], weights: Sequence[np.ndarray]) -> list[Answers]:
        """Returns the predictions of the validation rows that the objective is computed from.

        Args:
            members: The network, or those of the folds.
            weights: Of the network; of the folds' networks with a first axis of networks.

        Returns:
            The answers of each network, for the rows of its own.
        """
        found, evaluate = [], build_packed_evaluation(self._network, self._loss, 1)
        for place, member in enumerate(members):
            rows = self._index(member)
            own = [array[None] if member.fold is None else array[place : place + 1] for array in weights]
            outputs = evaluate(self._rows.validation, tf.constant(rows[None]), own)[1]
            found.append(self._answers(outputs.numpy()[:, 0], rows))
        return found

    def _answers(self, outputs: np.ndarray, rows: np.ndarray) -> Answers:
        target, labels, weight = self._rows.target, self._rows.labels[rows], self._weight(rows)
        is_loss = self._objective.metric == "loss"
        metric = self._loss if is_loss else self._objective.metric
        if target is None:
            return Answers(rows, metric, softmax(outputs), labels, weight)
        if is_loss:  # of standardized targets
            return Answers(rows, metric, outputs[:, 0], labels, weight)
        return Answers(rows, metric, target.decode(outputs[:, 0]), target.decode(labels), weight)

    def _weight(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._rows.label_weight is None else self._rows.label_weight[rows]


def _means(losses: np.ndarray, right: np.ndarray) -> Scores:
    return {"val_loss": float(losses.mean()), "val_accuracy": float(right.mean())}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns (n_rows, n_classes) float64 probabilities."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
