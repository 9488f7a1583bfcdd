"""A named source or a file -> a Dataset: training and validation rows, class names, fingerprint.

Test rows are sealed. Where a source has test rows of its own, they pass through the fingerprint's hash and
are never kept; where it has none, a stratified share is drawn and dropped. ``sealed.open_test`` returns them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.preparation import Prepared, Split, prepare
from pipelines.data.preprocessing import Preprocessing
from pipelines.files.sources import SOURCES, is_available

__all__ = ["SOURCES", "Dataset", "Description", "Preprocessing", "Split", "describe", "is_available", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """What may be looked at of a source.

    Attributes:
        name: Short name, for people.
        training: Rows that fit weights, and all that preprocessing learns from.
        validation: Rows that pick epochs and rank trials.
        preprocessing: What a model takes with it.
        fingerprint: 16 hexadecimal digits; the same arrays and split give the same ones on any machine.
        n_test: Rows that are sealed.
    """

    name: str
    training: Split
    validation: Split
    preprocessing: Preprocessing
    fingerprint: str
    n_test: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class number."""
        return self.preprocessing.class_names

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.preprocessing.input_shape

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a table; ``n_missing`` leaves test rows out, ``note`` says why a column is ignored."""

    name: str
    kind: str
    n_missing: int
    n_features: int
    note: str


@dataclass(frozen=True, slots=True)
class Description:
    """What a person looks at before training; nothing in it was counted on test rows.

    Attributes:
        name: Short name of the source.
        fingerprint: Of its arrays and split.
        input_shape: Shape of one row as a model takes it.
        dtype: Type of the values.
        value_range: Lowest and highest value of the training rows.
        class_names: One name per class number.
        n_rows: Rows of each split; ``test`` is known by its size alone.
        class_counts: Rows of each class, for training and validation.
        columns: Of a table; empty for arrays.
    """

    name: str
    fingerprint: str
    input_shape: tuple[int, ...]
    dtype: str
    value_range: tuple[float, float]
    class_names: tuple[str, ...]
    n_rows: dict[str, int]
    class_counts: dict[str, tuple[int, ...]]
    columns: tuple[ColumnSummary, ...]


def load(config: DataConfig, folders: Sequence[Path] = ()) -> Dataset:
    """Load what may be looked at; never holds or returns a test row of the source's own.

    Args:
        config: The source, its target column, the split and the scaling.
        folders: Where ``NAME.npz`` of a built-in source is looked for, in this order; a download goes to the
            last. Without folders it is Keras's own cache.

    Raises:
        DataError: An unknown source, wrong settings, or a file that cannot be used.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened, or a download failed.
    """
    return _dataset(config, prepare(config, folders))


def describe(config: DataConfig, folders: Sequence[Path] = ()) -> Description:
    """Shapes, ranges, class counts and missing values; arguments and errors are those of ``load``."""
    prepared = prepare(config, folders)
    dataset = _dataset(config, prepared)
    x, n_classes = dataset.training.x, dataset.n_classes
    splits = {"training": dataset.training, "validation": dataset.validation}
    counts = {name: np.bincount(split.y, minlength=n_classes).tolist() for name, split in splits.items()}
    return Description(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        input_shape=dataset.input_shape,
        dtype=str(x.dtype),
        value_range=(float(x.min()), float(x.max())),
        class_names=dataset.class_names,
        n_rows={**{name: len(split.y) for name, split in splits.items()}, "test": dataset.n_test},
        class_counts={name: tuple(per_class) for name, per_class in counts.items()},
        columns=_summaries(prepared),
    )


def _dataset(config: DataConfig, prepared: Prepared) -> Dataset:
    source, shares = prepared.source, prepared.shares
    own_test = source.archive is not None
    split = [config.validation_fraction, None if own_test else config.test_fraction, config.split_seed]
    return Dataset(
        name=source.name,
        training=prepared.training,
        validation=prepared.split(shares.validation),
        preprocessing=prepared.preprocessing,
        fingerprint=hashlib.sha256(json.dumps([source.digests, split]).encode()).hexdigest()[:16],
        n_test=source.n_test if own_test else len(shares.test),
    )


def _summaries(prepared: Prepared) -> tuple[ColumnSummary, ...]:
    encoder, table = prepared.preprocessing.columns, prepared.source.rows
    if encoder is None or isinstance(table, np.ndarray):
        return ()
    seen = table.iloc[np.concatenate([prepared.shares.training, prepared.shares.validation])]
    n_missing = seen.isna().sum()
    return tuple(
        ColumnSummary(column.name, column.kind, int(n_missing[column.name]), column.n_features, column.reason)
        for column in encoder.columns
    )
