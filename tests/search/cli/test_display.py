"""The live table, the lines of progress, and the formats of values."""

from __future__ import annotations

import io

import pytest
from reports import report_of
from rich.console import Console
from rich.live import Live

from pipelines.config import Hyperparameters
from pipelines.training.history import EpochReport
from search.cli import live
from search.reporting import display
from search.scheduling.progress import Progress, SlotView


def report(epoch: int) -> EpochReport:
    return report_of(epoch, 0.5, 0.9, 0.4, 0.9312, duration_s=0.1)


def progress(**changes: object) -> Progress:
    made = Progress("digits", complete=2, pruned=3, failed=1, budget=10, best_number=4, best_value=0.98765)
    made.best_params = {"width": 64, "depth": 2, "optimizer": "adam", "learning_rate": 0.0012345}
    made.slots = {1: SlotView("cpu:1"), 0: SlotView("cpu:0", "trial-0007", Hyperparameters(epochs=9), report(3))}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def console(*, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=120,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=None,
    )


def drawn(made: Progress, left_s: float | None = None) -> list[list[str]]:
    paper = console(terminal=False)
    paper.print(live.draw(made, left_s))
    assert isinstance(paper.file, io.StringIO)
    return [line.split() for line in paper.file.getvalue().splitlines()]


class TestLiveTable:
    """The table that ``run`` draws on a terminal."""

    def test_each_slot_with_its_trial_epoch_and_accuracy(self) -> None:
        lines = drawn(progress())
        assert ["cpu:0", "trial-0007", "3/9", "0.9312", "512x2", "dropout", "0.2", "adam"] in [x[:8] for x in lines]
        assert ["cpu:1", "idle"] in lines
        assert lines.index(["cpu:1", "idle"]) > next(i for i, x in enumerate(lines) if x[:1] == ["cpu:0"])

    def test_the_best_so_far_with_its_configuration(self) -> None:
        best = next(line for line in drawn(progress()) if line[:1] == ["best"])
        assert best[1:4] == ["trial-0004", "0.9877", "64x2"]
        assert "0.00123" in best
        nothing = progress(best_number=None, best_value=None, best_params={})
        assert ["best", "none", "yet"] in drawn(nothing)

    def test_the_counts_and_the_time_left(self) -> None:
        line = "digits: 6 of 10 trials, 2 complete, 3 pruned, 1 failed, 2:05 min left"
        assert line.split() in drawn(progress(), 125.0)
        without = "digits: 6 trials, 2 complete, 3 pruned, 1 failed"
        assert without.split() in drawn(progress(budget=None))

    def test_the_reason_of_the_end(self) -> None:
        assert ["interrupted:", "finishing"] in drawn(progress(stopping="interrupted: finishing"))

    def test_a_name_is_not_read_as_markup_or_control_characters(self) -> None:
        lines = drawn(progress(study="[bold]x[/bold] :smile: \x1b[2J"))
        assert ["[bold]x[/bold]", ":smile:", "\\x1b[2J:"] in [line[:3] for line in lines]

    def test_it_is_drawn_a_few_times_a_second_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        paper = console()
        with Live("start", console=paper, auto_refresh=False) as table:
            observer = live.LiveTable(table)
            for _ in range(100):
                now += 0.01
                observer.update(progress())
        assert isinstance(paper.file, io.StringIO)
        assert 2 <= paper.file.getvalue().count("trial-0007") <= 5

    def test_notes_stay_above_it(self) -> None:
        paper = console()
        with Live("start", console=paper, auto_refresh=False, transient=True) as table:
            observer = live.LiveTable(table)
            observer.update(progress())
            observer.note("trial-0003 [red]failed[/red]")
        assert isinstance(paper.file, io.StringIO)
        assert "trial-0003 [red]failed[/red]" in paper.file.getvalue()


class TestPlainLines:
    """The lines that ``run`` prints to a pipe."""

    def test_a_line_every_ten_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        paper = console(terminal=False)
        lines = live.PlainLines(paper)
        for _ in range(25):
            now += 1.0
            lines.update(progress(time_left_s=60.0))
        assert isinstance(paper.file, io.StringIO)
        assert (
            paper.file.getvalue().splitlines()
            == [
                "6 of 10 trials, 2 complete, 3 pruned, 1 failed, 1:00 min left, best 0.9877 (trial 4),"
                " trial-0007 at epoch 3/9"
            ]
            * 2
        )

    def test_the_reason_of_the_end_is_printed_once(self) -> None:
        paper = console(terminal=False)
        lines = live.PlainLines(paper)
        for _ in range(5):
            lines.update(progress(stopping="interrupted"))
        assert isinstance(paper.file, io.StringIO)
        assert paper.file.getvalue() == "interrupted\n"


class TestPace:
    """The time left."""

    def test_follows_the_pace_of_this_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        pace = live.Pace()
        assert pace.left_s(progress()) is None
        now += 20.0
        assert pace.left_s(progress(complete=4)) == 20.0  # two trials in 20 s, two to go

    def test_is_never_more_than_the_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        pace = live.Pace()
        assert pace.left_s(progress(time_left_s=9.0)) == 9.0
        now += 20.0
        assert pace.left_s(progress(complete=4, time_left_s=9.0)) == 9.0
        assert pace.left_s(progress(complete=4, time_left_s=90.0)) == 20.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1:00 min"),
        (125, "2:05 min"),
        (3600, "1:00 h"),
    ],
)
def test_seconds(value: float | None, shown: str) -> None:
    assert display.seconds(value) == shown
