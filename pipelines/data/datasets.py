"""A dataset: training and validation rows, what is learned from them, and its fingerprint. Test rows are held out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.config import are_pictures
from pipelines.data.preprocessing import Preprocessing
from pipelines.encoding.pieces import Pieces
from pipelines.files.archives import Array
from pipelines.files.roles import normalize
from pipelines.objectives import RANK_OBJECTIVES, Task


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of one split.

    Attributes:
        x: (n_rows, *input_shape) uint8 or float32, unscaled.
        y: (n_rows,) int32 class numbers, or float32 standardized targets of a regression.
        weight: (n_rows,) float32 weights of the rows in loss and metrics, with mean 1; None where all are equal.
        group: (n_rows,) int32 numbers of the groups that the splits keep together; None without groups.
        mean_weight: Mean of the weights in the source: rows of two splits are compared by ``weight * mean_weight``.
    """

    x: Array
    y: Array
    weight: Array | None = None
    group: Array | None = None
    mean_weight: float = 1.0

    def at(self, rows: Array | slice) -> Split:
        """Returns the rows of these numbers, or for which (n_rows,) booleans are true."""
        weight, group = (None if it is None else it[rows] for it in (self.weight, self.group))
        return Split(self.x[rows], self.y[rows], weight, group, self.mean_weight)

    def head(self, n_rows: int) -> Split:
        """Returns the first rows."""
        return self.at(slice(n_rows))

    def joined(self, other: Split) -> Split:
        """Returns these rows and then the other split's."""
        x, y = np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y])
        group = None
        if self.group is not None and other.group is not None:
            group = np.concatenate([self.group, other.group])
        if self.mean_weight == other.mean_weight and self.weight is None and other.weight is None:
            return Split(x, y, group=group)
        parts = [s.mean_weight * (np.ones(len(s.y)) if s.weight is None else s.weight) for s in (self, other)]
        weight, mean = normalize(np.concatenate(parts))
        return Split(x, y, weight, group, mean)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """All of a source but its test rows.

    Attributes:
        name: Short name, for people.
        training: Rows that fit weights and preprocessing.
        validation: Rows that pick epochs and rank trials.
        preprocessing: Saved with a model.
        fingerprint: 16 hexadecimal digits; the same arrays and split have the same ones on every machine.
        n_test: Number of test rows.
        notes: Lines about the data that a user should know: what is not used, or is read in a special way.
        fold_of: (n_training + n_validation,) int32 number of the fold of each row, in the order of
            ``training.joined(validation)``; None for one split. The validation rows are fold 0. The network of a fold
            is trained on the rows of the other folds.
        pieces: The ranges of the numeric columns of a table, for networks that embed them; None for none.
    """

    name: str
    training: Split
    validation: Split
    preprocessing: Preprocessing
    fingerprint: str
    n_test: int
    notes: tuple[str, ...] = ()
    fold_of: Array | None = None
    pieces: Pieces | None = None

    @property
    def n_pieces(self) -> int:
        """Number of values that an embedding of the numeric columns adds to the features."""
        return 0 if self.pieces is None else len(self.pieces)

    def unfit(self, shift: int) -> dict[str, str]:
        """Returns hyperparameters and objectives that have no meaning for these rows, by name, each with the reason.

        Args:
            shift: The most pixels by which a configuration moves rows.
        """
        found, shape = {}, " x ".join(f"{size:,}" for size in self.input_shape)
        if not are_pictures(self.input_shape):
            reason = f"rows of {shape} are no pictures, which are height x width, or that x 1 to 4 channels"
            found = dict.fromkeys(("shift", "flip"), reason)
        elif shift >= min(self.input_shape[:2]):
            found = {"shift": f"pictures of {shape} cannot move by {shift} pixels"}
        if not self.n_pieces:
            found["embedding"] = "there is no numeric column of a table with enough rows and values"
        if self.task == "classification" and len(np.unique(self._ranking_labels)) < 2:
            found |= dict.fromkeys(RANK_OBJECTIVES, "the validation rows have one class alone")
        return found

    @property
    def _ranking_labels(self) -> Array:
        """The labels of the validation rows, those of weight 0 left out."""
        y, weight = self.validation.y, self.validation.weight
        return y if weight is None else y[weight > 0]

    @property
    def n_bytes(self) -> int:
        """Size of the training and the validation rows in memory."""
        return sum(array.nbytes for split in (self.training, self.validation) for array in (split.x, split.y))

    @property
    def n_folds(self) -> int:
        """Number of folds; 1 for one split."""
        return 1 if self.fold_of is None else int(self.fold_of.max()) + 1

    @property
    def n_rows(self) -> int:
        """Number of rows, test rows included."""
        return len(self.training.y) + len(self.validation.y) + self.n_test

    @property
    def n_scored(self) -> int:
        """Number of the rows that the objective is measured on."""
        return len(self.validation.y) + (0 if self.fold_of is None else len(self.training.y))

    @property
    def scored(self) -> Split:
        """The rows that the objective is measured on: the validation rows; with folds those of all folds."""
        return self.validation if self.fold_of is None else self.training.joined(self.validation)

    @property
    def fitted(self) -> Split:
        """The rows that weights are fitted to: the training rows; with folds those of all folds."""
        return self.training if self.fold_of is None else self.scored

    def of_fold(self, number: int) -> Dataset:
        """Returns one split whose validation rows are those of a fold."""
        rows, held_out = self.training.joined(self.validation), np.asarray(self.fold_of) == number
        return replace(self, training=rows.at(~held_out), validation=rows.at(held_out), fold_of=None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class number; empty for a regression."""
        return self.preprocessing.class_names

    @property
    def task(self) -> Task:
        """The type of the target."""
        return self.preprocessing.task

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes for ``pipelines.config.layers``: values of a flattened row, outputs, and ``n_pieces``."""
        return self.training.x[0].size, self.n_outputs, self.n_pieces

    @property
    def n_outputs(self) -> int:
        """Outputs of a network: a logit per class, or one value."""
        return self.preprocessing.n_outputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.preprocessing.input_shape
