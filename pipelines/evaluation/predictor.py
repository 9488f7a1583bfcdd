"""Predicts with a saved model from raw rows: arrays, or the rows of a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.data.preprocessing import Preprocessing
from pipelines.data.readers import convert_inputs
from pipelines.errors import DataError
from pipelines.evaluation.decisions import ResidualInterval, Threshold
from pipelines.files.archives import Array

if TYPE_CHECKING:
    import keras
    import pandas as pd

_CHUNK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """Record that is saved beside a model file; the two suffice to predict from raw rows.

    Attributes:
        preprocessing: Preprocessing of the training dataset.
        value_range: Values of black and white of a picture; in records of earlier versions the lowest and the highest
            value of the training rows.
        model_sha256: Hash of the model file.
        interval: Of a regression's predictions; None for classes, and in records of earlier versions.
        threshold: Of two classes, chosen on the validation rows; None otherwise, and in records of earlier versions.
    """

    preprocessing: Preprocessing
    value_range: tuple[float, float]
    model_sha256: str
    interval: ResidualInterval | None = None
    threshold: Threshold | None = None

    def to_json(self) -> str:
        """Returns JSON text that ``from_json`` reads back without loss."""
        record: dict[str, object] = {"value_range": list(self.value_range), "model_sha256": self.model_sha256}
        learned = {"interval": self.interval, "threshold": self.threshold}
        record |= {name: asdict(value) for name, value in learned.items() if value}
        return json.dumps(record | {"preprocessing": self.preprocessing.to_json()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelRecord:
        """Reads what ``to_json`` wrote.

        Raises:
            DataError: The text is not such a record.
        """
        try:
            record = json.loads(text)
            low, high = (float(value) for value in record["value_range"])
            preprocessing = Preprocessing.from_json(record["preprocessing"])
            interval, threshold = record.get("interval"), record.get("threshold")
            return cls(
                preprocessing,
                (low, high),
                str(record["model_sha256"]),
                ResidualInterval(**interval) if interval else None,
                Threshold(**threshold) if threshold else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"model record: must be as saved with a model ({error}): promote the model again"
            ) from error


class Predictor:
    """A Keras model with its preprocessing.

    Args:
        model: As ``training.model.build_model`` builds it.
        preprocessing: The preprocessing that it was built with.
    """

    def __init__(self, model: keras.Model, preprocessing: Preprocessing) -> None:
        self._model = model
        self._preprocessing = preprocessing

    @classmethod
    def load(cls, content: bytes, record: ModelRecord, place: str = "model.h5") -> Predictor:
        """Loads a model file.

        Args:
            content: The bytes of the ``.h5``.
            record: The record beside it, with the hash that the bytes must have.
            place: Name of the file in errors.

        Raises:
            InputError: The file was changed, or Keras rejects it.
        """
        from pipelines.training.model import load_h5

        return cls(load_h5(content, record.model_sha256, place), record.preprocessing)

    def probabilities(self, rows: Array | pd.DataFrame) -> Array:
        """Predicts class probabilities, (n_rows, n_classes) float32; or values, (n_rows, 1) in the target's own unit.

        Args:
            rows: (n_rows, *input_shape) numbers, or the rows of a table; unscaled.

        Raises:
            DataError: Rows of another shape, other columns, or values that are not numbers.
        """
        x = as_rows(rows, self._preprocessing) if isinstance(rows, np.ndarray) else self._preprocessing.encode(rows)
        if not len(x):
            raise DataError("rows: must hold rows to predict, got none: give at least one")
        chunks = [x[start : start + _CHUNK_ROWS] for start in range(0, len(x), _CHUNK_ROWS)]
        return np.concatenate([np.asarray(self._model(chunk, training=False)) for chunk in chunks])

    def of_folds(self, rows: Array, fold_of: Array) -> Array:
        """Predicts each row with the network that was not trained on it, of a model of one network for each fold.

        Args:
            rows: As for ``probabilities``.
            fold_of: (n_rows,) fold of each row.

        Returns:
            As ``probabilities``.
        """
        import keras

        mean = self._model.layers[-1]
        networks = Predictor(keras.Model(self._model.inputs[0], mean.input), self._preprocessing)
        return np.asarray(networks.probabilities(rows)[np.arange(len(fold_of)), fold_of])


def as_rows(x: Array, preprocessing: Preprocessing, place: str = "rows") -> Array:
    """Converts numbers to a model's rows, (n_rows, *input_shape) uint8 or float32; a single row becomes a batch of one.

    Raises:
        DataError: Another shape, no rows, or values that are not finite numbers.
    """
    shape = preprocessing.input_shape
    if x.dtype.kind not in "biuf":
        raise DataError(f"{place}: must hold numbers, got {x.dtype}: convert them")
    if np.ma.is_masked(x):
        raise DataError(f"{place}: must hold finite float32 numbers, got masked ones: fill them, or drop those rows")
    if x.shape == shape:
        x = x[None]
    if x.shape[1:] != shape or not len(x):
        rule = f"must be (n_rows, {', '.join(map(str, shape))}), or one row {shape}, as the model was trained on"
        raise DataError(f"{place}: {rule}, got {x.shape}: reshape them")
    return convert_inputs(x, place)
