"""The creation of MLflow's database, and databases that cannot be reached or opened."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forked
from tracked import start
from waiting import PATIENCE_S

from pipelines.errors import UnavailableError
from search.home.settings import read_settings
from search.tracking import runs
from search.tracking.runs import Runs
from search.tracking.tracker import Tracker

CUT_OFF = """
    import os, signal, sys
    from pathlib import Path
    import sqlalchemy as sa
    from search.tracking.runs import Runs
    from search.home.settings import read_settings

    @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
    def look(connection, cursor, statement, *rest):
        if "CREATE TABLE logged_models" in statement:
            os.kill(os.getpid(), signal.SIGKILL)

    Runs(read_settings(Path(sys.argv[1]), {}), "s", "", None)
"""


def test_a_process_killed_while_creating_mlflows_database_leaves_nothing_behind(
    tmp_path: Path, migrate_mlflow: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "make_database", migrate_mlflow)
    assert Forked(["-c", textwrap.dedent(CUT_OFF), tmp_path]).wait(PATIENCE_S) == -signal.SIGKILL
    later = Runs(read_settings(tmp_path, {}), "s", "", None)
    assert later.is_there(later.open(start("s", 0)))


class TestUnavailable:
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
