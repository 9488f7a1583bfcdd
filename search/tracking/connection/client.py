"""MLflow's client, once its servers and databases have answered."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError, UnavailableError
from search.home.addresses import is_http, is_sqlite, sqlite_file
from search.home.relocation import follow_home
from search.home.settings import MIGRATING, Settings, make_private, prepare_home, prepare_sqlite
from search.home.text import one_line, redact
from search.storage.database import creating_tables, open_storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

_API = "/api/2.0/mlflow/experiments/search"


def open_home(settings: Settings) -> None:
    """Creates the home, after every server and database outside it has answered: a failure leaves nothing behind.

    Raises:
        UnavailableError: The tracking server, a database or the folder cannot be used.
    """
    require_answer(settings)
    file = sqlite_file(settings.optuna_storage)
    if not (file and file.is_relative_to(settings.home)):
        open_storage(settings)
    prepare_home(settings)


@contextmanager
def mlflow_errors(place: str) -> Iterator[None]:
    """Translates the errors of MLflow, of its files and of its SQLite database.

    Args:
        place: Begins the message: the place, and what MLflow must do there.

    Raises:
        InputError: MLflow does not take a name or another value.
        UnavailableError: Any other error.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, sqlite3.Error) as error:
        is_input = getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"
        raise (InputError if is_input else UnavailableError)(f"{place}: {one_line(error)}") from error


def connect(settings: Settings) -> MlflowClient:
    """Returns MLflow's client.

    Raises:
        UnavailableError: A server or database does not answer.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A request that MLflow's client repeats may open a run twice; the tracker checks before it retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    import sqlalchemy as sa
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service import utils

    silence_mlflow()
    require_answer(settings)
    # MLflow keeps in memory where a run's artifacts lie by its id alone, and a copied home has runs of the same ids.
    utils._artifact_repos_cache.clear()
    for file in filter(None, map(sqlite_file, (settings.tracking_uri, settings.registry_uri))):
        with suppress(OSError):  # MLflow's own error is clearer
            file.touch(mode=0o600)  # MLflow would create it for every user of the machine
    try:
        with MIGRATING, creating_tables(settings.tracking_uri):
            return MlflowClient(settings.tracking_uri, settings.registry_uri)
    except (sa.exc.SQLAlchemyError, MlflowException) as error:
        raise UnavailableError(f"MLflow at {redact(settings.tracking_uri)}: {one_line(error)}") from error


def require_answer(settings: Settings) -> None:
    """Checks that MLflow's servers and databases answer: MLflow's own retries would take minutes.

    The addresses of artifacts in the home's database are corrected if the home was moved or copied.

    Raises:
        UnavailableError: One does not answer, or refuses the login; or a moved home cannot be corrected.
    """
    make_private(settings)
    variables = {settings.registry_uri: "MLFLOW_REGISTRY_URI", settings.tracking_uri: "MLFLOW_TRACKING_URI"}
    for address, variable in variables.items():
        if is_http(address):
            _require_server(address, variable)
        else:
            _require_database(address, variable, settings.home)
    follow_home(settings)


def _require_server(address: str, variable: str) -> None:
    place = f"MLflow at {redact(address)}"
    health = _status(address, "GET", "/health", variable)
    # Servers that want a login do not want it for /health, and a proxy may keep that for itself. One that is only a
    # registry may have no experiments.
    is_tracking = variable == "MLFLOW_TRACKING_URI"
    is_asked = health in (401, 403, 404) or (health < 400 and is_tracking)
    api = _status(address, "POST", _API, variable, json={"max_results": 1}) if is_asked else health
    if api in (401, 403):
        raise UnavailableError(
            f"{place}: refuses the login (status {api}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
            " MLFLOW_TRACKING_TOKEN"
        )
    if health >= 400 and api >= 400:
        raise UnavailableError(f"{place}: must answer /health, got status {health}, and from its API {api}")


def _status(address: str, method: str, path: str, variable: str, **content: object) -> int:
    """The status of MLflow's own request, which has the login and the certificates of its variables."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from requests import RequestException
    from requests.exceptions import SSLError

    try:
        server = get_default_host_creds(address.rstrip("/"))
        answer = http_request(server, path, method, max_retries=0, timeout=10, raise_on_status=False, **content)
        return int(answer.status_code)
    except MlflowException as error:
        cause = error.__context__ or error
        why = one_line(cause)
        if isinstance(cause, SSLError):
            why = f"TLS failed: {why}; MLFLOW_TRACKING_SERVER_CERT_PATH names the certificate of its authority"
        elif isinstance(cause, RequestException):
            why = f"no answer ({type(cause).__name__}); start the server, or correct {variable}"
        raise UnavailableError(f"MLflow at {redact(address)}: {why}") from error


def _require_database(address: str, variable: str, home: Path) -> None:
    import sqlalchemy as sa

    file = sqlite_file(address)
    if file and not (file.exists() or file.is_relative_to(home) or os.access(file.parent, os.W_OK)):
        raise UnavailableError(
            f"MLflow at {redact(address)}: its folder must exist and be one that can be written, got {file.parent}:"
            f" create it, or correct {variable}"
        )
    try:
        if not is_sqlite(address):
            sa.create_engine(address, poolclass=sa.NullPool).connect().close()
        elif file and file.exists():
            prepare_sqlite(address)
    except (sqlite3.Error, sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        raise UnavailableError(f"MLflow at {redact(address)}: {one_line(error)}") from error


def silence_mlflow() -> None:
    """Keeps MLflow from reporting its migrations on the terminal, and each error of a database with a traceback.

    The error itself is raised, and reported in one line.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
