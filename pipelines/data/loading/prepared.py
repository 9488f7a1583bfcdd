"""A dataset whose rows are split but not encoded yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.data.datasets import Split
from pipelines.data.readers import Source
from pipelines.data.splits import Shares
from pipelines.data.targets import TargetScaling
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import placed
from pipelines.files.archives import Array
from pipelines.files.roles import normalize


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The targets of the rows of one split; the attributes are those of a ``Split``."""

    y: Array
    weight: Array | None
    group: Array | None
    mean_weight: float

    @classmethod
    def by_split(cls, source: Source, targets: Array, splits: Sequence[Array]) -> list[Answers]:
        """Returns those of the row numbers of each split, of (n_rows,) targets of all."""
        weight, group = source.roles.weight, source.roles.group
        numbers = None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int32)
        found = []
        for rows in splits:
            own, mean = (None, 1.0) if weight is None else normalize(weight[rows])
            found.append(cls(targets[rows], own, None if numbers is None else numbers[rows], mean))
        return found

    def split(self, x: Array, first: int = 0) -> Split:
        """Returns these answers, from a row on, as those of (n_rows, *input_shape) rows."""
        rows = slice(first, first + len(x))
        weight, group = (None if it is None else it[rows] for it in (self.weight, self.group))
        return Split(x, self.y[rows], weight, group, self.mean_weight)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A dataset whose rows are not encoded yet.

    Nothing in it has a value for each row of the source but ``source.rows`` and ``shares``, so that large files fit in
    memory.

    Attributes:
        source: Where the rows are from. Its labels are those of ``test`` alone, and it has no roles.
        classes: The labels as texts, in the order of their numbers; empty for a regression.
        shares: Row numbers of each split.
        known: Answers of the rows that preprocessing is learned from, ``shares.learned_from``.
        validation: Answers of the validation rows; with folds they are in ``known`` instead.
        test: Answers of the rows ``shares.test``, where they are asked for.
        encoder: Encodes a table; None for arrays.
        target: The scaling of a regression's target; None for a classification.
        fingerprint: As of a ``Dataset``.
        notes: As of a ``Dataset``.
    """

    source: Source
    classes: tuple[str, ...]
    shares: Shares
    known: Answers
    validation: Answers
    test: Answers
    encoder: TableEncoder | None
    target: TargetScaling | None
    fingerprint: str
    notes: tuple[str, ...]

    def take(self, *splits: Array) -> list[Array]:
        """Returns the encoded rows of the row numbers of each split, (n_rows, *input_shape).

        Raises:
            DataError: A row of a table cannot be encoded.
        """
        rows = self.source.rows
        if self.encoder is None or isinstance(rows, np.ndarray):
            return [np.ascontiguousarray(np.asarray(rows)[numbers]) for numbers in splits]
        with placed(self.source.place):
            return self.encoder.encode_splits(rows, splits)
