"""The work of training a configuration, as counts: nothing here is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.config import Hyperparameters, Precision, count_parameters
from pipelines.data.datasets import Dataset
from search.devices.precision import PrecisionRule, precision_of

_OF_BFLOAT16 = 0.6
"""Time of a product in bfloat16, as a share of one in float32, on processors with instructions for it."""
_NOMINAL_EPOCH_US = 3_000.0
_NOMINAL_US = (80.0, 4e-5, 1e-3)
"""Microseconds of an epoch, and of a step, a product and an update in it, on a typical core. They must not change: the
trials of a study follow from their ratios, and the starts that a timeout has room for from them."""
NOMINAL_ONCE_US = 200_000
"""Microseconds of a trial beside its epochs; the same holds for it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The properties of a dataset that decide the cost of a training.

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
        n_features, n_outputs, n_pieces = dataset.sizes
        return cls(len(dataset.training.y), n_features, n_outputs, rule, n_pieces)

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

    def nominal_us(self, hp: Hyperparameters) -> int:
        """Microseconds of an epoch on a typical core: the same on every machine, and never measured."""
        return round(_NOMINAL_EPOCH_US + sum(a * b for a, b in zip(_NOMINAL_US, self.work(hp), strict=True)))

    def nominal_s(self, hp: Hyperparameters) -> float:
        """Seconds of a training of a configuration to its last epoch, on a typical core."""
        return (NOMINAL_ONCE_US + hp.epochs * self.nominal_us(hp)) / 1e6
