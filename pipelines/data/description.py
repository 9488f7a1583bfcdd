"""Describes a dataset before anything is trained: shapes, ranges, class counts, missing values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.data.loading import Prepared, announce_size, encode, prepare
from pipelines.objectives import Task


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a table.

    Attributes:
        name: Its name.
        kind: ``numeric``, ``boolean``, ``date``, ``category`` or ``ignored``.
        n_missing: Training and validation rows without a value.
        n_features: Inputs of the model that come from it.
        note: The encoding beyond its plain values, or the reason why it is ignored.
    """

    name: str
    kind: str
    n_missing: int
    n_features: int
    note: str


@dataclass(frozen=True, slots=True)
class Description:
    """Facts about a dataset; nothing in it was counted on test rows.

    Attributes:
        name: Short name of the source.
        fingerprint: Of its arrays and split.
        input_shape: Shape of one row as a model takes it.
        dtype: Type of the values.
        value_range: Lowest and highest value of the training rows.
        class_names: One name per class number.
        n_rows: Rows of each split, ``test`` included.
        class_counts: Rows of each class, for training and validation.
        columns: Of a table; empty for arrays.
        notes: As of a ``Dataset``.
        task: The type of the target.
        target_range: Lowest value, mean and highest value of a regression's training targets; None for classes.
        folds: Number of folds; 1 for one split. The validation rows are those of the first fold.
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
    notes: tuple[str, ...]
    task: Task
    target_range: tuple[float, float, float] | None
    folds: int = 1


def describe(
    config: DataConfig,
    folders: Sequence[Path] = (),
    note: Callable[[str], None] = lambda _: None,
    *,
    decide_folds: bool = False,
) -> Description:
    """Describes a source.

    ``note`` is called with the memory that a large file will need, before it is read; the other arguments and the
    errors are those of ``loading.load``.
    """
    announce_size(config, folders, note)
    prepared = prepare(config, folders, decide_folds=decide_folds)
    columns = _summarize_columns(prepared)  # before rows are encoded: it takes the memory of some columns
    dataset = encode(prepared, config)
    x, splits = dataset.training.x, {"training": dataset.training, "validation": dataset.validation}
    counts, target_range = {name: np.empty(0, int) for name in splits}, _target_range(dataset)
    if target_range is None:
        counts = {name: np.bincount(split.y, minlength=dataset.n_outputs) for name, split in splits.items()}
    return Description(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        input_shape=dataset.input_shape,
        dtype=str(x.dtype),
        value_range=(float(x.min()), float(x.max())),
        class_names=dataset.class_names,
        n_rows={**{name: len(split.y) for name, split in splits.items()}, "test": dataset.n_test},
        class_counts={name: tuple(per_class.tolist()) for name, per_class in counts.items()},
        columns=columns,
        notes=dataset.notes,
        task=dataset.task,
        target_range=target_range,
        folds=dataset.n_folds,
    )


def _target_range(dataset: Dataset) -> tuple[float, float, float] | None:
    if dataset.preprocessing.target is None:
        return None
    values = dataset.preprocessing.target.decode(dataset.training.y)
    return float(values.min()), float(values.mean()), float(values.max())


def _summarize_columns(prepared: Prepared) -> tuple[ColumnSummary, ...]:
    encoder, table, shares = prepared.encoder, prepared.source.rows, prepared.shares
    if encoder is None or isinstance(table, np.ndarray):
        return ()
    rows = np.concatenate([shares.training, shares.validation])
    return tuple(
        ColumnSummary(
            name=column.name,
            kind=column.kind,
            n_missing=int(table[column.name].isna().to_numpy()[rows].sum()),
            n_features=column.n_features,
            note=column.summary,
        )
        for column in encoder.columns
    )
