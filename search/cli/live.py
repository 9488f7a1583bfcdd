"""Progress of a search: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live

from search.home.text import printable
from search.reporting import display
from search.reporting.screen import console as open_console
from search.reporting.trial_table import short
from search.scheduling.progress import Observer, Progress, SlotView
from search.tracking.run_names import trial_run_name

REDRAW_S = 0.3
"""Between two redraws, each of which takes a few milliseconds of a core that trains."""
LINE_S = 10.0
"""Between two lines of progress."""


@contextmanager
def watching(*, plain: bool) -> Iterator[Observer]:
    """The observer for this terminal; at the end the live table is erased and the cursor is back.

    Args:
        plain: Print lines, even on a terminal.
    """
    console = open_console(stderr=True)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield PlainLines(console)
        return
    start = "starting the workers and opening the databases"
    with Live(start, console=console, auto_refresh=False, transient=True) as live:
        yield LiveTable(live)


class PlainLines(Observer):
    """Prints each note, and a line of progress every ``LINE_S``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = time.monotonic() + LINE_S
        self._stopping = ""
        self._pace = Pace()

    def update(self, progress: Progress) -> None:
        """Prints a line of progress if it is due."""
        left_s = self._pace.left_s(progress)
        if progress.stopping != self._stopping:
            self._stopping = progress.stopping
            self.note(progress.stopping)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_S
            self.note(_line(progress, left_s))

    def note(self, line: str) -> None:
        """Prints a line."""
        self._console.print(printable(line), soft_wrap=True)


class LiveTable(PlainLines):
    """Redraws a table of the slots and the progress; notes scroll by above it."""

    def __init__(self, live: Live) -> None:
        super().__init__(live.console)
        self._live = live
        self._next = 0.0

    def update(self, progress: Progress) -> None:
        """Redraws the table, at most every ``REDRAW_S``."""
        left_s = self._pace.left_s(progress)
        if time.monotonic() >= self._next:
            self._live.update(draw(progress, left_s), refresh=True)
            self._next = time.monotonic() + REDRAW_S


class Pace:
    """Estimates the time left from the pace of this run and from the timeout."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def left_s(self, progress: Progress) -> float | None:
        """Seconds left; None until the first trial has ended without a timeout."""
        now, done = time.monotonic(), _done(progress)
        self._start = self._start or (now, done)
        since, before = self._start
        if progress.budget is None or done == before:
            return progress.time_left_s
        rest = (progress.budget - done) * (now - since) / (done - before)
        return rest if progress.time_left_s is None else min(rest, progress.time_left_s)


def draw(progress: Progress, left_s: float | None = None) -> RenderableType:
    """The live table."""
    rows = [_slot_row(slot, progress.objective) for _, slot in sorted(progress.slots.items())]
    slots = display.table(("slot", "trial", ">epoch", f">{progress.objective}", "configuration"), rows)
    if progress.best_number is None:
        slots.add_row("best", None, None, None, "none yet")
    else:
        name, best = trial_run_name(progress.best_number), display.score(progress.best_value)
        slots.add_row("best", name, None, best, short(progress.best_params))
    lines = [printable(f"{progress.study}: {_counts(progress, left_s)}"), progress.stopping]
    return Group(slots, *filter(None, lines))


def _slot_row(slot: SlotView, objective: str) -> tuple[str | None, ...]:
    if not slot.hyperparameters:
        return slot.device, "idle", None, None, None
    value = display.score(slot.report.metrics[objective]) if slot.report else None
    return slot.device, slot.run_name, _epochs(slot), value, short(slot.hyperparameters.to_json())


def _epochs(slot: SlotView) -> str:
    n_epochs = slot.hyperparameters.epochs if slot.hyperparameters else 0
    return f"{slot.report.epoch if slot.report else 0}/{n_epochs}"


def _done(progress: Progress) -> int:
    return progress.complete + progress.pruned + progress.failed


def _counts(progress: Progress, left_s: float | None) -> str:
    budget = "" if progress.budget is None else f" of {progress.budget}"
    states = f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed"
    left = "" if left_s is None else f", {display.seconds(left_s)} left"
    return f"{_done(progress)}{budget} trials, {states}{left}"


def _line(progress: Progress, left_s: float | None) -> str:
    """The progress in a line: counts, the best trial and the trials in training."""
    best = display.score(progress.best_value)
    best = best and f", best {best} (trial {progress.best_number})"
    running = [slot for _, slot in sorted(progress.slots.items()) if slot.run_name]
    epochs = [f", {slot.run_name} at epoch {_epochs(slot)}" for slot in running]
    return _counts(progress, left_s) + best + "".join(epochs)
