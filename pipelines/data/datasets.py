"""Loads a named source or a file as a Dataset: training and validation rows, class names, fingerprint.

Test rows are held out. Where a source has test rows of its own, they pass through the fingerprint's hash and
are not kept; where it has none, a stratified share is drawn and left out. ``sealed.open_test`` returns them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from pipelines.config import DataConfig, Scaling
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.data.readers import Source, read_source
from pipelines.data.splits import Shares, number_labels, share_rows
from pipelines.data.table_encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.archives import Array

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_NAMES = {"fashion_mnist": {str(number): name for number, name in enumerate(_FASHION)}}


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of one split.

    Attributes:
        x: (n_rows, *input_shape) uint8 or float32, unscaled.
        y: (n_rows,) int32 class numbers.
    """

    x: Array
    y: Array


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
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.preprocessing.input_shape


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A dataset with what it was made from.

    Attributes:
        dataset: The dataset.
        source: Rows and labels as read.
        classes: The labels as texts, in the order of their numbers.
        numbers: (n_rows,) int32 class numbers of the source's rows.
        shares: Row numbers of each split.
    """

    dataset: Dataset
    source: Source
    classes: tuple[str, ...]
    numbers: Array
    shares: Shares


def load(config: DataConfig, folders: Sequence[Path] = ()) -> Dataset:
    """Loads training and validation rows; never holds or returns a test row of the source's own.

    Args:
        config: The source, its target column, the split and the scaling.
        folders: Where ``NAME.npz`` of a built-in source is looked for, in this order; a download goes to the
            last. Without folders it is Keras's own cache.

    Raises:
        DataError: An unknown source, wrong settings, or a file that cannot be used.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened, or a download failed.
    """
    return prepare(config, folders).dataset


def prepare(config: DataConfig, folders: Sequence[Path] = ()) -> Prepared:
    """Reads a source, splits its rows and learns the preprocessing; arguments and errors are those of ``load``."""
    _require_valid(config)
    source = read_source(config, folders)
    place = f"{source.place}, labels"
    classes = tuple(str(label) for label in np.unique(source.labels))
    numbers = number_labels(source.labels, classes, place)
    is_split_off = source.n_own_test is None
    shares = share_rows(numbers, classes, config, is_split_off, place)
    encoder = None
    if not isinstance(source.rows, np.ndarray):
        with _placed(source):
            encoder = TableEncoder.learn(source.rows.iloc[shares.training])
    training = take(source, encoder, numbers, shares.training)
    center, scale = learn_scaling(training.x, config.scaling)
    names = tuple(_NAMES.get(config.source, {}).get(label, label) for label in classes)
    split = [config.validation_fraction, config.test_fraction if is_split_off else None, config.split_seed]
    dataset = Dataset(
        name=source.name,
        training=training,
        validation=take(source, encoder, numbers, shares.validation),
        preprocessing=Preprocessing(training.x.shape[1:], names, center, scale, encoder),
        fingerprint=hashlib.sha256(json.dumps([source.digests, split]).encode()).hexdigest()[:16],
        n_test=len(shares.test) if source.n_own_test is None else source.n_own_test,
    )
    return Prepared(dataset, source, classes, numbers, shares)


def take(source: Source, encoder: TableEncoder | None, numbers: Array, rows: Array) -> Split:
    """Returns the rows of these numbers, encoded.

    Args:
        source: Where the rows are from.
        encoder: Encodes a table; None for arrays.
        numbers: (n_rows,) class numbers of the source's rows.
        rows: (n,) row numbers.

    Raises:
        DataError: A row of a table cannot be encoded.
    """
    if encoder is None or isinstance(source.rows, np.ndarray):
        return Split(np.ascontiguousarray(np.asarray(source.rows)[rows]), numbers[rows])
    with _placed(source):
        return Split(encoder.encode(source.rows.iloc[rows]), numbers[rows])


@contextmanager
def _placed(source: Source) -> Iterator[None]:
    """Names the file in errors about its columns."""
    try:
        yield
    except DataError as error:
        raise DataError([f"{source.place}: {problem}" for problem in error.problems]) from error


def _require_valid(config: DataConfig) -> None:
    problems = [
        f"data.{name}: must be above 0 and below 1, got {getattr(config, name)}: 0.2 is a common choice"
        for name in ("validation_fraction", "test_fraction")
        if not 0 < getattr(config, name) < 1
    ]
    scalings = get_args(Scaling)
    if config.scaling not in scalings:
        problems.append(f"data.scaling: must be one of {', '.join(scalings)}, got {config.scaling!r}")
    if not 0 <= config.split_seed < 2**32:
        problems.append(f"data.split_seed: must be at least 0 and below 2**32, got {config.split_seed}")
    if problems:
        raise DataError(problems)
