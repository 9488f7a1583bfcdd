"""The places that a command works on, from the environment."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UnavailableError
from search.home.addresses import is_http, is_sqlite, sqlite_address, sqlite_file
from search.home.text import redact

DATABASE_FILES = _OPTUNA_FILE, _MLFLOW_FILE = ("optuna.db", "mlflow.db")
"""Databases of a home that has no servers."""
_TRACKERS = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")

_DATABRICKS = "; Databricks is not supported, its experiments are named by folders: use another server of MLflow"
_UNSUPPORTED = {
    "file": "; MLflow's folders of runs are not written: unset it to keep runs in the home, or move the folder to a"
    " database with mlflow migrate-filestore",
    **dict.fromkeys(("databricks", "databricks-uc", "uc"), _DATABRICKS),
}
"""The advice for addresses of MLflow that are neither a server nor a database."""

MIGRATING = threading.Lock()
"""Held while tables are created: Optuna and MLflow both use Alembic, whose state belongs to the whole process."""

# An address without a second @ and without brackets, but for those of an IPv6 host.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://([^\s@\[\]]*@)?(\[[0-9a-fA-F:.]+\])?[^\s@\[\]]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """The places a command works on.

    Attributes:
        home: Folder of the embedded databases, the artifacts and the spool.
        optuna_storage: SQLAlchemy address of Optuna's database.
        tracking_uri: MLflow's tracking server or database.
        registry_uri: MLflow's model registry.
        artifact_root: Folder for the artifacts of a new experiment; None leaves it to the tracking server.
        data_folders: Folders of ``NAME.npz``, in the order of the search.
        ray_address: Address of the Ray cluster, for ``--pool ray``.
        visible_devices: The GPUs that are visible to CUDA; None means all.
        process_index: Number, from 0, of this process among those that search one study from this home; each has a
            spool of its own.
    """

    home: Path
    optuna_storage: str
    tracking_uri: str
    registry_uri: str
    artifact_root: str | None
    data_folders: tuple[Path, ...]
    ray_address: str | None = None
    visible_devices: str | None = None
    process_index: int = 0

    @property
    def spool(self) -> Path:
        """Folder of the results that MLflow has not received."""
        return self.home / (f"spool-{self.process_index}" if self.process_index else "spool")

    @property
    def locks(self) -> Path:
        """Folder of the lock files, one for each study in a search."""
        return self.home / "locks"

    @property
    def is_shared(self) -> bool:
        """Whether several processes may search one study."""
        return not is_sqlite(self.optuna_storage)

    @property
    def is_tracked_elsewhere(self) -> bool:
        """Whether MLflow is a server or a database server, which may be unavailable, and not a file."""
        return not is_sqlite(self.tracking_uri)

    @property
    def has_own_tracking(self) -> bool:
        """Whether MLflow's database is a file in the home, which no other home uses."""
        file = sqlite_file(self.tracking_uri)
        return file is not None and file.absolute().is_relative_to(self.home)


def read_settings(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the environment.

    Args:
        home: The option ``--home``; it takes precedence over ``MLP_SEARCH_HOME``.
        environ: The variables; section "Where things are kept" of the reference lists them.

    Raises:
        UnavailableError: A path or an address is invalid.
    """
    home = _folder(home or environ.get("MLP_SEARCH_HOME") or "mlruns", "home")
    tracking_uri = _address(environ, "MLFLOW_TRACKING_URI", _TRACKERS) or sqlite_address(home / _MLFLOW_FILE)
    data = environ.get("MLP_SEARCH_DATA")
    return Settings(
        home=home,
        optuna_storage=_address(environ, "OPTUNA_STORAGE") or sqlite_address(home / _OPTUNA_FILE),
        tracking_uri=tracking_uri,
        registry_uri=_address(environ, "MLFLOW_REGISTRY_URI", _TRACKERS) or tracking_uri,
        artifact_root=None if is_http(tracking_uri) else (home / "artifacts").as_uri(),
        data_folders=(*([_folder(data, "MLP_SEARCH_DATA")] if data else []), home / "datasets"),
        ray_address=environ.get("RAY_ADDRESS"),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
    )


def _folder(path: str | Path, name: str) -> Path:
    try:
        folder = Path(path).expanduser().absolute()
        folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such user, a null byte
        reason = getattr(error, "strerror", None) or error
        raise UnavailableError(f"{name}: must be a folder's path, got {str(path)!r} ({reason})") from error
    return folder


def _address(environ: Mapping[str, str], name: str, kinds: Sequence[str] = ()) -> str | None:
    """An address of one of some kinds, or of any.

    It gets the PostgreSQL driver of the extra ``postgres``: SQLAlchemy's default depends on its version.
    """
    given = environ.get(name)
    if not given:
        return None
    address = re.sub("^postgres(ql)?://", "postgresql+psycopg2://", given)
    kind = "file" if address[0] in "/.~" else re.split(r"[+:]", address)[0]
    about = _UNSUPPORTED.get(kind, "") if kinds else ""
    if not about and not is_sqlite(address) and not _ADDRESS.fullmatch(address):
        raise UnavailableError(
            f"{name}: must be an address such as postgresql://HOST/DATABASE, got {redact(given)}; a password's own @"
            " is written %40"
        )
    if kinds and kind not in kinds:
        raise UnavailableError(
            f"{name}: must be the address of a server or a database ({', '.join(kinds)}), got {redact(address)}{about}"
        )
    return address


def prepare_home(settings: Settings) -> None:
    """Creates the home's folders.

    Raises:
        UnavailableError: A folder cannot be created or written.
    """
    try:
        own = [settings.home / "artifacts"] if settings.artifact_root else []
        for folder in (settings.home, settings.spool, settings.locks, *own):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(settings)
        if not os.access(settings.home, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UnavailableError(
            f"home {settings.home}: must be a folder that can be written, got {error.strerror}: choose another with"
            " --home or MLP_SEARCH_HOME"
        ) from error


def make_private(settings: Settings) -> None:
    """Takes a home's databases and locks from other users: versions before this one let them read some."""
    if not os.access(settings.home, os.W_OK):
        return
    databases = [path for name in DATABASE_FILES for path in settings.home.glob(name + "*")]
    for path in (*databases, *settings.locks.glob("*.lock")):
        with suppress(OSError):  # a file that ends meanwhile, another user's, or a file system that cannot be written
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)


def prepare_sqlite(address: str) -> None:
    """Creates a SQLite file that is private to the user, in WAL mode: readers do not wait for a writer.

    Does nothing for another address.

    Raises:
        sqlite3.Error: The file cannot be opened, or is no database.
    """
    if path := sqlite_file(address):
        with suppress(OSError):  # SQLite's own error, below, is clearer
            path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def make_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Creates a SQLite file with all its tables or not at all; of several processes at once the first one does.

    A process killed before its last table would leave a file that no process can use.

    Args:
        path: Of the file; one that exists stays.
        fill: Creates the tables in an empty file that is private to the user.
    """
    if path.exists():
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix=f"{path.stem}-db-", dir=path.parent)
    except OSError:  # opening the file reports what is wrong with the folder
        return
    with folder as name:
        made = Path(name, path.name)
        made.touch(mode=0o600)
        fill(made)
        try:
            path.hardlink_to(made)
        except FileExistsError:  # another process was faster, and its file may have rows by now
            pass
        except OSError:  # a file system without hard links
            if not path.exists():
                made.rename(path)


def study_slug(study: str) -> str:
    """A file name for a study, for names with any character."""
    return hashlib.sha256(study.encode()).hexdigest()[:16]
