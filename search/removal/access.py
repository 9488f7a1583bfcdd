"""Opens a study so that nothing else works on it while parts of it are removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from pipelines.errors import UnavailableError
from search.home.locks import SearchedError
from search.home.settings import Settings, read_settings
from search.home.text import redact
from search.optimization.studies import load_own_study
from search.storage import StoredStudy, storage_errors
from search.storage.sharing import is_searched, sole_lock
from search.tracking.connection import connect, mlflow_errors, open_home

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def idle_study(name: str, home: Path | None) -> Iterator[tuple[Settings, StoredStudy, MlflowClient]]:
    """Opens a study that no process searches; none can begin to on an embedded database while the block lasts.

    Raises:
        NotFoundError: There is no such study.
        UnavailableError: It is being searched, or a database or the tracking server cannot be used.
    """
    settings = read_settings(home)
    load_own_study(settings, name)
    open_home(settings)
    try:
        with storage_errors(settings), sole_lock(settings, name) as own:
            study = load_own_study(own, name)
            if own.is_shared and is_searched(own, study):
                raise SearchedError
            with mlflow_errors(f"MLflow at {redact(own.tracking_uri)}"):
                yield own, study, connect(own)
    except SearchedError as error:
        raise UnavailableError(f"study {name!r}: is being searched: interrupt the search with Ctrl-C first") from error


def delete_files(client: MlflowClient, folder: str) -> None:
    """Deletes the files below an address of MLflow's, and the folder above them where it is left empty."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(folder, client.tracking_uri).delete_artifacts()
    address = urlparse(folder)
    if address.scheme in ("", "file"):
        with suppress(OSError):  # it has other files
            Path(url2pathname(address.path)).parent.rmdir()
