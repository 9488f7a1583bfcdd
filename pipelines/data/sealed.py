"""The only access to the held-out test rows, for evaluation alone, after the winner is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.datasets import Split, prepare, take
from pipelines.data.readers import TEST_ARRAYS, convert_inputs
from pipelines.data.splits import clean_labels, number_labels
from pipelines.files.archives import read_array, read_headers


def open_test(config: DataConfig, folders: Sequence[Path] = ()) -> Split:
    """Returns the test rows, encoded as ``datasets.load`` encodes the others.

    Args:
        config: As for ``datasets.load``.
        folders: As for ``datasets.load``.

    Raises:
        DataError: As for ``datasets.load``, or test labels that do not occur in training.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened.
    """
    prepared = prepare(config, folders)
    source = prepared.source
    if source.n_own_test is None:
        return take(source, prepared.dataset.preprocessing.columns, prepared.numbers, prepared.shares.test)
    path = Path(source.place)
    headers = read_headers(path)
    x, y = (read_array(path, name, headers[name])[0] for name in TEST_ARRAYS)
    labels = clean_labels(y, f"{path}, y_test")
    return Split(convert_inputs(x, f"{path}, x_test"), number_labels(labels, prepared.classes, f"{path}, y_test"))
