"""Unknown names, ports in use, unreachable servers, unusable databases and variables.

Each is answered with one clear line a problem, without a traceback, and leaves no files.
"""

from __future__ import annotations

import socket
from pathlib import Path

import optuna
import pytest
from command_line import call, files, spawn
from ports import free_port
from wrong_files import LONG, assert_one_line

from pipelines.errors import NotFoundError
from search.home.settings import read_settings
from search.home.text import report_problems
from search.optimization.studies import load_study

HOSTILE = {
    "SQL": "'; DROP TABLE studies; --",
    "HTML": "<script>alert(1)</script>",
    "markup": "[red]a[/red]",
    "a quote": 'it\'s "so"',
    "a newline": "a\nb",
    "an escape": "\x1b[2J\x1b]0;title\x07",
    "right to left": "\u202egnp.exe",
    "a folder": "../../etc/passwd",
    "a format": "%s%n{0}{{7*7}}",
    "too long": LONG,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_unknown_name_is_answered_on_one_printable_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotFoundError) as caught:
        load_study(read_settings(tmp_path / "home"), HOSTILE[name])
    report_problems([str(caught.value)])
    [line] = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert line.startswith("error: study ")


@pytest.mark.parametrize("command", ["trials", "rollback"])
def test_an_unknown_name_through_the_command_line(command: str, here: Path) -> None:
    answer = call(command, HOSTILE["an escape"])
    assert (answer.code, answer.out) == (1, "")
    [line] = answer.err.splitlines()
    assert line.isprintable()
    assert line.startswith(("error: study ", "error: model ", "error: home "))


def test_a_name_that_no_study_may_have(here: Path) -> None:
    [line] = call("run", "digits", "--study", HOSTILE["right to left"]).err.splitlines()
    assert line.isprintable()
    assert line.startswith("error: --study: must be 1 to 200 printable characters")


def test_a_port_in_use(here: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_one_line(f"ui --port {port} --home {tmp_path}/home", 1, "must be free to listen on, got Address already")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("typed", ["run digits --folds 1", "train digits"])
def test_an_unreachable_tracking_server(
    typed: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert_one_line(f"{typed} --home {tmp_path}/home", 1, f"MLflow at {address}: no answer")
    assert files(tmp_path) == set()


def test_a_database_that_accepts_and_never_answers(here: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        answer = spawn("studies", "--home", tmp_path / "home", cwd=here, OPTUNA_STORAGE=address, PGCONNECT_TIMEOUT="2")
    assert answer.code == 1
    assert "timeout expired" in answer.err
    assert answer.err.count("\n") == 1


UNREACHABLE = ("postgresql://me:secret@127.0.0.1:1/none", "me:***@127.0.0.1:1/none: ")


NO_ADDRESS = ("nonsense", "OPTUNA_STORAGE: must be an address such as postgresql://HOST/DATABASE, got nonsense;")


NO_FOLDER = ("sqlite:////proc/none.db", "sqlite:////proc/none.db: unable to open")


DATABASES = [
    (typed, *what) for typed in ("run digits --folds 1", "studies", "trials a") for what in (UNREACHABLE, NO_ADDRESS)
]


@pytest.mark.parametrize(("typed", "address", "says"), [*DATABASES, ("run digits --folds 1", *NO_FOLDER)])
def test_an_unusable_database(
    typed: str, address: str, says: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", address)
    assert_one_line(f"{typed} --home {tmp_path}/home", 1, says)
    assert files(tmp_path) == set()


PLACES = {
    "a home of nobody": ("MLP_SEARCH_HOME", "~nobody9/a", "home: must be a folder's path, got '~nobody9/a'"),
    "data of nobody": ("MLP_SEARCH_DATA", "~nobody9/a", "MLP_SEARCH_DATA: must be a folder's path"),
    "a path of 10,000": ("MLP_SEARCH_DATA", LONG, "(File name too long)"),
    "two @": ("OPTUNA_STORAGE", "postgresql://me:a@b@host/x", "got postgresql://me:***@host/x; a password's own @"),
    "a bracket": ("OPTUNA_STORAGE", "postgresql://me:secret@[bad/x", "OPTUNA_STORAGE: must be an address such as"),
    "an escape": ("OPTUNA_STORAGE", "\x1b[31m", "OPTUNA_STORAGE: must be an address such as"),
    "no number for a port": ("OPTUNA_STORAGE", "postgresql://me:secret@host:port/x", "me:***@host:port/x: invalid"),
    "a driver that is not there": ("OPTUNA_STORAGE", "mysql://me:secret@host/x", "mysql://me:***@host/x: "),
    "a word": ("MLFLOW_TRACKING_URI", "nonsense", "MLFLOW_TRACKING_URI: must be an address such as"),
    "a folder for runs": ("MLFLOW_TRACKING_URI", "file:///tmp/x", "must be the address of a server or a database"),
    "an address that is cut off": ("MLFLOW_TRACKING_URI", "http://[bad", "MLFLOW_TRACKING_URI: must be an address"),
    "runs on a database away": ("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:1/x", "me:***@127.0.0.1:1/x"),
    "runs in no folder": ("MLFLOW_TRACKING_URI", "sqlite:////nosuch/x.db", "got /nosuch: create it, or correct"),
    "models on a server away": ("MLFLOW_REGISTRY_URI", "http://me:secret@127.0.0.1:1", "correct MLFLOW_REGISTRY_URI"),
    "models in a folder": ("MLFLOW_REGISTRY_URI", "ftp://x", "MLFLOW_REGISTRY_URI: must be the address of a server"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_an_unusable_variable(case: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value, says = PLACES[case]
    monkeypatch.setenv(name, value)
    home = "" if name == "MLP_SEARCH_HOME" else f" --home {tmp_path}/home"
    assert_one_line(f"run digits --folds 1{home}", 1, says)
    assert "secret" not in call(*f"run digits{home}".split()).err
    assert files(tmp_path) == set()


def test_a_file_that_is_not_a_database(here: Path, tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_text("hello" * 1000)
    assert_one_line(f"trials digits --home {tmp_path}", 1, "file is not a database")
    assert_one_line(f"run digits --folds 1 --home {tmp_path}", 1, "file is not a database")


@pytest.mark.parametrize("typed", ["run digits --folds 1 --study", "report", "finalists", "evaluate", "promote"])
def test_a_study_of_another_program_is_left_unchanged(typed: str, here: Path, tmp_path: Path) -> None:
    theirs = optuna.create_study(storage=f"sqlite:///{tmp_path}/optuna.db", study_name="theirs")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    theirs = optuna.load_study(study_name="theirs", storage=theirs._storage)
    assert_one_line(f"{typed} theirs --home {tmp_path}", 1, "study 'theirs': must be one that mlp-search made")
    assert (theirs.user_attrs, len(theirs.trials)) == ({}, 2)
