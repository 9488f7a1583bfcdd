"""The rows of a dataset as TensorFlow holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.config import ClassWeight
from pipelines.data.datasets import Dataset, Split
from pipelines.data.targets import TargetScaling
from pipelines.encoding.pieces import Pieces
from pipelines.network.epoch import Rows
from pipelines.network.layers import uses_gpu
from pipelines.network.optimizers import Tensor
from pipelines.training.model import scaling_map

_ALIGNMENT = 64  # bytes; TensorFlow aborts the process on memory that is less aligned
_ON_GPU = {"uint8": "float16", "int32": "int64"}
"""Types of rows on a GPU, where uint8 cannot be gathered and int32 is not kept; float16 represents each whole
number up to 2,048 exactly."""


class Fold(NamedTuple):
    """Row numbers of one network: what it trains on, and what it is validated on, (n,) int32 each."""

    training: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """The rows of a dataset as TensorFlow holds them, shared by all trials of a process.

    Attributes:
        training: They fit the weights; with folds, all rows.
        validation: They pick epochs; with folds, all rows.
        n_outputs: Outputs of a network.
        target: The scaling of a regression's target; None for a classification.
        labels: (n_validation_rows,) targets of the validation rows.
        label_weight: (n_validation_rows,) weights of the validation rows; None for equal ones.
        folds: The rows of each fold's network; empty for one split.
        pieces: The ranges of numeric columns that an embedding has; None for none.
        input_shape: Shape of a row before it was flattened.
    """

    training: Rows
    validation: Rows
    n_outputs: int
    target: TargetScaling | None
    labels: np.ndarray
    label_weight: np.ndarray | None
    folds: tuple[Fold, ...] = ()
    pieces: Pieces | None = None
    input_shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> TrainingRows:
        """Wraps the arrays of a dataset, without a copy where the system allows; folds need a copy."""
        slope, offset = map(tf.constant, scaling_map(dataset.preprocessing))
        training, held = dataset.training, dataset.validation
        folds = () if dataset.fold_of is None else _folds(dataset.fold_of)
        if folds:
            training = held = training.joined(held)
        rows = _rows(training, slope, offset)
        validation = rows if folds else _rows(held, slope, offset)
        target, shape = dataset.preprocessing.target, dataset.input_shape
        return cls(
            rows, validation, dataset.n_outputs, target, held.y, held.weight, folds, dataset.pieces, shape
        )  # fmt: skip

    @property
    def sizes(self) -> tuple[int, int, int]:
        """As ``Dataset`` has them."""
        return int(self.training.x.shape[1]), self.n_outputs, 0 if self.pieces is None else len(self.pieces)

    def weighted(self, class_weight: ClassWeight | None) -> TrainingRows:
        """Returns these rows with the losses of the training rows weighted by class.

        ``balanced`` is scikit-learn's: the inverse of a class's rows by weight, times all rows by the classes.
        """
        if class_weight in (None, "none"):
            return self
        labels, own = self.training.y.numpy(), self.training.weight
        weights = np.ones(len(labels), np.float32) if own is None else own.numpy()
        totals = np.bincount(labels, weights, minlength=self.n_outputs)
        factors = totals.sum() / (self.n_outputs * np.where(totals > 0, totals, np.inf))
        weight = factors.astype(np.float32)[labels] * weights
        return replace(self, training=self.training._replace(weight=tf.constant(weight)))


def _folds(fold_of: np.ndarray) -> tuple[Fold, ...]:
    inside = [fold_of == number for number in range(int(fold_of.max()) + 1)]
    return tuple(Fold(*(np.flatnonzero(rows).astype(np.int32) for rows in (~mask, mask))) for mask in inside)


def _rows(split: Split, slope: Tensor, offset: Tensor) -> Rows:
    x = _tensor(split.x.reshape(len(split.x), -1))
    return Rows(x, _tensor(split.y), slope, offset, None if split.weight is None else _tensor(split.weight))


def _tensor(array: np.ndarray) -> Tensor:
    """Uses an array's memory in place on a CPU if possible, so that processes that map the same rows share them."""
    if uses_gpu():
        return tf.constant(array.astype(_ON_GPU.get(array.dtype.name, array.dtype), copy=False))
    usable = array.flags.writeable and array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0
    if usable:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)
