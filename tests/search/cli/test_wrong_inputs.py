"""Wrong study files, data and options, each through the command line.

Each is answered with one clear line a problem and exit code 1 or 2, without a traceback, and leaves no files.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from ports import free_port
from wrong_files import LONG, assert_one_line

# The command, the exit code, and a part of the line; {n} is a free port.
CASES: dict[str, tuple[str, int, str]] = {
    # the command line itself
    "no such command": ("runn digits", 2, "runn: there is no such command; did you mean run?"),
    "the begin of two commands": ("trai", 2, "trai: there is no such command; did you mean train?\n"),
    "no such option": ("run digits --trails 3", 2, "--trails"),
    "nothing to run": ("run", 2, "STUDY.toml|SOURCE|STUDY: must be given"),
    "too many words": ("trials digits mnist", 2, "mnist: unexpected argument; the command takes no more"),
    "text for a number": ("run digits --trials many", 2, "--trials: must be a whole number, got 'many'"),
    "top zero": ("trials digits --top 0", 2, "--top: must be at least 1, got 0"),
    "a trial by name": ("show digits best", 2, "NUMBER: must be a whole number, got 'best'"),
    "no such port": ("ui --port 99999", 2, "--port: must be at most 65535, got 99999"),
    "a figure of nothing": ("datasets --figure a.png", 2, "need a dataset"),
    # options under the rules of the study file: each is named as the user typed it
    "no trials": ("run digits --trials 0", 1, "--trials: must be a whole number from 1 to 2147483647, got 0"),
    "no time": ("run digits --timeout -1", 1, "--timeout: must be a number of seconds > 0, got -1"),
    "no workers": ("run digits --workers 0", 1, "--workers: must be a whole number from 1"),
    "a precision of nobody": ("run digits --precision half", 1, "--precision: must be one of auto, float32, bfloat16"),
    "another precision of nobody": ("train digits --precision bf16", 1, "; did you mean bfloat16?"),
    "negative seed": ("run digits --seed -1", 1, "--seed: must be a whole number from 0 to 4294967295, got -1"),
    "a path for a name": ("run digits --study a/b", 1, "--study: must be 1 to 200 printable characters"),
    "no such pool": ("run digits --pool cloud", 1, "--pool: must be local"),
    "a target for pictures": ("run digits --target label", 1, "--target: only tables have one, got 'label'"),
    "no width": ("train digits --width 0", 1, "--width: must be a whole number from 1 to 2147483647, got 0"),
    "all dropped": ("train digits --dropout 1", 1, "--dropout: must be a number from 0 to below 1, got 1.0"),
    "an unknown optimizer": ("train digits --optimizer adams", 1, "did you mean adam?"),
    "an unknown schedule": ("train digits --schedule linear", 1, "--schedule: must be one of constant, cosine"),
    "an unknown scaling": ("train digits --scaling log", 1, "--scaling: must be one of auto, minmax, standard, r"),
    "nothing to validate": ("train digits --validation-fraction 0", 1, "--validation-fraction: must be a number"),
    "a network beyond all memory": ("train digits --width 60000 --depth 8", 1, "--width: must keep a network at"),
    "no run to continue": ("train digits --continue 0123", 1, "--continue: must be a run of this home"),
    # study files: test_spec_errors has every rule
    "no such file": ("run absent.toml", 1, "absent.toml: no such file; mlp-search init writes one"),
    "a folder": ("plan folder.toml", 1, "folder.toml: cannot be read: Is a directory"),
    "not text": ("plan binary.toml", 1, "binary.toml: must be UTF-8 text, got byte 0xff at offset 0"),
    "not TOML": ("plan syntax.toml", 1, "syntax.toml, line 1, column 7"),
    "an unknown table": ("plan typo.toml", 1, "serach: unknown key; did you mean search?"),
    "another column in the file": ("run target.toml", 1, "must have the label's column 'species'"),
    # data
    "a misspelled dataset": ("run mnits", 1, "unknown source, got 'mnits' (did you mean 'mnist'?)"),
    "a study that is not there": ("run absent-study", 1, "error: data.source: unknown source, got 'absent-study'"),
    "a misspelled dataset to describe": ("datasets mnits", 1, "error: data.source: unknown source, got 'mnits'"),
    "an objective of numbers for classes": ("run digits --objective val_rmse", 1, "the task of objectives such as val"),
    "no such data": ("run absent.csv", 1, "data.source: no such file, got 'absent.csv'"),
    "another kind of file": ("run notes.txt", 1, "a file must end in .npz, .csv, .csv.gz, .tsv"),
    "no target": ("run iris.csv --target species", 1, "must have the label's column 'species', got a, b, target"),
    "an empty table": ("run empty.csv", 1, "must name its columns in the first line, got an empty file"),
    "a table without rows": ("datasets no-rows.csv", 1, "must hold rows below its column names, got none"),
    "a column twice": ("datasets twice.csv", 1, "column names must differ, got a more than once"),
    "one class": ("run one-class.csv", 1, "one-class.csv"),
    "a class of one row": ("run rare.csv", 1, "perhaps"),
    "an empty column": ("run all-missing.csv", 1, "must have a column to learn from, got none ('a'"),
    "a ragged table to describe": ("datasets ragged.csv", 1, "ragged.csv: cannot be read as a table"),
    "a ragged table": ("run ragged.csv", 1, "ragged.csv: cannot be read as a table"),
    "no parquet": ("run broken.parquet", 1, "broken.parquet: cannot be read as a table"),
    "no archive": ("run broken.npz", 1, "broken.npz"),
    "pickled objects": ("run pickled.npz", 1, "must not hold pickled objects"),
    "arrays by other names": ("run other.npz", 1, "must hold x_train and y_train"),
    "arrays that do not fit": ("run ragged.npz", 1, "x and y must have as many rows, got shapes (20, 2) and (19,)"),
    "infinite inputs": ("datasets infinite.npz", 1, "must hold finite float32 numbers"),
    "one-hot labels": ("datasets onehot.npz", 1, "y must be (n_rows,), got shape (20, 3)"),
    "a negative shape": ("run negative.npz", 1, "negative.npz: must be a complete .npz archive, got ValueError"),
    "a header that is no literal": ("run header.npz", 1, "header.npz: must be a complete .npz archive, got"),
    "a bomb": ("run bomb.npz", 1, "rows and one copy of them must fit in memory, got 8000000002.0 GB where"),
    "labels by the thousand columns": ("run columns.csv", 1, "got c0, c1, c2, c3, c4 and 4995 more: name one of them"),
    "labels of 20,000 characters": ("run essay.csv", 1, "labels must have at most 500 characters, got 20,001: name"),
    "a quote that nobody closes": ("run quote.csv", 1, "cannot be read as a table (Error tokenizing data."),
    "a column name of two lines": ("run lines.csv", 1, "label's column 'target', got a, b c: name one of them"),
    "a quantity for a label": ("run fractions.csv --task classification", 1, "20 numbers at most, got 0.5 (30 such"),
    "a row without a label": ("run unlabelled.csv", 1, "every row must have a label, got 200 empty, NA or None"),
    "a column that clears the screen": ("run hidden.csv", 1, "got a, [2Jb: name one of them"),
    "a table in UTF-16": ("run utf16.csv", 1, "utf16.csv: must be UTF-8 text, got a null byte, as in UTF-16"),
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
    "a file that is there": ("init iris.csv", 1, "iris.csv: must be a new file, got File exists"),
    "a study file of another kind": ("init new.csv", 1, "new.csv: must end in .toml"),
    "a file nowhere": ("init no/where/study.toml", 1, "no/where/study.toml: must be a new file, got No such"),
    "no such study": ("trials digits", 1, "study 'digits': must be one of this home"),
    "no study to show": ("show digits 0", 1, "study 'digits': must be one of this home"),
    "a file for a home": ("run digits --folds 1 --home iris.csv", 1, "iris.csv: must be a folder that can be written"),
    "a home below a file": ("train digits --home iris.csv/home", 1, "must be a folder that can be written"),
    "a home that the system keeps": ("run digits --folds 1 --home /proc/m", 1, "must be a folder that can be written"),
    "a page of no home": ("ui --home /proc/mlp-search --port {n}", 1, "must be a folder that can be written"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_answered_with_one_line(case: str, here: Path) -> None:
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
    assert lines[0] == (
        "error: gaps.csv: column 'c0': must hold finite float32 numbers, got inf (10 such rows, the first 1, 2, 3):"
        " correct them, or leave them empty"
    )
    assert lines[-1] == "error: 280 more problems: fix these first"


def test_no_line_is_longer_than_a_screen(here: Path) -> None:
    for typed in (f"run {LONG}.csv", "run essay.csv", f"trials {LONG}", f"predict {LONG} rows.csv"):
        [line] = call(*typed.split()).err.splitlines()
        assert len(line) < 1010
