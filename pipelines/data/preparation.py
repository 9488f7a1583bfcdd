"""The one path from a source to its splits, which ``datasets.load`` and ``sealed.open_test`` both take."""

from __future__ import annotations

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

_FASHION_NAMES = {
    "0": "T-shirt/top",
    "1": "Trouser",
    "2": "Pullover",
    "3": "Dress",
    "4": "Coat",
    "5": "Sandal",
    "6": "Shirt",
    "7": "Sneaker",
    "8": "Bag",
    "9": "Ankle boot",
}


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
class Prepared:
    """A source with its rows shared out.

    Attributes:
        source: Rows and labels as read.
        classes: The labels as texts, in the order of their numbers.
        numbers: (n_rows,) int32 class numbers.
        shares: Row numbers of each split.
        training: The training split.
        preprocessing: Learned from the training split.
    """

    source: Source
    classes: tuple[str, ...]
    numbers: Array
    shares: Shares
    training: Split
    preprocessing: Preprocessing

    def split(self, rows: Array) -> Split:
        """The rows of these numbers, encoded."""
        return Split(_encode(self.source, self.preprocessing.columns, rows), self.numbers[rows])


def prepare(config: DataConfig, folders: Sequence[Path] = ()) -> Prepared:
    """Read, share out and learn; arguments and errors are those of ``datasets.load``."""
    _require_valid(config)
    source = read_source(config, folders)
    place = f"{source.place}, labels"
    classes = tuple(str(label) for label in np.unique(source.labels))
    numbers = number_labels(source.labels, classes, place)
    shares = share_rows(numbers, classes, config, source.archive is None, place)
    rows = shares.training
    encoder = None
    if not isinstance(source.rows, np.ndarray):
        with _placed(source):
            encoder = TableEncoder.learn(source.rows.iloc[rows])
    training = Split(_encode(source, encoder, rows), numbers[rows])
    center, scale = learn_scaling(training.x, config.scaling)
    named = _FASHION_NAMES if config.source == "fashion_mnist" else {}
    names = tuple(named.get(label, label) for label in classes)
    preprocessing = Preprocessing(training.x.shape[1:], names, center, scale, encoder)
    return Prepared(source, classes, numbers, shares, training, preprocessing)


def _encode(source: Source, encoder: TableEncoder | None, rows: Array) -> Array:
    if encoder is None or isinstance(source.rows, np.ndarray):
        return np.ascontiguousarray(np.asarray(source.rows)[rows])
    with _placed(source):
        return encoder.encode(source.rows.iloc[rows])


@contextmanager
def _placed(source: Source) -> Iterator[None]:
    """Put the file before what an error says of a column."""
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
