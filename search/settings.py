"""Where things are kept: the only reader of the environment."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Settings:
    """The places a command works on.

    Attributes:
        home: Folder of the embedded databases, the artifacts and the spool.
        optuna_storage: SQLAlchemy address of Optuna's database.
        tracking_uri: MLflow's tracking server or database.
        registry_uri: MLflow's model registry.
        artifact_root: Where a new experiment puts its artifacts; None leaves it to the tracking server.
        data_folders: Folders of ``NAME.npz``, in the order they are looked through.
        ray_address: Where the Ray cluster is, for ``--pool ray``.
        visible_devices: The GPUs that the user left visible to CUDA; None means all.
        lane: From 0; tells several searching processes of one study on one home apart, each of which has a spool.
    """

    home: Path
    optuna_storage: str
    tracking_uri: str
    registry_uri: str
    artifact_root: str | None
    data_folders: tuple[Path, ...]
    ray_address: str | None = None
    visible_devices: str | None = None
    lane: int = 0

    @property
    def spool(self) -> Path:
        """Results that MLflow has not taken yet."""
        return self.home / (f"spool-{self.lane}" if self.lane else "spool")

    @property
    def locks(self) -> Path:
        """One lock file a study that is being searched."""
        return self.home / "locks"

    @property
    def is_shared(self) -> bool:
        """Whether several searching processes may work on one study."""
        return not self.optuna_storage.startswith("sqlite")

    @property
    def is_tracked_elsewhere(self) -> bool:
        """Whether MLflow is a server or a database server, which may be away, and not a file."""
        return not self.tracking_uri.startswith("sqlite")


def read_settings(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the environment.

    Args:
        home: What ``--home`` gave; it wins over ``MLP_SEARCH_HOME``.
        environ: The variables; section "Where things are kept" of the reference lists them.
    """
    home = (home or Path(environ.get("MLP_SEARCH_HOME") or "mlruns")).expanduser().absolute()
    tracking_uri = _with_driver(environ.get("MLFLOW_TRACKING_URI")) or f"sqlite:///{home / 'mlflow.db'}"
    data = environ.get("MLP_SEARCH_DATA")
    return Settings(
        home=home,
        optuna_storage=_with_driver(environ.get("OPTUNA_STORAGE")) or f"sqlite:///{home / 'optuna.db'}",
        tracking_uri=tracking_uri,
        registry_uri=_with_driver(environ.get("MLFLOW_REGISTRY_URI")) or tracking_uri,
        artifact_root=None if tracking_uri.startswith("http") else (home / "artifacts").as_uri(),
        data_folders=(*([Path(data).expanduser()] if data else []), home / "datasets"),
        ray_address=environ.get("RAY_ADDRESS"),
        visible_devices=environ.get("CUDA_VISIBLE_DEVICES"),
    )


def _with_driver(address: str | None) -> str | None:
    """Names the driver that the extra ``postgres`` brings: which one SQLAlchemy takes by itself depends on its age."""
    for scheme in ("postgresql://", "postgres://"):
        if address and address.startswith(scheme):
            return "postgresql+psycopg2://" + address.removeprefix(scheme)
    return address


def prepare_home(settings: Settings) -> None:
    """Makes the home's folders.

    Raises:
        UnavailableError: The folder cannot be made or written.
    """
    try:
        for folder in (settings.home, settings.spool, settings.locks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(settings.home, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UnavailableError(
            f"home {settings.home}: must be a folder that can be written, got {error.strerror}: choose another with"
            " --home or MLP_SEARCH_HOME"
        ) from error


def prepare_sqlite(address: str) -> None:
    """Lets readers of a SQLite file not wait for its writer (WAL); does nothing for another database.

    Raises:
        sqlite3.Error: The file cannot be opened, or is no database.
    """
    if address.startswith("sqlite:///"):
        with sqlite3.connect(address.removeprefix("sqlite:///"), timeout=60) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
