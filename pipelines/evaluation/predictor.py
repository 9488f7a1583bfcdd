"""A saved model that answers for rows as their source holds them: arrays, or the rows of a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.preprocessing import Preprocessing
from pipelines.data.readers import convert_inputs
from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is kept beside a model file, so that the two alone answer for raw rows.

    Attributes:
        preprocessing: Of the dataset that it was trained on.
        value_range: Lowest and highest value of the training rows: the black and the white of a picture.
        model_sha256: Of the file's bytes.
    """

    preprocessing: Preprocessing
    value_range: tuple[float, float]
    model_sha256: str

    def to_json(self) -> str:
        """As text; ``from_json`` reads it back without loss."""
        record = {"value_range": list(self.value_range), "model_sha256": self.model_sha256}
        return json.dumps(record | {"preprocessing": self.preprocessing.to_json()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelRecord:
        """The inverse of ``to_json``.

        Raises:
            DataError: Not such a record.
        """
        try:
            record: Mapping[str, Any] = json.loads(text)
            low, high = (float(value) for value in record["value_range"])
            preprocessing = Preprocessing.from_json(record["preprocessing"])
            return cls(preprocessing, (low, high), str(record["model_sha256"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"model record: must be one that was saved with a model ({error})") from error


class Predictor:
    """A model in memory.

    Args:
        content: The bytes of its ``.h5``.
        record: What was kept beside it; its hash is what the bytes must hash to.
        place: How an error calls the file.

    Raises:
        InputError: The file was changed, or Keras refuses it.
    """

    def __init__(self, content: bytes, record: ModelRecord, place: str = "model.h5") -> None:
        from pipelines.training.model import load_h5

        self.preprocessing = record.preprocessing
        self._model = load_h5(content, record.model_sha256, place)

    @classmethod
    def of(cls, model: Any, preprocessing: Preprocessing) -> Predictor:
        """A Keras model that was just built."""
        made = cls.__new__(cls)
        made.preprocessing, made._model = preprocessing, model
        return made

    def probabilities(self, rows: Array | pd.DataFrame) -> Array:
        """Class probabilities, (n_rows, n_classes) float32.

        Args:
            rows: (n_rows, *input_shape) numbers, or the rows of a table; neither is scaled.

        Raises:
            DataError: Rows of another shape, other columns, or values that are not numbers.
        """
        x = as_rows(rows, self.preprocessing) if isinstance(rows, np.ndarray) else self.preprocessing.encode(rows)
        chunks = [x[start : start + _CHUNK_ROWS] for start in range(0, len(x), _CHUNK_ROWS)]
        return np.concatenate([np.asarray(self._model(chunk, training=False)) for chunk in chunks])


def as_rows(x: Array, preprocessing: Preprocessing, place: str = "rows") -> Array:
    """Numbers as a model's rows, (n_rows, *input_shape) uint8 or float32; a single row becomes a batch of one.

    Raises:
        DataError: Another shape, no rows, or values that are not finite numbers.
    """
    shape = preprocessing.input_shape
    if x.dtype.kind not in "biuf":
        raise DataError(f"{place}: must hold numbers, got {x.dtype}: convert them")
    if x.shape == shape:
        x = x[None]
    if x.shape[1:] != shape or not len(x):
        rule = f"must be (n_rows, {', '.join(map(str, shape))}), or one row {shape}, as the model was trained on"
        raise DataError(f"{place}: {rule}, got {x.shape}: reshape them")
    return convert_inputs(x, place)
