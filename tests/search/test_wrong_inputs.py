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
LONG = "a" * 10_000
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
    "vast.toml": DIGITS + "[space]\nwidth = { low = 8, high = 45000 }\ndepth = 2\n[workers]\nslots = 1000\n",
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
    "columns.csv": ",".join(f"c{n}" for n in range(5000)) + "\n" + "1," * 4999 + "1\n",
    "gaps.csv": ",".join(f"c{n}" for n in range(300)) + ",target\n" + ("," * 300 + "1\n" + "," * 300 + "2\n") * 5,
    "essay.csv": "a,target\n" + "".join(f"{n},{'x' * 20_000}{n}\n" for n in range(4)),
    "semicolons.csv": "a;target\n1;yes\n",
    "quote.csv": 'a,target\n"1,yes\n2,no\n',
    "lines.csv": 'a,"b\nc"\n1,2\n',
    "fractions.csv": "a,target\n" + "1,0.5\n2,0.7\n" * 5,
    "unlabelled.csv": IRIS + "1.5,x,\n",
    "hidden.csv": "a,\x1b[2Jb\n1,2\n",
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
    "a negative shape": ("run negative.npz", 1, "negative.npz: must be an .npz archive that is whole, got ValueError"),
    "a header that is no literal": ("run header.npz", 1, "header.npz: must be an .npz archive that is whole, got"),
    "a bomb": ("run bomb.npz", 1, "rows and one copy of them must fit in memory, got 8000000002.0 GB where"),
    "labels by the thousand columns": ("run columns.csv", 1, "got c0, c1, c2, c3, c4 and 4995 more: name one of them"),
    "labels of 20,000 characters": ("run essay.csv", 1, " … "),
    "another separator": ("run semicolons.csv", 1, "must have the label's column 'target' (did you mean 'a;target'?)"),
    "a quote that nobody closes": ("run quote.csv", 1, "cannot be read as a table (Error tokenizing data."),
    "a column name of two lines": ("run lines.csv", 1, "label's column 'target', got a, b c: name one of them"),
    "a quantity for a label": ("run fractions.csv", 1, "labels must be whole numbers or text, got 0.5 (10 such rows)"),
    "a row without a label": ("run unlabelled.csv", 1, "every row must have a label, got 1 empty, NA or None"),
    "a column that clears the screen": ("run hidden.csv", 1, "got a, [2Jb: name one of them"),
    "a table in UTF-16": ("run utf16.csv", 1, "utf16.csv: must be UTF-8 text, got byte 0xff"),
    "a compressed table": ("run gzip.csv", 1, "gzip.csv: must be UTF-8 text, got byte 0x8b"),
    "a path that is too long": (f"run {LONG}.csv --study a", 1, "(File name too long)"),
    "a path of nobody": ("datasets ~nobody9/a.csv", 1, "must be the path of a file, got '~nobody9/a.csv'"),
    "a study file that is too long": (f"plan {LONG}.toml", 1, "cannot be read: File name too long"),
    # networks
    "a study beyond this memory": ("run vast.toml", 1, "about 64,909.4 GB for 1000 slots where"),
    "a forecast beyond this memory": ("plan vast.toml", 1, "got 2,028,420,010 weights with width 45000 and depth 2"),
    # places
    "a home of nobody": ("run digits --home ~nobody9/a", 1, "home: must be a folder's path, got '~nobody9/a'"),
    "a home that is too long": (f"studies --home {LONG}", 1, "(File name too long)"),
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
    (folder / "utf16.csv").write_text("ä,target\n1,2\n", encoding="utf-16")
    (folder / "gzip.csv").write_bytes(b"\x1f\x8b\x08 and so on")
    save_header(folder / "negative.npz", "{'descr': '<f4', 'fortran_order': False, 'shape': (-20, 2), }")
    save_header(folder / "header.npz", "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 2")
    save_header(folder / "bomb.npz", f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(10**9, 10**9)}, }}")
    return folder


def save_header(path: Path, header: str) -> None:
    """An archive whose arrays promise what ``header`` says, and hold nothing."""
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        labels = text.replace(b"<f4", b"|u1").replace(b", 1000000000)", b",)")
        archive.writestr("y.npy", b"\x93NUMPY\x01\x00" + len(labels).to_bytes(2, "little") + labels)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which must be left as it was found."""
    for name in ("MLP_SEARCH_HOME", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "MLP_SEARCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what is said of memory is said of cores
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


def test_many_problems_are_cut_short(here: Path) -> None:
    lines = call("run", "gaps.csv").err.splitlines()
    assert len(lines) == 21
    assert lines[0] == "error: gaps.csv, column 'c0': must hold values, got none in any row: drop it"
    assert lines[-1] == "error: 280 more problems: mend these first"


def test_no_line_is_longer_than_a_screen(here: Path) -> None:
    for typed in (f"run {LONG}.csv", "run essay.csv", f"trials {LONG}", f"predict {LONG} rows.csv"):
        [line] = call(*typed.split()).err.splitlines()
        assert len(line) < 1010


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
@pytest.mark.parametrize("command", ["trials", "finalists", "evaluate", "promote", "rollback"])
def test_a_name_that_there_is_not(command: str, name: str, here: Path) -> None:
    answer = call(command, HOSTILE[name])
    assert (answer.code, answer.out) == (1, "")
    [line] = answer.err.splitlines()
    assert line.isprintable()
    assert line.startswith(("error: study ", "error: model ", "error: home "))


@pytest.mark.parametrize("name", ["a newline", "an escape", "right to left", "a folder", "too long"])
def test_a_name_that_no_study_may_have(name: str, here: Path) -> None:
    [line] = call("run", "digits", "--study", HOSTILE[name]).err.splitlines()
    assert line.isprintable()
    assert line.startswith("error: --study: must be 1 to 200 printable characters")


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
NO_ADDRESS = ("nonsense", "OPTUNA_STORAGE: must be an address such as postgresql://HOST/DATABASE, got nonsense;")
NO_FOLDER = ("sqlite:////proc/none.db", "sqlite:////proc/none.db: unable to open")
DATABASES = [(typed, *what) for typed in ("run digits", "studies", "trials a") for what in (UNREACHABLE, NO_ADDRESS)]


@pytest.mark.parametrize(("typed", "address", "says"), [*DATABASES, ("run digits", *NO_FOLDER)])
def test_a_database_that_cannot_be_used(
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
    "models on a server away": ("MLFLOW_REGISTRY_URI", "http://me:secret@127.0.0.1:1", "correct MLFLOW_REGISTRY_URI"),
    "models in a folder": ("MLFLOW_REGISTRY_URI", "ftp://x", "MLFLOW_REGISTRY_URI: must be the address of a server"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_a_variable_that_cannot_be_used(case: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value, says = PLACES[case]
    monkeypatch.setenv(name, value)
    home = "" if name == "MLP_SEARCH_HOME" else f" --home {tmp_path}/home"
    assert_one_line(f"run digits{home}", 1, says)
    assert "secret" not in call(*f"run digits{home}".split()).err
    assert files(tmp_path) == set()


def test_a_database_that_is_none(here: Path, tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_text("hello" * 1000)
    assert_one_line(f"trials digits --home {tmp_path}", 1, "file is not a database")
    assert_one_line(f"run digits --home {tmp_path}", 1, "file is not a database")
