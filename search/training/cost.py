"""The cost of a training: seconds as a function of its steps, products and updates, fitted to a few short trainings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from pipelines.config import Hyperparameters, Precision, count_parameters
from pipelines.data.datasets import Dataset
from search.devices.precision import PrecisionRule, precision_of
from search.workers import Outcome

_OF_BFLOAT16 = 0.6
"""Time of a product in bfloat16, as a share of one in float32, on processors with instructions for it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cost of a training depends on in a dataset.

    Attributes:
        n_rows: Number of training rows.
        n_features: Values of one flattened row.
        n_outputs: Outputs of a network.
        precision_rule: Of the study.
        n_pieces: Values that an embedding adds to an input row.
    """

    n_rows: int
    n_features: int
    n_outputs: int
    precision_rule: PrecisionRule = "float32"
    n_pieces: int = 0

    @classmethod
    def of(cls, dataset: Dataset, rule: PrecisionRule = "float32") -> Shape:
        """The shape of a dataset, for a study with that rule of its precision."""
        return cls(len(dataset.training.y), dataset.training.x[0].size, dataset.n_outputs, rule, dataset.n_pieces)

    def precision(self, hp: Hyperparameters) -> Precision:
        """The precision in which a configuration trains."""
        return precision_of(self.precision_rule, hp, self.n_features, self.n_outputs, self.n_pieces)

    def n_weights(self, hp: Hyperparameters) -> int:
        """Number of weights that a configuration trains."""
        return count_parameters(hp, self.n_features, self.n_outputs, self.n_pieces)

    def work(self, hp: Hyperparameters) -> tuple[float, float, float]:
        """Steps, products (rows times weights) and updates (steps times weights) of one epoch.

        Products in bfloat16 count as so many in float32 as take their time.
        """
        n_weights = self.n_weights(hp)
        n_steps = math.ceil(self.n_rows / hp.batch_size)
        n_products = self.n_rows * n_weights * (_OF_BFLOAT16 if self.precision(hp) == "bfloat16" else 1.0)
        return float(n_steps), float(n_products), float(n_steps * n_weights)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a trial: a constant, and for each epoch a linear function of its steps, products and updates."""

    once_s: float
    per_epoch: tuple[float, ...]

    @classmethod
    def fit(cls, probes: Sequence[Hyperparameters], outcomes: Sequence[Outcome], shape: Shape) -> Cost:
        """Fits non-negative costs to short trainings by least squares of the relative error."""
        work = np.array([shape.work(hp) for hp in probes])
        took = np.array([outcome.history[-1].duration_s for outcome in outcomes])
        scale = work.max(axis=0)
        solution, _ = nnls(work / scale / took[:, None], np.ones(len(took)))
        once = [outcome.duration_s - len(outcome.history) * last for outcome, last in zip(outcomes, took, strict=True)]
        return cls(max(0.0, statistics.median(once)), tuple(solution / scale))

    def trial_s(self, hp: Hyperparameters, epochs: int, shape: Shape) -> float:
        """Seconds of one trial of that many epochs."""
        return self.once_s + epochs * sum(a * b for a, b in zip(self.per_epoch, shape.work(hp), strict=True))
