"""The screens of the commands at 80 and 120 columns, which are kept as text files.

``WRITE_SCREENS=1 pytest tests/search/reporting/test_screens.py`` writes the files anew.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from screens import FORECAST, ROWS, SCREENS, STRONG, TABLES, drawn, row, screen

from search.cli import tables
from search.devices.precision import PrecisionRule
from search.home.text import WIDE
from search.optimization.leaderboard import TrialRow
from search.reporting import display
from search.reporting.configurations import short
from search.reporting.screen import Table
from search.reporting.trial_table import leaderboard_table
from search.spec.reading import default_spec

FILES = Path(__file__).parent / "screens"
WIDTHS = (80, 120)
NOT_OF_THE_WHOLE = {"…", "network", "net", "value", "mean", "none"}
"""Words that a narrow screen has in place of others."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SCREENS)
class TestScreens:
    """Each command's output."""

    def test_it_looks_as_in_its_file(self, name: str, width: int) -> None:
        path = FILES / str(width) / f"{name}.txt"
        shown = drawn(screen(name), width)
        if os.environ.get("WRITE_SCREENS"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(shown)
        assert shown == path.read_text()

    def test_it_fits_and_splits_no_word(self, name: str, width: int) -> None:
        shown, whole = drawn(screen(name), width), drawn(screen(name), WIDE)
        beneath = ("in every configuration", "left out", "short for", "the metric is", "…")
        lines = [line for line in shown.splitlines() if not line.startswith(beneath)]
        assert all(len(line) <= width for line in shown.splitlines())
        assert all(line == line.rstrip() for line in shown.splitlines())
        words = {word for line in lines for word in line.split() if word.strip("─,")}
        known = {word.strip(",") for word in f"{whole} {shown.partition('short for:')[2]}".split()}
        assert {word.strip(",") for word in words} <= known | NOT_OF_THE_WHOLE


class TestSuggestions:
    """Commands to copy, on a terminal that is narrower than they are."""

    COMMAND = "mlp-search show digits 17 --home /a/folder/of/runs"

    def lines(self, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        display.suggest(self.COMMAND, "why this trial is the best")
        display.suggest(self.COMMAND, before="to resume, run: ")
        return capsys.readouterr().err.splitlines()

    def test_they_stand_in_a_line_where_there_is_room(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = self.lines(100, monkeypatch, capsys)
        assert shown == [f"next: {self.COMMAND}   why this trial is the best", f"to resume, run: {self.COMMAND}"]

    def test_a_shell_understands_the_breaks(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = self.lines(40, monkeypatch, capsys)
        assert max(map(len, shown)) <= 40
        assert shown[2] == "      # why this trial is the best"
        for lead, pieces in (("next: ", shown[:2]), ("to resume, run: ", shown[3:])):
            typed = "\n".join(pieces).removeprefix(lead)
            assert shlex.split(typed.replace("\\\n", " ")) == self.COMMAND.split()

    def test_no_break_is_inside_a_quoted_word(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["mlp-search", "run", "churn", "--home", "/home/ann/Machine Learning/churn of it's customers/runs"]
        monkeypatch.setenv("COLUMNS", "50")
        display.suggest(display.command(*words[1:]))
        shown = capsys.readouterr().err
        assert "\\\n" in shown
        assert shlex.split(shown.removeprefix("next: ").replace("\\\n", " ")) == words


class TestTable:
    """A table on a narrow screen."""

    TEXT = "a text of several words that goes on"

    def lines(self, width: int, **options: object) -> list[str]:
        made = Table(("name", ">count", "note"), [("alpha", "1,000", self.TEXT)], "the title", **options)
        return drawn([made], width).splitlines()

    def test_columns_go_before_a_text_wraps(self) -> None:
        assert self.lines(60)[-1].split() == ["alpha", "1,000", *self.TEXT.split()]
        shown = self.lines(45, drop=("count",))
        assert shown[1].split() == ["name", "note"]
        assert shown[3:] == [f"alpha  {self.TEXT}", "left out on this screen: count"]

    def test_a_text_wraps_between_words(self) -> None:
        shown = self.lines(30)
        assert [line[14:] for line in shown[3:]] == ["a text of", "several words", "that goes on"]

    def test_cells_are_cut_at_last(self) -> None:
        made = Table(("name", ">count"), [("x" * 100, 1)])
        shown = drawn([made], 30).splitlines()
        assert max(map(len, shown)) == 30
        assert shown[-1].split() == ["x" * 22 + "…", "1"]
        assert drawn([Table(("name", ">count"), [("x" * 100, 1)], instead="too wide")], 30) == "too wide\n"

    def test_wide_characters_count_twice(self) -> None:
        shown = drawn([Table(("class", ">rows"), [("数字" * 5, 1)])], 27).splitlines()
        assert shown[-1] == f"{'数字' * 5}     1"


class TestLeaderboard:
    """What a narrow screen leaves out of the trials."""

    def test_marks_are_explained_where_they_are_used(self) -> None:
        assert "[[start]]" in drawn([leaderboard_table(ROWS, "x")], 80)
        assert "timeout" in drawn([leaderboard_table(ROWS, "x")], 80)
        assert "[[start]]" not in drawn([leaderboard_table(ROWS[:1], "x")], 80)

    def test_it_says_how_many_trials_are_left_out(self) -> None:
        assert "and 57 more trials" in drawn([leaderboard_table(ROWS, "x", 64)], 80)
        assert "more trials" not in drawn([leaderboard_table(ROWS, "x", len(ROWS))], 80)

    @pytest.mark.parametrize("rows", [STRONG, TABLES])
    def test_the_strong_preset_is_whole_at_120_columns(self, rows: list[TrialRow]) -> None:
        shown = drawn([leaderboard_table(rows, "x")], 120).splitlines()
        head = "trial value state epochs time net drop opt lr sched batch act norm wd ls ema"
        assert shown[1].split() == [*head.split(), *(["emb"] if rows is TABLES else [])]
        cells = "17 0.9875 COMPLETE 60/60 12:05 1024x4 0.325 adamw 0.00234 1cycle 128 selu batch 0.00123 0.0567 0.99"
        assert shown[3].split() == [*cells.split(), *(["pw"] if rows is TABLES else [])]
        assert "left out on this screen: device, best" in shown
        assert "the metric is val_accuracy" in shown

    def test_a_narrow_screen_is_filled(self) -> None:
        shown = drawn([leaderboard_table(STRONG, "x")], 80).splitlines()
        assert len(shown[2]) > 74, "no value that is left out has room"
        assert shown[1].split()[:9] == ["trial", "value", "state", "net", "drop", "opt", "lr", "sched", "batch"]
        one = [replace(each, params={**each.params, "optimizer": "adamw", "ema": 0.0}) for each in STRONG]
        shown = drawn([leaderboard_table(one, "x")], 80).splitlines()
        assert "in every configuration: adamw, ema 0" in shown
        assert "opt" not in shown[1].split()

    @pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
    def test_a_trial_is_a_line_on_every_screen(self, width: int) -> None:
        long = row(5, "COMPLETE", 0.5, objective="val_average_precision", params={"class_weight": "balanced"})
        shown = drawn([leaderboard_table([long, *ROWS[1:]], "x")], width).splitlines()
        assert [line.split()[0] for line in shown[3 : 3 + len(ROWS)]] == ["5", "0", "41", "3", "8", "9", "63"]
        assert width < 40 or max(map(len, shown)) <= width

    @pytest.mark.parametrize("width", [40, 80, 120, WIDE])
    def test_the_spread_over_folds_stands_beside_the_value(self, width: int) -> None:
        stds = [0.0123, 0.0045, None]
        rows = [replace(each, std=std, folds=5) for each, std in zip(STRONG, stds, strict=False)]
        head, _, first, second, last = drawn([leaderboard_table(rows, "x")], width).splitlines()[1:6]
        assert head.split()[2] == "std"
        assert [first.split()[1:3], second.split()[1:3]] == [["0.9875", "0.0123"], ["0.9844", "0.0045"]]
        assert last.split()[1:3] == ["0.9831", "COMPLETE"]
        assert "std" not in drawn([leaderboard_table(STRONG, "x")], width)

    def test_nothing_is_left_out_of_a_pipe(self) -> None:
        shown = drawn([leaderboard_table(ROWS, "x")], WIDE)
        assert "left out" not in shown
        assert short(ROWS[0].params).replace(", 20 epochs", "") in shown

    def test_numbers_have_names(self) -> None:
        assert short(ROWS[0].params) == "512x2 dropout 0.2 adam lr 0.00234 cosine, 20 epochs, batch 128"
        assert short({"width": 64, "loss": "huber", "depth": 1}) == "64x1, loss huber"
        assert short({"width": 64}) == "width 64"
        richer = {
            "width": 8,
            "depth": 3,
            "dropout": 0.1,
            "activation": "gelu",
            "normalization": "batch",
            "residual": True,
        }
        assert short(richer) == "8x3 dropout 0.1, gelu, batch norm, residual"
        assert short({"normalization": "none", "embedding": "piecewise"}) == "no norm, piecewise embedding"
        rich = {"optimizer": "adamw", "weight_decay": 0.01, "momentum": 0.9, "shift": 2}
        assert short(rich) == "adamw, weight decay 0.01, shift 2", "momentum is of sgd alone"
        assert short({"optimizer": "sgd", "momentum": 0.9, "flip": False}) == "sgd, momentum 0.9, no flip"


@pytest.mark.parametrize(
    ("rule", "share", "says"),
    [
        ("float32", 0.0, "float32"),
        ("bfloat16", 1.0, "bfloat16"),
        ("by_size", 0.0, "float32: the networks are too small for bfloat16"),
        ("by_size", 1.0, "bfloat16"),
        ("by_size", 0.25, "bfloat16 for 25% of the networks, float32 for small ones"),
    ],
)
def test_a_plan_names_the_precision_of_matrix_products(rule: PrecisionRule, share: float, says: str) -> None:
    forecast = replace(FORECAST, precision=rule, bfloat16_share=share)
    shown = drawn([*tables.forecast_tables(default_spec("digits"), forecast)], 120)
    assert [line.split(maxsplit=2)[2] for line in shown.splitlines() if line.startswith("matrix products")] == [says]


def test_a_plan_names_the_model_files_that_are_kept() -> None:
    shown = drawn([*tables.forecast_tables(default_spec("digits", keep_models=10), FORECAST)], 120)
    assert "model files             those of the best 10 trials" in shown
    assert "model files" not in drawn([*tables.forecast_tables(default_spec("digits"), FORECAST)], 120)
