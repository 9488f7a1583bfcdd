"""Predictions of rows, kept with the rows' targets, so that two models can be compared by any metric later."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.training.scores import Parts, parts


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of rows and the rows' targets, kept so that two models can be compared by any metric later.

    Attributes:
        predicted: (n_rows, n_classes) float32 probabilities, or (n_rows,) float32 values in the target's own unit.
        truth: (n_rows,) class numbers, or values.
        trivial: The prediction of a model that knows no inputs, for any row: the (n_classes,) shares of the classes
            among the training rows, or a (1,) mean of their targets.
        weight: (n_rows,) weights of the rows; None for equal ones.
        group: (n_rows,) numbers of the groups whose rows are not independent; None without groups.
    """

    predicted: Array
    truth: Array
    trivial: Array
    weight: Array | None = None
    group: Array | None = None

    @property
    def is_regression(self) -> bool:
        """Whether values were predicted."""
        return self.predicted.ndim == 1

    def parts(self, metric: str) -> Parts:
        """A metric by its rows; see ``parts``."""
        return parts(metric, self.predicted, self.truth, self.weight)

    @property
    def right(self) -> Array:
        """(n_rows,) bool, the rows of a classification whose most probable class is their label."""
        return np.asarray(self.predicted.argmax(axis=1) == self.truth)

    @property
    def of_trivial_model(self) -> Predictions:
        """The same rows as the trivial model predicts them."""
        shape = (len(self.truth),) if self.is_regression else (len(self.truth), len(self.trivial))
        return replace(self, predicted=np.broadcast_to(self.trivial, shape))

    def of_best_constant(self, metric: str) -> Predictions:
        """The same rows with one prediction for all of them, the best one by a metric.

        That is the shares of their classes, whose largest is also the best single class; or their mean, and for the
        mean absolute error their median.
        """
        weights = np.ones(len(self.truth)) if self.weight is None else self.weight.astype(np.float64)
        if not self.is_regression:
            counts = np.bincount(self.truth, weights, self.predicted.shape[1])
            return replace(self, predicted=np.broadcast_to(counts / counts.sum(), self.predicted.shape))
        if metric == "mae":
            order = np.argsort(self.truth)
            below = np.cumsum(weights[order])
            answer = float(self.truth[order][np.searchsorted(below, below[-1] / 2)])
        else:
            answer = float(np.average(self.truth, weights=weights))
        return replace(self, predicted=np.full(len(self.truth), answer))

    def to_npz(self) -> bytes:
        """The bytes of an ``.npz`` that ``from_npz`` reads."""
        file = io.BytesIO()
        arrays = {"predicted": self.predicted, "truth": self.truth, "trivial": self.trivial}
        given = {"weight": self.weight, "group": self.group}
        arrays |= {name: values for name, values in given.items() if values is not None}
        np.savez_compressed(file, allow_pickle=False, **arrays)
        return file.getvalue()

    @classmethod
    def from_npz(cls, content: bytes, place: str) -> Predictions:
        """Reads what ``to_npz`` wrote.

        Raises:
            DataError: The file, named ``place``, is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return cls(file["predicted"], file["truth"], file["trivial"], file.get("weight"), file.get("group"))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            problem = " ".join(str(error).split())[:200]
            raise DataError(f"{place}: must be predictions as they were kept ({problem}): evaluate again") from error
