"""Trials and studies side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from finished import run_small
from screens import drawn

import search
from pipelines.errors import InputError, NotFoundError
from search.optimization.leaderboard import TrialRow
from search.reporting.comparison import Comparison, side_by_side

MADE = Comparison(
    "trials",
    tuple(map(str, range(12))),
    {
        "value": tuple(0.9 + n / 1000 for n in range(12)),
        "width": (256,) * 11 + (512,),
        "depth": (2,) * 12,
        "dropout": (0.0,) * 12,
        "duration_s": (None,) + (3.2,) * 11,
    },
    "val_accuracy",
)


def test_what_differs_comes_first_and_the_rest_beneath() -> None:
    shown = drawn([MADE], 200).splitlines()
    assert shown[0].split() == ["trial", *map(str, range(12))]
    assert shown[2].split()[:3] == ["val_accuracy", "0.9000", "0.9010"]
    assert [line.split()[0] for line in shown[3:5]] == ["width", "time"]
    assert shown[-1] == "the same for all: depth 2, dropout 0"


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_screen_has_several_tables(width: int) -> None:
    shown = drawn([MADE], width).splitlines()
    assert max(map(len, shown)) <= width
    heads = [line.split()[1:] for line in shown if line.startswith("trial")]
    assert len(heads) > 1
    assert [name for head in heads for name in head] == list(MADE.names)


def test_trials_of_a_study(finished_home: Path) -> None:
    found = call("compare", "tiny", 0, 3, 1, "--home", finished_home, "--json").json()
    assert found["trials"] == ["0", "3", "1"]
    assert found["objective"] == "val_accuracy"
    rows = {row.number: row for row in search.trials("tiny", home=finished_home)}
    assert found["differs"]["width"] == [rows[n].params["width"] for n in (0, 3, 1)]
    assert found["same"]["depth"] == 1
    assert not found["differs"].keys() & found["same"].keys()
    shown = call("compare", "tiny", 0, 3, "--home", finished_home).out
    assert "depth 1" in shown.splitlines()[-1]


def test_trials_of_folds_have_their_spread_and_their_precision() -> None:
    rows = [
        TrialRow(n, "COMPLETE", 0.9, {}, 1, 1, 0.1, "cpu:0", None, folds=5, std=std, precision=precision)
        for n, (std, precision) in enumerate([(0.01, "float32"), (0.02, "bfloat16")])
    ]
    lines = {tuple(line.split()) for line in drawn([side_by_side(rows)], 80).splitlines()}
    assert {("std", "over", "folds", "0.0100", "0.0200"), ("precision", "float32", "bfloat16")} <= lines


def test_studies(contenders: Path) -> None:
    found = search.compare(["weak", "strong"], home=contenders)
    assert found.what == "studies"
    assert found.values["data.source"] == ("digits", "digits")
    assert found.values["space.width"] == ("3", "64")
    assert {"space.width", "space.epochs", "best_value"} <= set(found.differs)
    assert "study.seed" not in found.differs


def test_studies_whose_names_are_numbers(tmp_path: Path) -> None:
    for name in ("2023", "2024", "2025"):
        run_small(tmp_path / "home", name, trials=1, width=8, epochs=1)
    assert search.compare(["2023", "2024"], home=tmp_path / "home").what == "studies"
    assert search.compare(["2023", "2024", "2025"], home=tmp_path / "home").what == "studies"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["tiny"], "must have two studies or two trials"),
        (["tiny", "3"], "must have two trials or more"),
        (["tiny", "3", "3"], "must have two trials or more"),
        (["tiny", "tiny"], "must have two studies or two trials"),
    ],
)
def test_one_alone_is_refused(names: list[str], problem: str, finished_home: Path) -> None:
    with pytest.raises(InputError, match=problem):
        search.compare(names, home=finished_home)


@pytest.mark.parametrize("names", [["tiny", "3", "99"], ["none", "1", "2"], ["tiny", "none"]])
def test_what_does_not_exist(names: list[str], finished_home: Path) -> None:
    with pytest.raises(NotFoundError):
        search.compare(names, home=finished_home)


def test_a_text_is_no_list_of_studies() -> None:
    with pytest.raises(InputError, match=r'compare: must be a list .*, got \'mixed\': write \["mixed", "OTHER"\]'):
        search.compare("mixed")
