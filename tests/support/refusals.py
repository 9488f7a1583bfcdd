"""Loads files that must be refused, and files that were damaged at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.errors import DataError, MlpSearchError

X = np.arange(60, dtype=np.float32).reshape(30, 2)
Y = np.arange(30) % 2


def load_error(path: Path, error: type[MlpSearchError] = DataError) -> str:
    """The one-line message, which names the file, of the error that loading a file raises."""
    with pytest.raises(error) as caught:
        loading.load(DataConfig(str(path)))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def load_damaged(path: Path, data: st.DataObject) -> None:
    """Changes some bytes of a file and loads it: either that succeeds or the error is one line."""
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        loading.load(DataConfig(str(path)))
    except MlpSearchError as error:
        assert "\n" not in str(error)  # noqa: PT017
