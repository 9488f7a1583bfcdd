"""Options that say how data is read: groups, times, splits, weights, and weights of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call

from search.spec.defaults import DEFAULT_STUDY
from search.spec.reading import default_spec, override, spec_from_dict
from search.training.configuration import default_training

ON_DATA = ("target", "task", "group", "time", "split", "weight", "folds")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 rows with columns for each option, and study files on it."""
    folder, row = tmp_path_factory.mktemp("options"), np.arange(60)
    part = np.where(row < 40, "train", np.where(row < 50, "validation", "test"))
    frame = pd.DataFrame({"x": row**2 % 7, "patient": row // 3, "day": row, "part": part, "w": 1 + row, "y": row % 2})
    frame.assign(price=np.sqrt(row + 0.5)).to_csv(folder / "rows.csv", index=False)
    (folder / "grouped.toml").write_text(
        '[data]\nsource = "rows.csv"\ntarget = "y"\ngroup = "patient"\n'
        '[space]\nwidth = 8\nclass_weight = ["none", "balanced"]\n[[start]]\nclass_weight = "none"\n'
    )
    return folder


@pytest.mark.parametrize("command", ["run", "plan", "train", "datasets"])
def test_every_command_that_reads_data_has_them(command: str) -> None:
    shown = call(command, "--help").out
    assert all(f"--{name} " in shown for name in ON_DATA)
    assert ("--class-weight " in shown) == (command != "datasets")


@pytest.mark.parametrize(
    ("typed", "n_rows"),
    [
        ("--split part", {"training": 40, "validation": 10, "test": 10}),
        ("--time day", {"training": 38, "validation": 10, "test": 12}),
        ("--group patient --weight w", {"training": 39, "validation": 9, "test": 12}),
        ("--folds 4", {"training": 36, "validation": 12, "test": 12}),
    ],
)
def test_they_say_how_rows_are_split(
    typed: str, n_rows: dict[str, int], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows)
    found = call("datasets", "rows.csv", "--target", "y", *typed.split(), "--json").json()
    assert found["n_rows"] == n_rows


def test_folds_are_shown_as_the_rows_that_they_are_made_of() -> None:
    assert "1,437 in 3 folds, 360 test (held out)" in call("datasets", "digits", "--folds", "3").out


WRONG = {
    "run rows.csv --target y --folds 0": "--folds: must be a whole number from 1 to 100, got 0",
    "plan grouped.toml --folds -1": "--folds: must be a whole number from 1 to 100, got -1",
    "datasets rows.csv --target y --folds 5 --time day": (
        "--folds: must be left out with --time, got 5 and 'day': choose one of the two"
    ),
    "run rows.csv --target y --preset strong --folds 0": "--folds: must be a whole number from 1 to 100, got 0",
    "run rows.csv --target y --folds 30": "--folds: every class must have a row for each of 30 folds beside its test",
    "datasets rows.csv --target y --time day --group patient": (
        "--time: must be left out with --group, got 'day': choose one of the two"
    ),
    "train rows.csv --target y --time day --split part": "--time: must be left out with --split, got 'day': choose one",
    "run rows.csv --target y --group w --weight w": "--group: must name another column than --weight, got 'w' twice",
    "run rows.csv --target y --group patients": "--group must name columns of the table, got 'patients' (did you mean",
    "datasets rows.csv --target y --weight part": "column 'part', --weight: weights must be finite numbers >= 0, got",
    "train rows.csv --target y --split patient": "column 'patient', --split: must hold train, validation or test",
    "run rows.csv --target price --group price": "--group must name another column than the target",
    "train digits --time day": "--time: only tables and .npz files have one, got 'day' for digits: leave it out",
    "run rows.csv --target y --class-weight equal": '--class-weight: must be one of none, balanced, got "equal"',
    "run rows.csv --target price --task regression --class-weight balanced": (
        "--class-weight: must be left out, because the task is a regression"
    ),
    "run rows.csv --target y --task classification --objective val_mae": (
        "--task: must be regression for val_mae"
    ),
    "plan grouped.toml --time day": "--time: must be left out with data.group, got 'day': choose one of the two",
    "plan grouped.toml --class-weight balanced": (
        'start[0].class_weight: must be balanced, as in the space, got "none"'
    ),
    "plan grouped.toml --weight part": "column 'part', --weight: weights must be finite numbers",
}  # fmt: skip


@pytest.mark.parametrize("typed", WRONG)
def test_what_contradicts_is_one_line_that_names_what_was_typed(
    typed: str, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows)
    monkeypatch.setenv("MLP_SEARCH_HOME", str(tmp_path / "home"))
    answer = call(*typed.split())
    assert (answer.code, answer.out) == (1, "")
    [line] = [line for line in answer.err.splitlines() if not line.startswith("note: ")]
    assert WRONG[typed] in line
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("typed", "table", "value", "problem"),
    [
        ("--folds 3", "data", "folds = 1000", "data.folds: must be a whole number from 1 to 100, got 1000"),
        ("--target y", "data", "target = 3", "data.target: must be "),
        ("--task regression", "data", 'task = "sort"', "data.task: must be one of auto, "),
        ("--objective val_mae", "search", 'objective = "loss"', "search.objective: must be one of "),
        ("--class-weight none", "space", 'class_weight = "equal"', "space.class_weight: must be one of none, balanced"),
    ],
)
def test_a_problem_of_the_study_file_keeps_its_key(
    typed: str, table: str, value: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = {"data": 'source = "rows.csv"', "search": "", "space": "width = 8"}
    tables[table] += f"\n{value}"
    Path("x.toml").write_text("".join(f"[{name}]\n{text}\n" for name, text in tables.items()))
    [line] = call("run", "x.toml", *typed.split()).err.splitlines()
    assert line.startswith(f"error: x.toml, {problem}")


def test_a_file_whose_name_is_like_a_key_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.group.csv").write_text("a,y\n" + "1,0\n2,1\n" * 9)
    answer = call("datasets", "data.group.csv", "--target", "y", "--group", "b")
    assert answer.err.startswith("error: data.group.csv: --group must name columns of the table, got 'b'")


def test_they_need_a_dataset() -> None:
    answer = call("datasets", "--group", "a", "--figure", "b.png")
    assert answer.code == 2
    assert "--group, --figure need a dataset" in answer.err


def test_a_weight_of_classes_fixes_one_dimension_of_the_space() -> None:
    spec = default_spec("rows.csv", class_weight="balanced")
    assert spec.space.searched == default_spec("rows.csv").space.searched
    assert {start.class_weight for start in spec.start} == {"balanced"}
    assert "class_weight" not in DEFAULT_STUDY["space"]
    both = spec_from_dict({"data": {"source": "rows.csv"}, "space": {"class_weight": ["none", "balanced"]}})
    assert override(both, class_weight="none").space.searched == {}


def test_a_training_has_what_was_typed() -> None:
    spec = default_training("rows.csv", group="patient", weight="w", time=None, class_weight="balanced")
    assert (spec.data.group, spec.data.weight, spec.data.time) == ("patient", "w", None)
    assert spec.hyperparameters.class_weight == "balanced"
