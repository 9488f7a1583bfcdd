"""The only way to the sealed test rows, for evaluation alone, once the winner is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.preparation import Split, prepare
from pipelines.data.readers import TEST_ARRAYS, convert_inputs
from pipelines.data.splits import clean_labels, number_labels
from pipelines.files.archives import read_arrays, read_headers


def open_test(config: DataConfig, folders: Sequence[Path] = ()) -> Split:
    """The test rows, encoded as ``datasets.load`` encodes the others.

    Args:
        config: The same that the dataset was loaded with.
        folders: As for ``datasets.load``.

    Raises:
        DataError: As for ``datasets.load``, or test labels that the training rows lack.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened.
    """
    prepared = prepare(config, folders)
    archive = prepared.source.archive
    if archive is None:
        return prepared.split(prepared.shares.test)
    (x, y), _ = read_arrays(archive, read_headers(archive), TEST_ARRAYS)
    place = f"{archive}, y_test"
    numbers = number_labels(clean_labels(y, place), prepared.classes, place)
    return Split(convert_inputs(x, f"{archive}, x_test"), numbers)
