"""With a password in each address, no output, file or database of a study contains it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
import sqlalchemy as sa
from command_line import call, files
from mlflow import MlflowClient
from ports import free_port
from waiting import PATIENCE_S, wait_for

from search.home.settings import read_settings
from search.tracking.entries import RunStart
from search.tracking.runs import Runs
from search.tracking.tracker import Tracker

SECRET = "Tr0ub4dor-and-3"
STUDY = """\
[study]
name = "secrets"
trials = 2
[data]
source = "digits"
folds = 1
[space]
width = [8, 16]
depth = 1
epochs = 2
[workers]
slots = 1
"""

BUG = """
import os, search.cli.app, search.reporting.summaries

def broken(home):
    raise OSError(os.environ["OPTUNA_STORAGE"], os.environ["MLFLOW_TRACKING_URI"])

search.reporting.summaries.studies = broken
search.cli.app.main(["studies"])
"""


@pytest.fixture
def database(postgres: Callable[[str], str]) -> str:
    """A database on PostgreSQL whose address has a password in it."""
    address = sa.make_url(postgres("secrets"))
    engine = sa.create_engine(address.set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{SECRET}'"))
    engine.dispose()
    return address.set(username="keeper", password=SECRET).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(server_home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real tracking server, by an address with a password in it, and its process; the last test ends it."""
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if name not in ("OPTUNA_STORAGE",)}
    command = [sys.executable, "-m", "search", "ui", "--port", str(port), "--home", str(server_home)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    assert b"http://127.0.0.1:" in process.stdout.readline()  # it answers by then
    yield f"http://keeper:{SECRET}@127.0.0.1:{port}", process
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_S)


def told(*arguments: str | Path, code: int) -> str:
    answer = call(*arguments)
    assert answer.code == code, answer.err
    return answer.out + answer.err


def commands(home: Path, data: Path) -> Iterator[str]:
    """The output of the commands while everything works."""
    for words in (
        ["run", data / "study.toml"], ["run", data / "study.toml", "--json"], ["studies"], ["trials", "secrets"],
        ["show", "secrets", "0"], ["finalists", "secrets", "--top", "1", "--seeds", "1"], ["evaluate", "secrets"],
        ["promote", "secrets", "--force", "a test"], ["models"], ["predict", "secrets", data / "rows.npz"],
        ["report", "secrets", "--output", data / "report.html"],
    ):  # fmt: skip
        yield told(*words, "--home", home, code=0)
    plant_ghost()
    (home / "spool" / "junk").touch()
    yield told("doctor", "--home", home, code=3)
    yield told("doctor", "--repair", "--home", home, code=0)
    yield told("rollback", "secrets", "--home", home, code=1)
    yield told("migrate", "--home", home, code=1)
    yield told("ui", "--home", home, code=1)  # names the server's address
    yield told("predict", "nobody", data / "rows.npz", "--home", home, code=1)


def plant_ghost() -> None:
    """A finished trial whose run says RUNNING, and which ended an hour ago."""
    engine = sa.create_engine(os.environ["OPTUNA_STORAGE"].replace("postgresql", "postgresql+psycopg2", 1))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE trials SET datetime_complete = datetime_complete - interval '1 hour'"))
    engine.dispose()
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    [run, *_] = client.search_runs([client.get_experiment_by_name("secrets").experiment_id], "tags.trial = '0'")
    client.update_run(run.info.run_id, "RUNNING")


def failures(home: Path, data: Path) -> Iterator[str]:
    """The output of the commands after the server has ended."""
    for words in (
        ["run", data / "study.toml", "--trials", "3"], ["evaluate", "secrets", "--again"], ["promote", "secrets"],
        ["models"], ["rollback", "secrets"], ["predict", "secrets", data / "rows.npz"], ["train", "digits"], ["doctor"],
        ["finalists", "secrets"],
    ):  # fmt: skip
        yield told(*words, "--home", home, code=1)
    yield told("report", "secrets", "--output", data / "curves.html", "--home", home, code=0)


def test_the_page_listens_on_this_machine_alone_and_runs_nothing(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, process = server
    children = psutil.Process(process.pid).children(recursive=True)
    heard = [c.laddr.ip for child in children for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert set(heard) == {"127.0.0.1"}
    for child in children:
        environ = child.environ()
        assert environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        assert environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
        assert not any(word.startswith(("sqlite", "postgresql")) for word in child.cmdline())
    assert requests.get(address, timeout=PATIENCE_S).ok
    assert requests.get(address, headers={"Host": "evil.example"}, timeout=PATIENCE_S).status_code == 403


def test_a_password_is_nowhere(
    database: str, server: tuple[str, subprocess.Popen[bytes]], server_home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    home, data = tmp_path / "home", tmp_path / "data"
    data.mkdir()
    (data / "study.toml").write_text(STUDY)
    np.savez(data / "rows.npz", x=np.zeros((2, 8, 8)))
    address, process = server
    monkeypatch.setenv("OPTUNA_STORAGE", database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    said = list(commands(home, data))
    runs = Runs(read_settings(home), "secrets", "", None)
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE_S)
    said += [*failures(home, data), went_away(runs)]
    monkeypatch.setenv("OPTUNA_STORAGE", f"postgresql://keeper:{SECRET}@127.0.0.1:1/away")
    for words in (["studies"], ["run", "digits"], ["report", "secrets"], ["doctor"]):
        said.append(told(*words, "--home", home, code=1))
    said.append(crashed())

    assert any("***" in text for text in said)
    assert [text for text in said if SECRET in text] == []
    assert SECRET not in caplog.text
    assert len(caplog.text) > 1000
    for folder in (tmp_path, server_home):
        assert [name for name in files(folder) if SECRET in name or holds(folder / name)] == []
    assert SECRET not in rows_of(database)


def went_away(runs: Runs) -> str:
    """The tracker's note on a server that ended while it was in use."""
    notes: list[str] = []
    tracker = Tracker(lambda: runs, notes.append)
    tracker.open(RunStart("secrets", "trial-0009", 0, {}, {}))
    wait_for(lambda: notes, "the tracker's note")
    tracker.close(0.1)
    assert notes[0].startswith("MLflow does not answer")
    return "\n".join(notes)


def crashed() -> str:
    """The output of a process that ends with a bug whose error quotes the addresses."""
    done = subprocess.run([sys.executable, "-c", BUG], capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert "OSError" in done.stderr
    return done.stdout + done.stderr


def holds(path: Path) -> bool:
    return path.is_file() and SECRET.encode() in path.read_bytes()


def rows_of(address: str) -> str:
    """Everything that the study's database holds, as text."""
    engine = sa.create_engine(address.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        tables = sa.inspect(engine).get_table_names()
        found = [str(connection.execute(sa.text(f'SELECT * FROM "{table}"')).all()) for table in tables]
    engine.dispose()
    assert "secrets" in "".join(found)
    return "".join(found)
