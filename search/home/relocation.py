"""Lets artifacts follow a home that was moved or copied: MLflow's database holds their absolute addresses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipelines.errors import UnavailableError
from search.home.addresses import sqlite_file
from search.home.locks import is_any_held
from search.home.settings import Settings

MARKER = "mlp-search.home"
"""Tag of MLflow's first experiment: the home's path when its artifacts' addresses were last corrected."""
_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
    "trace_tags": ("value",),
}
"""Columns of MLflow's tables that hold addresses of artifacts."""
_ROOTS = """
    SELECT experiments.artifact_location, runs.run_uuid FROM experiments LEFT JOIN runs USING (experiment_id)
    WHERE experiments.artifact_location LIKE '%/artifacts' AND experiments.experiment_id IN (
        SELECT experiment_id FROM experiment_tags WHERE key = 'mlflow.sharedViewState.trials'
        UNION SELECT experiment_id FROM runs JOIN tags USING (run_uuid) WHERE tags.key = 'study'
    )
"""
"""Locations of this package's experiments, each with its runs."""


def follow_home(settings: Settings) -> None:
    """Corrects the addresses of artifacts where the home's path is not the recorded one.

    Only SQLite databases in the home are corrected, each in one transaction.

    Raises:
        UnavailableError: The home was moved, and its database cannot be written, or another process uses the home under
            its earlier path.
    """
    for address in {settings.tracking_uri, settings.registry_uri}:
        file = sqlite_file(address)
        if settings.artifact_root and file and file.is_file() and _is_same(file.parent, settings.home):
            correct_addresses(file, settings)


def correct_addresses(file: Path, settings: Settings) -> None:
    """Corrects one of MLflow's SQLite databases; see ``follow_home``."""
    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as database:
        try:
            if not _has_tables(database) or _recorded(database) == str(settings.home):
                return
            try:
                database.execute("BEGIN IMMEDIATE")  # a second process waits here, and finds the new path afterwards
            except sqlite3.OperationalError:
                if _former_roots(database, settings):
                    raise
                return  # it can only be read, and nothing is to be corrected
            if _recorded(database) != str(settings.home):
                _correct(database, settings)
            database.execute("COMMIT")
        except sqlite3.Error as error:
            is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            raise UnavailableError(
                f"home {settings.home}: was moved, so that the addresses of its artifacts must be corrected in"
                f" {file.name}, but {error}: {'wait for the program that uses it' if is_busy else 'make it writable'}"
            ) from error


def _has_tables(database: sqlite3.Connection) -> bool:
    """Whether MLflow has made its tables, and the experiment that takes the marker."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    needed = {"experiments", "experiment_tags", "runs", "tags"}
    return needed <= tables and database.execute("SELECT 1 FROM experiments").fetchone() is not None


def _recorded(database: sqlite3.Connection) -> str | None:
    row = database.execute("SELECT value FROM experiment_tags WHERE key = ?", [MARKER]).fetchone()
    return str(row[0]) if row else None


def _correct(database: sqlite3.Connection, settings: Settings) -> None:
    former, new = _former_roots(database, settings), settings.artifact_root
    homes = [_folder(root).parent for root in former]
    if former and not any(_is_same(home, settings.home) for home in homes) and is_any_held(settings, "*.lock"):
        raise UnavailableError(
            f"home {settings.home}: is in use by another process as {homes[0]}: wait for it, or use that path"
        )
    for old in former:
        for table, columns in _COLUMNS.items():
            existing = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            for column in existing.intersection(columns):
                database.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"  # noqa: S608
                    f" WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                    {"old": old, "new": new},
                )
    written = database.execute("UPDATE experiment_tags SET value = ? WHERE key = ?", [str(settings.home), MARKER])
    if not written.rowcount:
        database.execute(
            "INSERT INTO experiment_tags (key, value, experiment_id) SELECT ?, ?, min(experiment_id) FROM experiments",
            [MARKER, str(settings.home)],
        )


def _former_roots(database: sqlite3.Connection, settings: Settings) -> list[str]:
    """The locations of artifacts that were this home's: the recorded one, and those whose runs lie in this home.

    A home of an earlier version has no record. There one location that exists no more is enough, since a study that was
    moved before its first result has no files.
    """
    recorded, here = _recorded(database), settings.home / "artifacts"
    roots = [(Path(recorded) / "artifacts").as_uri(), str(Path(recorded) / "artifacts")] if recorded else []
    runs: dict[str, list[str]] = {}
    for root, run_id in database.execute(_ROOTS):
        if root.startswith(("file:", "/")):  # others are a server's
            runs.setdefault(root, []).append(run_id or "")
    for root, run_ids in runs.items():
        is_lost = not recorded and len(runs) == 1 and not _folder(root).exists()
        if is_lost or any(run_id and (here / run_id).is_dir() for run_id in run_ids):
            roots.append(root)
    return [root for root in dict.fromkeys(roots) if root != settings.artifact_root]


def _folder(root: str) -> Path:
    return Path(url2pathname(urlsplit(root).path) if root.startswith("file:") else root)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one folder, perhaps by a link."""
    try:
        return one.samefile(other)
    except OSError:
        return False
