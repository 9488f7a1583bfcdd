"""Preprocessing that is learned from the training rows alone and saved with the model.

Rows are kept unscaled. The model itself scales, so predictions take rows as the file holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config import Scaling
from pipelines.data.targets import TargetScaling
from pipelines.encoding.curves import IQR_OF_NORMAL, sampled
from pipelines.encoding.encoder import TableEncoder
from pipelines.encoding.learning import PLAIN
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.objectives import Task

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessing:
    """Input shape, class names or target, scaling and table encoding of a model.

    Attributes:
        input_shape: Shape of one row as the model takes it.
        class_names: One name per class number; empty for a regression.
        center: Subtracted from a row; one number, or (n_features,) float32.
        scale: Divides the difference; one number, or (n_features,) float32.
        columns: Encodes the columns of a table; None for arrays.
        target: The scaling of a regression's target; None for a classification.
    """

    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    center: float | Array
    scale: float | Array
    columns: TableEncoder | None = None
    target: TargetScaling | None = None

    @property
    def task(self) -> Task:
        """The task of the model."""
        return "classification" if self.target is None else "regression"

    @property
    def n_outputs(self) -> int:
        """Outputs of a model: a probability per class, or one value."""
        return len(self.class_names) if self.target is None else 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocessing) and self.to_json() == other.to_json()

    def encode(self, frame: pd.DataFrame) -> Array:
        """Encodes rows of a table as the file holds them; returns (n_rows, n_features) float32, unscaled.

        Raises:
            DataError: The model was trained on arrays, or the rows do not fit its columns.
        """
        if self.columns is None:
            raise DataError(f"rows: must be arrays of shape {self.input_shape} for this model, got a table")
        return self.columns.encode(frame)

    def to_json(self) -> dict[str, object]:
        """Returns plain values for a JSON document that ``from_json`` reads back without loss."""
        record: dict[str, object] = {
            "input_shape": list(self.input_shape),
            "class_names": list(self.class_names),
            "center": np.asarray(self.center).tolist(),
            "scale": np.asarray(self.scale).tolist(),
            "columns": None if self.columns is None else self.columns.to_json(),
        }
        return record | ({"target": asdict(self.target)} if self.target else {})

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Preprocessing:
        """Reads what ``to_json`` returned.

        Raises:
            DataError: The record is not complete.
        """
        try:
            columns, target = record["columns"], record.get("target")
            return cls(
                tuple(int(size) for size in record["input_shape"]),
                tuple(str(name) for name in record["class_names"]),
                _numbers(record["center"]),
                _numbers(record["scale"]),
                None if columns is None else TableEncoder.from_json(columns),
                None if target is None else TargetScaling(**target),
            )
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise DataError(f"preprocessing: must be a record that was saved with a model ({problem})") from error


def learn_scaling(
    x: Array, scaling: Scaling, are_numbers: Sequence[bool] | None = None
) -> tuple[float | Array, float | Array]:
    """Returns center and scale of (n_rows, *input_shape) training rows.

    Pictures (``uint8``, or three axes and more) have one number for all pixels, which keeps their contrast;
    rows of features have one number per feature, as each has its own unit. The scale of equal values is 1.

    Args:
        x: The rows.
        scaling: ``auto`` and ``quantile`` standardize, as the columns of their tables are mapped before.
        are_numbers: (n_features,) what ``auto``, ``robust`` and ``quantile`` scale; others keep their values. None
            means every feature.
    """
    axis = None if x.dtype == np.uint8 or x.ndim > 2 else 0
    low, high = np.asarray(x.min(axis=axis), np.float64), np.asarray(x.max(axis=axis), np.float64)
    if scaling == "none":
        center, scale = np.zeros_like(low), np.ones_like(low)
    elif scaling == "minmax":
        center, scale = low, high - low
    else:
        center, scale = _moments(x, axis)
    if scaling == "robust":
        center, scale = _quartiles(x, axis, scale)
    if are_numbers is not None and scaling not in PLAIN:
        center, scale = np.where(are_numbers, center, 0.0), np.where(are_numbers, scale, 1.0)
    limits = np.finfo(np.float32)
    scale = np.where((high > low) & (scale > limits.tiny), np.minimum(scale, limits.max), 1.0)
    if axis is None:
        return float(center), float(scale)
    return center.astype(np.float32), scale.astype(np.float32)


def _moments(x: Array, axis: int | None) -> tuple[Array, Array]:
    """Returns mean and standard deviation as float64."""
    center = x.mean(axis=axis, dtype=np.float64)
    # In chunks: a float64 copy of 48,000 pictures would take 300 MB.
    chunks = (x[start : start + _CHUNK_ROWS] for start in range(0, len(x), _CHUNK_ROWS))
    squares = sum(np.square(chunk - center).sum(axis=axis) for chunk in chunks)
    return center, np.sqrt(squares * np.size(center) / x.size)


def _quartiles(x: Array, axis: int | None, spread: Array) -> tuple[Array, Array]:
    """Returns the median, and the distance of the quartiles as a standard deviation; ``spread`` where that is 0."""
    columns = [x.reshape(-1)] if axis is None else list(x.T)
    found = np.array([np.quantile(sampled(column).astype(np.float64), (0.25, 0.5, 0.75)) for column in columns])
    low, middle, high = found[0] if axis is None else found.T
    distance = (high - low) / IQR_OF_NORMAL
    return middle, np.where(distance > 0, distance, spread)


def _numbers(value: float | list[float]) -> float | Array:
    return np.array(value, dtype=np.float32) if isinstance(value, list) else float(value)
