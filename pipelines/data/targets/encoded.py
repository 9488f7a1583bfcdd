"""The encoded target of a network: class numbers of labels, or scaled values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.config import DataConfig, Transform
from pipelines.data.targets.advice import advice, listed
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.columns import FINE

_MIN_REGRESSION_ROWS = 10


def number_labels(labels: Array, classes: Sequence[str], place: str) -> Array:
    """Converts (n_rows,) cleaned labels to (n_rows,) int32 class numbers.

    Raises:
        DataError: Labels that do not occur in training.
    """
    unique, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = {name: number for number, name in enumerate(classes)}
    texts = [str(label) for label in unique]
    unknown = [f"{text!r} ({count})" for text, count in zip(texts, counts, strict=True) if text not in position]
    if unknown:
        remedy = advice([*classes, *texts], "drop those rows")
        raise DataError(f"{place}: every label must occur in training, got {listed(unknown)}: {remedy}")
    return np.array([position[text] for text in texts], dtype=np.int32)[inverse]


def require_regressable(values: Array, config: DataConfig, place: str) -> None:
    """Checks the (n_rows,) values of a regression's target.

    Raises:
        DataError: They are too few, all equal, or not positive where their logarithm is asked for.
    """
    if len(values) < _MIN_REGRESSION_ROWS:
        rule = f"a regression must have at least {_MIN_REGRESSION_ROWS} rows"
        raise DataError(f"{place}: {rule}, got {len(values)}: add rows")
    if values.min() == values.max():
        raise DataError(f"{place}: must hold different numbers, got {values[0]:g} in every row: choose another")
    require_positive(values, config, place)


def require_positive(values: Array, config: DataConfig, place: str) -> None:
    """Checks the (n_rows,) values of a target whose logarithm may be asked for.

    Raises:
        DataError: It is asked for, and some values are not positive.
    """
    if config.target_transform == "log" and values.min() <= 0:
        n_wrong = np.count_nonzero(values <= 0)
        rule = 'data.target_transform: the target must be above 0 for "log"'
        raise DataError(f"{place}: {rule}, got {values.min():g} ({n_wrong} such rows): leave it out")


def majority_share(labels: npt.ArrayLike, weight: Array | None = None) -> float:
    """Returns the share of the most frequent class: the accuracy of a model that always answers with it.

    Args:
        labels: (n_rows,) int, at least 0; at least one row.
        weight: (n_rows,) weights of the rows; None for equal ones.
    """
    counts = np.bincount(labels, weight)
    return float(counts.max() / counts.sum())


@dataclass(frozen=True, slots=True)
class TargetScaling:
    """The map between a regression's target and what the network learns.

    Attributes:
        center: Mean of the (transformed) training targets.
        scale: Their standard deviation.
        transform: Applied before; ``log`` is the natural logarithm.
    """

    center: float
    scale: float
    transform: Transform = "none"

    @classmethod
    def learn(cls, values: Array, transform: Transform | None) -> TargetScaling:
        """Learns the scaling of (n_rows,) float64 training targets.

        Raises:
            DataError: They are all equal.
        """
        if values.min() == values.max():
            rule = "the target must differ between training rows"
            raise DataError(f"{rule}, got {values[0]:g} in all {len(values)}: use more rows, or another split")
        learned = cls(0.0, 1.0, transform or "none")
        transformed = learned._transformed(values)
        return cls(float(transformed.mean()), float(transformed.std()) or 1.0, learned.transform)

    def _transformed(self, values: Array) -> Array:
        return np.log(values) if self.transform == "log" else values

    def encode(self, values: Array) -> Array:
        """Converts (n_rows,) targets to what the network learns, (n_rows,) float32."""
        return ((self._transformed(values) - self.center) / self.scale).astype(np.float32)

    @property
    def dtype(self) -> str:
        """Type in which outputs are converted: ``float64`` where float32 would lose differences between targets."""
        return "float64" if np.spacing(np.float32(abs(self.center))) > FINE * self.scale else "float32"

    def decode(self, outputs: Array) -> Array:
        """Converts (n_rows,) outputs of the network to the target's own unit, (n_rows,) float64."""
        transformed = outputs.astype(np.float64) * self.scale + self.center
        return np.exp(transformed) if self.transform == "log" else transformed
