"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the full ``mnist.npz`` and ``fashion_mnist.npz``; tests that need it are marked ``mnist``."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLP_SEARCH_DATA", default))
    missing = [name for name in ("mnist.npz", "fashion_mnist.npz") if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"{folder} lacks {' and '.join(missing)}; MLP_SEARCH_DATA names the folder that has them")
    return folder
