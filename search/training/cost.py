"""The cost of a training: seconds as a function of its steps, products and updates, fitted to a few short trainings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from pipelines.config import Hyperparameters
from search.devices.work import Shape
from search.workers import Outcome


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
        return cls(max(0.0, statistics.median(once)), tuple((solution / scale).tolist()))

    def trial_s(self, hp: Hyperparameters, epochs: int, shape: Shape) -> float:
        """Seconds of one trial of that many epochs."""
        return self.once_s + epochs * sum(a * b for a, b in zip(self.per_epoch, shape.work(hp), strict=True))
