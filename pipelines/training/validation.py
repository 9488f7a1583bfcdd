"""Scores networks on the validation rows after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.network.architecture import Architecture
from pipelines.network.epoch import Rows, build_evaluation, build_packed_evaluation, evaluate_at_once
from pipelines.network.optimizers import Tensors
from pipelines.network.passes import Batch
from pipelines.objectives import Objective
from pipelines.training.pack import Network, Pack
from pipelines.training.rows import TrainingRows
from pipelines.training.scores import REGRESSION_METRICS, score

Scores = dict[str, float]
_FEW_VALUES, _FEW_ROWS = 1 << 17, 1 << 13
"""Input values and rows up to which networks are evaluated at once, without a compiled function."""


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


class _Part(NamedTuple):
    """The validation rows of networks.

    Attributes:
        numbers: Of the rows of each network.
        padded: (n_networks, longest) the same: the last row is repeated where a network has fewer.
        batch: The rows, of several networks with a first axis of networks; None where there are many values.
    """

    numbers: list[np.ndarray]
    padded: np.ndarray
    batch: Batch | None

    @classmethod
    def of(cls, rows: Rows, numbers: list[np.ndarray]) -> _Part:
        longest = max(map(len, numbers))
        padded = np.stack([np.pad(own, (0, longest - len(own)), mode="edge") for own in numbers])
        if padded.size > _FEW_ROWS or padded.size * rows.x.shape[1] > _FEW_VALUES:
            return cls(numbers, padded, None)
        return cls(numbers, padded, rows.batch(tf.constant(padded if len(padded) > 1 else padded[0])))


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
        self._parts: dict[tuple[Network, ...], _Part] = {}

    def scores(self, pack: Pack) -> list[Scores]:
        """Returns the metrics of each network by name: ``val_loss``, those of the task, and the objective."""
        part = self._part(pack.members)
        if part.batch is None and len(pack.members) == 1 and pack.members[0].fold is None:
            return [self._of_one(pack.weights)]
        losses, outputs = self._evaluate(part, pack.weights)
        return [
            self._scores(outputs[place, : len(own)], own, losses[place, : len(own)])
            for place, own in enumerate(part.numbers)
        ]

    def _part(self, members: Sequence[Network]) -> _Part:
        key = tuple(members)
        if key not in self._parts:
            folds = self._rows.folds
            numbers = [
                np.arange(len(self._rows.labels)) if fold is None else folds[fold].validation for _, fold in members
            ]
            self._parts[key] = _Part.of(self._rows.validation, numbers)
        return self._parts[key]

    def _evaluate(self, part: _Part, weights: Tensors) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (n_networks, n_rows) losses and the (n_networks, n_rows, n_outputs) outputs."""
        if part.batch is not None:
            losses, outputs = evaluate_at_once(self._network, self._loss, part.batch, weights)
            return losses.numpy().reshape(part.padded.shape), outputs.numpy().reshape(*part.padded.shape, -1)
        weights = [weight[None] for weight in weights] if len(part.numbers) == 1 else weights
        evaluate = build_packed_evaluation(self._network, self._loss, len(part.numbers))
        losses, outputs = evaluate(self._rows.validation, tf.constant(part.padded), weights)
        return losses.numpy().T, outputs.numpy().transpose(1, 0, 2)

    def _of_one(self, weights: Tensors) -> Scores:
        evaluate = build_evaluation(self._network, self._loss, keep_outputs=self._keep_outputs)
        loss, accuracy, outputs = evaluate(self._rows.validation, weights)
        n_rows = len(self._rows.labels)
        if not self._keep_outputs:  # a share of the rows, as that of several networks; float32 has rounded it
            return {"val_loss": float(loss), "val_accuracy": round(float(accuracy) * n_rows) / n_rows}
        return {"val_loss": float(loss)} | self._metrics(outputs.numpy(), np.arange(n_rows))

    def _scores(self, outputs: np.ndarray, numbers: np.ndarray, losses: np.ndarray) -> Scores:
        if not self._keep_outputs:
            right = outputs.argmax(-1) == self._rows.labels[numbers]
            return {"val_loss": float(losses.mean()), "val_accuracy": float(right.mean())}
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
        found = []
        for place, member in enumerate(members):
            part = self._part([member])
            own = [tf.constant(array if member.fold is None else array[place]) for array in weights]
            _, outputs = self._evaluate(part, own)
            found.append(self._answers(outputs[0], part.numbers[0]))
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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns (n_rows, n_classes) float64 probabilities."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
