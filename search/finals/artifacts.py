"""Files of MLflow, read as bytes, and the winner's model file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import UnavailableError
from pipelines.training.history import require_sha256
from search.home.text import one_line
from search.tracking.entries import MODEL_FILE
from search.tracking.spool import entries, read_entry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from search.finals.winner import Winner


def read_artifact(download: Callable[[str], str], owner: str, name: str) -> bytes:
    """The bytes of a file in MLflow.

    Args:
        download: Downloads the file into the folder it is given; returns the file's path.
        owner: The run or model version that has the file, for messages.
        name: The file's name, for messages.

    Raises:
        UnavailableError: MLflow does not have the file, or cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(download(folder)).read_bytes()
        except (MlflowException, OSError) as error:
            problem = f"{owner}: must have {name} in MLflow, but it cannot be read ({one_line(error)})"
            raise UnavailableError(problem) from error


def read_run_artifact(client: MlflowClient, run_id: str, name: str) -> bytes:
    """The bytes of a run's file.

    Raises:
        UnavailableError: As ``read_artifact``.
    """
    return read_artifact(partial(client.download_artifacts, run_id, name), f"run {run_id}", name)


def fetch_model(client: MlflowClient, spool: Path, study: str, winner: Winner) -> bytes:
    """The winner's ``.h5``: from the spool if it still waits there, else from MLflow.

    Raises:
        InputError: The file was changed since it was recorded.
        UnavailableError: As ``read_artifact``.
    """
    waiting = [folder for folder in entries(spool, study) if read_entry(folder).start.run_name == winner.run_name]
    # A run that MLflow has may still lack its files: they are sent last.
    content = (waiting[0] / MODEL_FILE).read_bytes() if waiting else b""
    content = content or read_run_artifact(client, winner.run_id, MODEL_FILE)
    require_sha256(content, winner.model_sha256, f"{MODEL_FILE} of run {winner.run_id}")
    return content
