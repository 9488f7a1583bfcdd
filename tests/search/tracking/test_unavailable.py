"""The creation of MLflow's database, and databases that cannot be reached or opened."""

from __future__ import annotations

import signal
import sqlite3
import textwrap
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import mlflow
import pytest
from finished import small_spec
from forked import Forked
from tracked import start
from waiting import PATIENCE_S

import search
from pipelines.errors import SpecError, UnavailableError
from search.home.settings import read_settings
from search.tracking.connection import connect, make_database
from search.tracking.runs import Runs
from search.tracking.tracker import Tracker

CUT_OFF = """
    import os, signal, sqlite3, sys
    from pathlib import Path
    import mlflow
    from search.tracking.runs import Runs
    from search.home.settings import read_settings

    def look(statement):
        if "CREATE TABLE logged_models" in statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(look)
        return connection

    connect = sqlite3.connect
    sqlite3.connect = sqlite3.dbapi2.connect = watched
    mlflow.__version__ = sys.argv[2]
    Runs(read_settings(Path(sys.argv[1]), {}), "s", "", None)
"""
VERSIONS = [mlflow.__version__, "0.0"]
"""The installed MLflow, whose tables are written down, and one whose migrations run."""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_process_killed_while_creating_mlflows_database_leaves_nothing_behind(tmp_path: Path, version: str) -> None:
    assert Forked(["-c", textwrap.dedent(CUT_OFF), tmp_path, version]).wait(PATIENCE_S) == -signal.SIGKILL
    later = Runs(read_settings(tmp_path, {}), "s", "", None)
    assert later.is_there(later.open(start("s", 0)))


def content(file: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Tables, indexes and rows of a database, without the times of its rows.

    Lines of a table are sorted: the migrations add some constraints in the order of a set.
    """
    with closing(sqlite3.connect(file)) as database:
        made = database.execute("SELECT name, coalesce(sql, '') FROM sqlite_master").fetchall()
        found = {"": {(name, *sorted(line.strip(" \t,") for line in sql.splitlines())) for name, sql in made}}
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if "time" not in row[1]]
            found[table] = set(database.execute(f"SELECT {', '.join(columns)} FROM {table}"))
    return found


def test_the_tables_that_are_written_down_are_those_of_the_migrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If they are not: ``python scripts/mlflow_tables.py``."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    make_database(address)
    ours = content(tmp_path / "mlflow.db")
    (tmp_path / "mlflow.db").unlink()
    monkeypatch.setattr(mlflow, "__version__", VERSIONS[1])
    make_database(address)
    assert ours == content(tmp_path / "mlflow.db")
    assert len(ours) > 60
    tables = resources.files("search.tracking.connection").joinpath("mlflow.sql").read_text(encoding="utf-8")
    assert tables.startswith(f"-- MLflow {VERSIONS[0]}\n"), "of the version that is installed"


class TestUnavailable:
    def test_tables_of_another_mlflow(self, tmp_path: Path) -> None:
        make_database(f"sqlite:///{tmp_path}/mlflow.db")
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = 'later'")
        with pytest.raises(UnavailableError, match=r"^MLflow at sqlite:.*out-of-date database schema"):
            connect(read_settings(tmp_path, {}))

    def test_a_failed_connection_is_raised_in_the_waiting_thread(self, tmp_path: Path) -> None:
        settings = read_settings(tmp_path, {"MLFLOW_TRACKING_URI": "http://me:s3cret@127.0.0.1:1"})
        tracker = Tracker(lambda: Runs(settings, "s", "", None), lambda line: None)
        with pytest.raises(UnavailableError) as caught:
            tracker.wait_connected()
        assert "s3cret" not in str(caught.value)
        assert "no answer" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert tracker.close() == 0

    def test_a_database_that_cannot_be_opened(self, tmp_path: Path) -> None:
        settings = read_settings(tmp_path / "none", {})
        with pytest.raises(UnavailableError, match=r"^MLflow at sqlite:.*unable to open"):
            Runs(settings, "s", "", None)


def test_only_a_file_that_is_locked_is_opened_again():
    """Whatever else is wrong is reported at once."""
    errors = [UnavailableError("database is locked"), SpecError("study.name: must be free")]

    def fails() -> Any:
        raise errors.pop(0)

    tracker = Tracker(fails, patience_s=PATIENCE_S)
    with pytest.raises(SpecError):
        tracker.wait_connected()


def test_a_database_that_two_homes_use_keeps_their_studies_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    spec = small_spec("apart", trials=1, width=4, epochs=1)
    first = search.run_study(spec, home=tmp_path / "first")
    with pytest.raises(SpecError, match=r"must be no experiment of MLflow at .* runs that this home does not know"):
        search.run_study(spec, home=tmp_path / "second")
    assert "apart" not in [study.name for study in search.studies(home=tmp_path / "second")]
    again = search.run_study(search.resumed_spec("apart", home=tmp_path / "first"), home=tmp_path / "first")
    assert [row.run_id for row in again.rows] == [row.run_id for row in first.rows]
