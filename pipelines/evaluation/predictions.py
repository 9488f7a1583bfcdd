"""A model's predictions for its test rows, kept so that it can be compared with another one by any metric later."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DataError
from pipelines.evaluation.contributions import contributions
from pipelines.files.archives import Array


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of rows, and the rows' targets.

    Attributes:
        predicted: (n_rows, n_classes) float32 probabilities, or (n_rows,) float32 values in the target's own unit.
        truth: (n_rows,) class numbers, or values.
        trivial: The prediction of a model that knows no inputs, for any row: the (n_classes,) shares of the classes
            among the training rows, or a (1,) mean of their targets.
    """

    predicted: Array
    truth: Array
    trivial: Array

    @property
    def is_regression(self) -> bool:
        """Whether values were predicted."""
        return self.predicted.ndim == 1

    def contributions(self, metric: str) -> Array:
        """(n_rows,) contributions of the rows to a metric; see ``evaluation.contributions``."""
        return contributions(metric, self.predicted, self.truth).astype(np.float64)

    @property
    def of_trivial_model(self) -> Predictions:
        """The same rows as the trivial model predicts them."""
        shape = (len(self.truth),) if self.is_regression else (len(self.truth), len(self.trivial))
        return Predictions(np.broadcast_to(self.trivial, shape), self.truth, self.trivial)

    def to_npz(self) -> bytes:
        """The bytes of an ``.npz`` that ``from_npz`` reads."""
        file = io.BytesIO()
        np.savez_compressed(file, predicted=self.predicted, truth=self.truth, trivial=self.trivial)
        return file.getvalue()

    @classmethod
    def from_npz(cls, content: bytes, place: str) -> Predictions:
        """Reads what ``to_npz`` wrote.

        Raises:
            DataError: The file, named ``place``, is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return cls(file["predicted"], file["truth"], file["trivial"])
        except (OSError, KeyError, ValueError) as error:
            problem = " ".join(str(error).split())[:200]
            raise DataError(f"{place}: must be predictions as they were kept ({problem}): evaluate again") from error
