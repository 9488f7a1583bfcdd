"""Wrong study files, data, options and surroundings, each through the command line.

Each is answered with one clear line a problem, exit code 1 or 2, no traceback, and nothing that was half made.
"""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import call, files

DIGITS = '[data]\nsource = "digits"\n'
IRIS = "a,b,target\n" + "1.5,x,yes\n2.5,y,no\n3.5,x,yes\n4.5,y,no\n" * 5

STUDIES = {
    "syntax.toml": "[study\n",
    "typo.toml": DIGITS + "[serach]\n",
    "text.toml": DIGITS + '[study]\ntrials = "many"\n',
    "inverted.toml": DIGITS + "[space]\nwidth = { low = 64, high = 32 }\n",
    "log-zero.toml": DIGITS + "[space]\nlearning_rate = { low = 0, high = 0.1, log = true }\n",
    "empty.toml": DIGITS + "[space]\noptimizer = []\n",
    "optimizer.toml": DIGITS + '[space]\noptimizer = ["adams"]\n',
    "outside.toml": DIGITS + "[space]\nwidth = { low = 8, high = 16 }\n[[start]]\nwidth = 512\n",
    "grid.toml": DIGITS + '[search]\nsampler = "grid"\n[space]\ndropout = { low = 0, high = 0.5 }\n',
    "huge.toml": DIGITS + "[space]\nwidth = 60000\ndepth = 8\n",
    "nan.toml": DIGITS + "[space]\ndropout = nan\n",
    "several.toml": '[data]\nsource = "digits"\nscaling = "max"\n[study]\nseed = -1\ntimeout_s = 0\n',
    "no-source.toml": "[study]\ntrials = 3\n",
    "target.toml": '[data]\nsource = "iris.csv"\ntarget = "species"\n',
}

TEXTS = {
    "iris.csv": IRIS,
    "empty.csv": "",
    "no-rows.csv": "a,target\n",
    "twice.csv": "a,a,target\n1,2,yes\n",
    "one-class.csv": "a,target\n" + "1,yes\n" * 20,
    "rare.csv": IRIS + "9.5,x,perhaps\n",
    "all-missing.csv": "a,target\n" + ",yes\n,no\n" * 10,
    "ragged.csv": "a,target\n1,yes\n1,2,3,no\n",
    "notes.txt": "hello\n",
    "broken.parquet": "not a table\n",
}

# What is typed, the exit code, and what the line has to say; {n} is a free or a taken port.
CASES: dict[str, tuple[str, int, str]] = {
    # the command line itself
    "no such command": ("runn digits", 2, "No such command 'runn'"),
    "no such option": ("run digits --trails 3", 2, "--trails"),
    "nothing to run": ("run", 2, "Missing argument 'STUDY.toml|SOURCE'"),
    "too many words": ("trials digits mnist", 2, "unexpected extra argument"),
    "text for a number": ("run digits --trials many", 2, "'--trials': Input should be a valid integer"),
    "top zero": ("trials digits --top 0", 2, "'--top': Input should be greater than or equal to 1"),
    "a trial by name": ("show digits best", 2, "'NUMBER': Input should be a valid integer"),
    "no such port": ("ui --port 99999", 2, "'--port': Input should be less than or equal to 65535"),
    "a figure of nothing": ("datasets --figure a.png", 2, "need a dataset"),
    # options under the study file's rules
    "no trials": ("run digits --trials 0", 1, "--trials: must be a whole number from 1 to 2147483647, got 0"),
    "no time": ("run digits --timeout -1", 1, "--timeout: must be a number of seconds > 0, got -1"),
    "endless time": ("run digits --timeout inf", 1, "--timeout: must be a number of seconds > 0, got inf"),
    "no workers": ("run digits --workers 0", 1, "--workers: must be a whole number from 1"),
    "negative seed": ("run digits --seed -1", 1, "--seed: must be a whole number from 0 to 4294967295, got -1"),
    "a path for a name": ("run digits --study a/b", 1, "--study: must be 1 to 200 printable characters"),
    "no such pool": ("run digits --pool cloud", 1, "--pool: must be local"),
    "a target for pictures": ("run digits --target label", 1, "data.target: only tables have one, got 'label'"),
    "no width": ("train digits --width 0", 1, "--width: must be a whole number from 1 to 2147483647, got 0"),
    "all dropped": ("train digits --dropout 1", 1, "--dropout: must be a number from 0 to below 1, got 1.0"),
    "an unknown optimizer": ("train digits --optimizer adams", 1, "did you mean adam?"),
    "an unknown schedule": ("train digits --schedule linear", 1, "--schedule: must be one of constant, cosine"),
    "an unknown scaling": ("train digits --scaling log", 1, "--scaling: must be one of minmax, standard, none"),
    "nothing to validate": ("train digits --validation-fraction 0", 1, "--validation-fraction: must be a number"),
    "a network beyond all memory": ("train digits --width 60000 --depth 8", 1, "--width: must keep a network at"),
    "no run to continue": ("train digits --continue 0123", 1, "--continue: must be a run of this home"),
    # study files
    "no such file": ("run absent.toml", 1, "absent.toml: no such file; mlp-search init writes one"),
    "a folder": ("plan folder.toml", 1, "folder.toml: cannot be read: Is a directory"),
    "not text": ("plan binary.toml", 1, "binary.toml: must be UTF-8 text, got byte 0xff at offset 0"),
    "not TOML": ("plan syntax.toml", 1, "syntax.toml, line 1, column 7"),
    "an unknown table": ("plan typo.toml", 1, "serach: unknown key; did you mean search?"),
    "a text for a count": ("run text.toml", 1, 'text.toml, study.trials: must be a whole number'),
    "an inverted range": ("run inverted.toml", 1, "space.width.high: must be >= low = 64, got 32"),
    "log from zero": ("plan log-zero.toml", 1, "learning_rate.low: must be > 0 when log = true, got 0"),
    "an empty choice": ("plan empty.toml", 1, "space.optimizer: must hold at least one value"),
    "a misspelled choice": ("plan optimizer.toml", 1, "did you mean adam?"),
    "a start outside the space": ("plan outside.toml", 1, "start[0].width: must be from 8 to 16, as in the space"),
    "a grid of a continuum": ("run grid.toml", 1, "space.dropout: must be a value, a list or a range with a step"),
    "a study of huge networks": ("plan huge.toml", 1, "space.width: must keep a network at"),
    "no number": ("plan nan.toml", 1, "space.dropout: must be a number from 0 to below 1, got nan"),
    "no data": ("run no-source.toml", 1, "data.source: must be given"),
    "another column in the file": ("run target.toml", 1, "must have the label's column 'species'"),
    # data
    "a misspelled dataset": ("run mnits", 1, "unknown source, got 'mnits' (did you mean 'mnist'?)"),
    "no such data": ("run absent.csv", 1, "data.source: no such file, got 'absent.csv'"),
    "another kind of file": ("run notes.txt", 1, "a file must end in .npz, .csv or .parquet"),
    "no target": ("run iris.csv --target species", 1, "must have the label's column 'species', got a, b, target"),
    "an empty table": ("run empty.csv", 1, "must name its columns in the first line, got an empty file"),
    "a table without rows": ("datasets no-rows.csv", 1, "must hold rows below its column names, got none"),
    "a column twice": ("datasets twice.csv", 1, "column names must differ, got a more than once"),
    "one class": ("run one-class.csv", 1, "one-class.csv"),
    "a class of one row": ("run rare.csv", 1, "perhaps"),
    "an empty column": ("run all-missing.csv", 1, "column 'a': must hold values, got none in any row"),
    "a ragged table": ("run ragged.csv", 1, "ragged.csv: cannot be read as a table"),
    "no parquet": ("run broken.parquet", 1, "broken.parquet: cannot be read as a table"),
    "no archive": ("run broken.npz", 1, "broken.npz"),
    "pickled objects": ("run pickled.npz", 1, "must not hold pickled objects"),
    "arrays by other names": ("run other.npz", 1, "must hold x_train and y_train"),
    "arrays that do not fit": ("run ragged.npz", 1, "x and y must have as many rows, got shapes (20, 2) and (19,)"),
    "infinite inputs": ("datasets infinite.npz", 1, "must hold finite float32 numbers"),
    "one-hot labels": ("datasets onehot.npz", 1, "y must be (n_rows,), got shape (20, 3)"),
    # places
    "a figure of another kind": ("datasets digits --figure a.jpg", 1, "a.jpg: a figure's file must end in .png"),
    "a figure nowhere": ("datasets digits --figure no/where/a.png", 1, "cannot be written (No such file or directory)"),
    "a file that is there": ("init iris.csv", 1, "iris.csv: exists already and is left as it is"),
    "a file nowhere": ("init no/where/study.toml", 1, "no/where/study.toml: cannot be written"),
    "no such study": ("trials digits", 1, "study 'digits': must be one of this home"),
    "no study to show": ("show digits 0", 1, "study 'digits': must be one of this home"),
    "a file for a home": ("run digits --home iris.csv", 1, "iris.csv: must be a folder that can be written"),
    "a home below a file": ("train digits --home iris.csv/home", 1, "must be a folder that can be written"),
    "a home that the system keeps": ("run digits --home /proc/mlp-search", 1, "must be a folder that can be written"),
    "a page of no home": ("ui --home /proc/mlp-search --port {n}", 1, "must be a folder that can be written"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with everything that can be wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in (STUDIES | TEXTS).items():
        (folder / name).write_text(text)
    (folder / "folder.toml").mkdir()
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    x, y = np.zeros((20, 2), np.float32), np.arange(20) % 3
    np.savez(folder / "pickled.npz", x=np.array([[{}]] * 20), y=y)
    np.savez(folder / "other.npz", images=x, labels=y)
    np.savez(folder / "ragged.npz", x=x, y=y[:-1])
    np.savez(folder / "infinite.npz", x=np.where(y[:, None] == 1, np.inf, x), y=y)
    np.savez(folder / "onehot.npz", x=x, y=np.eye(3)[y])
    with zipfile.ZipFile(folder / "broken.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00 cut off")
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which must be left as it was found."""
    for name in ("MLP_SEARCH_HOME", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "MLP_SEARCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    before = files(folder)
    yield folder
    assert files(folder) == before


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_one_line(typed: str, code: int, says: str, n_lines: int = 1) -> None:
    answer = call(*typed.split())
    assert (answer.code, answer.out) == (code, "")
    lines = answer.err.splitlines()
    assert [line for line in lines if not line.startswith("error: ")] == []
    assert len(lines) == n_lines
    assert says in answer.err


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case: str, here: Path) -> None:
    typed, code, says = CASES[case]
    assert_one_line(typed.replace("{n}", str(free_port())), code, says)


def test_every_problem_of_a_file_has_its_line(here: Path) -> None:
    answer = call("run", "several.toml")
    assert answer.code == 1
    places = [line.split(", ")[1].split(":")[0] for line in answer.err.splitlines()]
    assert sorted(places) == ["data.scaling", "study.seed", "study.timeout_s"]


def test_a_port_in_use(here: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_one_line(f"ui --port {port} --home {tmp_path}/home", 1, "must be free to listen on, got Address already")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("typed", ["run digits", "train digits"])
def test_a_tracking_server_that_is_away(
    typed: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert_one_line(f"{typed} --home {tmp_path}/home", 1, f"MLflow at {address}: no answer")
    assert files(tmp_path) == set()


UNREACHABLE = ("postgresql://me:secret@127.0.0.1:1/none", "me:***@127.0.0.1:1/none: ")
NO_ADDRESS = ("nonsense", "Optuna's database nonsense")
NO_FOLDER = ("sqlite:////proc/none.db", "sqlite:////proc/none.db: unable to open")
DATABASES = [(typed, *what) for typed in ("run digits", "studies", "trials a") for what in (UNREACHABLE, NO_ADDRESS)]


@pytest.mark.parametrize(("typed", "address", "says"), [*DATABASES, ("run digits", *NO_FOLDER)])
def test_a_database_that_cannot_be_used(
    typed: str, address: str, says: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", address)
    assert_one_line(f"{typed} --home {tmp_path}/home", 1, says)
    assert files(tmp_path) == set()


def test_a_database_that_is_none(here: Path, tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_text("hello" * 1000)
    assert_one_line(f"trials digits --home {tmp_path}", 1, "file is not a database")
    assert_one_line(f"run digits --home {tmp_path}", 1, "file is not a database")
