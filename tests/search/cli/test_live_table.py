"""The live table, and the lines of progress."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from reports import report_of
from rich.console import Console
from rich.live import Live

from pipelines.config import Hyperparameters
from pipelines.training.history import EpochReport
from search.cli import live
from search.reporting.live import view
from search.scheduling.progress import Progress, SlotView


class Clock:
    """The time that the module ``time`` tells, in seconds."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock


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


def drawn(made: Progress, left_s: float | None = None, elapsed_s: float = 192.0) -> list[list[str]]:
    paper = console(terminal=False)
    paper.print(view.LiveView(made, elapsed_s, left_s, datetime(2026, 1, 30, 14, 30)))
    assert isinstance(paper.file, io.StringIO)
    return [line.split() for line in paper.file.getvalue().splitlines()]


def line_of(lines: list[list[str]], *start: str) -> list[str]:
    """The line that begins with these words."""
    (found,) = [line for line in lines if tuple(line[: len(start)]) == start]
    return found


class TestLiveTable:
    """The table that ``run`` draws on a terminal."""

    def test_each_slot_with_its_trial_bar_and_values(self) -> None:
        made = progress()
        made.report(0, report(3))
        lines = drawn(made)
        first = line_of(lines, "cpu:0")
        assert first[1:3] == ["trial-0007", "3/9"]
        assert first[3] == "━" * 3 + "─" * 7
        assert first[4:6] == ["0.9312", "0.9312"]
        assert first[6:10] == ["512x2", "dropout", "0.2", "adam"]
        assert lines.index(["cpu:1", "idle"]) > lines.index(first)

    def test_the_best_value_of_a_slot_stays(self) -> None:
        made = progress()
        made.report(0, report(3))
        made.report(0, report_of(4, 0.5, 0.9, 0.4, 0.8, duration_s=0.1))
        assert line_of(drawn(made), "cpu:0")[2:6] == ["4/9", "━" * 4 + "─" * 6, "0.8000", "0.9312"]

    def test_the_best_complete_trial_with_its_configuration(self) -> None:
        best = line_of(drawn(progress()), "best", "complete:")
        assert best[2:5] == ["0.9877", "trial-0004", "64x2"]
        assert best[-2:] == ["lr", "0.00123"]
        nothing = progress(best_number=None, best_value=None, best_params={})
        assert ["best", "so", "far:", "none", "yet"] in drawn(nothing)

    def test_the_best_so_far_may_be_in_training_or_pruned(self) -> None:
        made = progress(best_number=None, best_value=None, best_params={}, slots={})
        made.slots = {0: SlotView("cpu:0", "trial-0007", Hyperparameters(epochs=9))}
        made.report(0, report(3))
        assert line_of(drawn(made), "best", "so")[3:7] == ["0.9312", "trial-0007,", "in", "training"]
        made.count("PRUNED", 7, 0.9312, {})
        assert line_of(drawn(made), "best", "so")[3:6] == ["0.9312", "trial-0007,", "pruned"]
        made.count("COMPLETE", 8, 0.95, {})
        assert line_of(drawn(made), "best", "so")[3:6] == ["0.9500", "trial-0008,", "complete"]
        assert not [line for line in drawn(made) if line[:2] == ["best", "complete:"]]

    def test_less_is_better_for_a_loss(self) -> None:
        made = progress(objective="val_loss", best_number=None, best_value=None)
        made.count("COMPLETE", 1, 0.5, {})
        made.count("PRUNED", 2, 0.4, {})
        made.count("PRUNED", 3, 0.6, {})
        assert made.leader is not None
        assert made.leader.run_name == "trial-0002"
        assert made.best_number == 1

    def test_the_counts_the_budget_and_the_time(self) -> None:
        lines = drawn(progress(), 125.0)
        shown = [" ".join(line) for line in lines]
        assert "digits: 6 of 10 trials, 2 complete, 3 pruned, 1 failed" in shown
        assert f"{'━' * 13}{'─' * 7} 63% 3:12 min elapsed, about 2:05 min left, until 14:32" in shown
        without = [" ".join(line) for line in drawn(progress(budget=None))]
        assert "digits: 6 trials, 2 complete, 3 pruned, 1 failed" in without
        assert "3:12 min elapsed" in without

    def test_a_timeout_fills_the_bar_too(self) -> None:
        made = progress(budget=None, timeout_s=100.0, time_left_s=25.0)
        assert line_of(drawn(made), "━" * 15 + "─" * 5)[1] == "75%"

    def test_the_start_says_what_it_waits_for(self) -> None:
        empty = Progress("digits", budget=10)
        assert any("waiting for the first worker" in " ".join(line) for line in drawn(empty))
        empty.slots = {0: SlotView("cpu:0", "trial-0000", Hyperparameters())}
        assert any("waiting for the first epoch" in " ".join(line) for line in drawn(empty))
        empty.report(0, report(1))
        assert not any("waiting" in line for line in drawn(empty))

    def test_what_the_start_up_reads_is_shown_with_its_time(self, clock: Clock) -> None:
        paper = console()
        with Live("start", console=paper, auto_refresh=False) as table:
            observer = live.LiveTable(table)
            clock.now += 3.0
            observer.waiting("reading digits")
        assert isinstance(paper.file, io.StringIO)
        assert "reading digits … 3.0 s" in paper.file.getvalue()

    def test_finalists_speak_of_themselves(self) -> None:
        made = progress(runs="finalists", pruned=0)
        made.slots = {0: SlotView("cpu:0", "finalist-0004-seed-1", Hyperparameters(epochs=9))}
        made.report(0, report(3))
        made.count("COMPLETE", None, 0.9312, {}, "finalist-0004-seed-1")
        lines = drawn(made)
        assert line_of(lines, "finalists", "of")[:7] == ["finalists", "of", "digits:", "4", "of", "10", "runs,"]
        assert line_of(lines, "slot")[1] == "finalist"
        assert line_of(lines, "best", "so")[3:6] == ["0.9312", "finalist-0004-seed-1,", "complete"]
        assert not any("pruned" in " ".join(line) or "trials" in line for line in lines)

    def test_a_refit_has_no_validation_metric(self) -> None:
        made = progress(runs="refits", best_number=None)
        made.report(0, report(3))
        assert made.leader is None
        assert "0.9312" not in " ".join(" ".join(line) for line in drawn(made))
        assert view.epoch_line(made.slots[0], "val_accuracy") == "trial-0007 epoch 3/9, 0.1 s"

    def test_slots_beyond_the_screen_are_counted(self) -> None:
        made = progress(slots={n: SlotView(f"cpu:{n}") for n in range(40)})
        lines = drawn(made)
        shown = sum(line[-1:] == ["idle"] for line in lines)
        assert ["and", str(40 - shown), "more"] in lines

    def test_the_reason_of_the_end(self) -> None:
        assert ["interrupted:", "finishing"] in drawn(progress(stopping="interrupted: finishing"))

    def test_a_name_is_not_read_as_markup_or_control_characters(self) -> None:
        lines = drawn(progress(study="[bold]x[/bold] :smile: \x1b[2J"))
        assert ["[bold]x[/bold]", ":smile:", "\\x1b[2J:"] in [line[:3] for line in lines]

    def test_it_is_drawn_a_few_times_a_second_at_most(self, clock: Clock) -> None:
        paper = console()
        with Live("start", console=paper, auto_refresh=False) as table:
            observer = live.LiveTable(table)
            for _ in range(100):
                clock.now += 0.01
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

    def test_a_line_every_ten_seconds(self, clock: Clock) -> None:
        paper = console(terminal=False)
        lines = live.PlainLines(paper)
        for _ in range(25):
            clock.now += 1.0
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

    def test_many_slots_are_counted(self) -> None:
        slots = {n: SlotView(f"cpu:{n}", f"trial-{n:04d}", Hyperparameters(epochs=9)) for n in range(10)}
        assert view.line(progress(slots=slots), None).endswith("trial-0003 at epoch 0/9, and 6 more in training")


class TestPace:
    """The time left."""

    def test_follows_the_pace_of_this_run(self, clock: Clock) -> None:
        pace = view.Pace()
        assert pace.left_s(progress()) is None
        clock.now += 20.0
        assert pace.left_s(progress(complete=4)) == 20.0  # two trials in 20 s, two to go

    def test_epochs_tell_it_before_the_first_trial_ends(self, clock: Clock) -> None:
        pace = view.Pace()
        made = progress(slots={0: SlotView("cpu:0", "trial-0007", Hyperparameters(epochs=9))})
        assert pace.left_s(made) is None
        clock.now += 10.0
        made.report(0, report(3))
        assert pace.left_s(made) == pytest.approx(10.0 / (1 / 3) * (4 - 1 / 3))

    def test_is_never_more_than_the_timeout(self, clock: Clock) -> None:
        pace = view.Pace()
        assert pace.left_s(progress(time_left_s=9.0)) == 9.0
        clock.now += 20.0
        assert pace.left_s(progress(complete=4, time_left_s=9.0)) == 9.0
        assert pace.left_s(progress(complete=4, time_left_s=90.0)) == 20.0


class TestNarrowTerminals:
    """Notes on a terminal of 40 columns."""

    LONG = "trial-0007 complete val_accuracy 0.9312 at epoch 3, which is no-better than trial-0003"

    @pytest.mark.parametrize("is_live", [False, True])
    def test_notes_break_between_words(self, is_live: bool) -> None:
        paper = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
        lines = live.LiveTable(Live(console=paper)) if is_live else live.PlainLines(paper)
        lines.note(self.LONG)
        assert isinstance(paper.file, io.StringIO)
        shown = paper.file.getvalue().splitlines()
        assert max(map(len, shown)) <= 40
        assert " ".join(shown).split() == self.LONG.split()


class Joined(SlotView):
    """A slot during whose drawing the searching thread adds another one."""

    joins: Progress

    def __getattribute__(self, name: str) -> object:
        if name == "report":
            slots = Joined.joins.slots
            slots[len(slots)] = SlotView(f"cpu:{len(slots)}")
        return super().__getattribute__(name)


@pytest.mark.parametrize("n_done", [0, 3])
def test_slots_may_come_while_the_view_is_drawn(n_done: int) -> None:
    Joined.joins = made = progress(complete=n_done, pruned=0, failed=0)
    made.slots = {0: Joined("cpu:0", "trial-0007", Hyperparameters(epochs=9)), 1: SlotView("cpu:1")}
    assert line_of(drawn(made), "cpu:0")[1] == "trial-0007"


@pytest.mark.parametrize("is_forced", [False, True])
def test_a_file_gets_lines_also_where_colors_are_forced(
    is_forced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """FORCE_COLOR is common where tests run, and Rich takes it for a terminal."""
    if is_forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with live.watching() as observer, live.working("testing the winner"):
        observer.update(progress())
        observer.note("trial-0007 complete")
    assert capsys.readouterr().err == "trial-0007 complete\n"
