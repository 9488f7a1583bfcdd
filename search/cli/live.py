"""Watching a search: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console, Group, RenderableType
from rich.live import Live

from search.home.text import printable
from search.reporting import display
from search.scheduling.progress import Observer, Progress, SlotView
from search.tracking.run_names import trial_run_name

REDRAW_S = 0.3
"""A redraw takes a few milliseconds of a core that trains."""
LINE_S = 10.0


@contextmanager
def watching(*, plain: bool) -> Iterator[Observer]:
    """The observer for this terminal; on leaving, the live table is gone and the cursor is back.

    Args:
        plain: Lines, even on a terminal.
    """
    console = display.console(stderr=True)
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield PlainLines(console)
        return
    start = "starting the workers and opening the databases"
    with Live(start, console=console, auto_refresh=False, transient=True) as live:
        yield LiveTable(live)


class PlainLines(Observer):
    """Each note as a line, and now and then one on how far the search is."""

    def __init__(self, console: Console) -> None:
        self._console, self._next = console, time.monotonic() + LINE_S
        self._stopping, self._pace = "", Pace()

    def update(self, progress: Progress) -> None:
        """Writes a line where one is due."""
        left_s = self._pace.left_s(progress)
        if progress.stopping != self._stopping:
            self._stopping = progress.stopping
            self.note(progress.stopping)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_S
            self.note(", ".join((*_counts(progress, left_s), *_best(progress), *_training(progress))))

    def note(self, line: str) -> None:
        """Writes a line."""
        self._console.print(printable(line), soft_wrap=True)


class LiveTable(Observer):
    """Each slot with what it trains, and under them where the search stands; notes scroll by above."""

    def __init__(self, live: Live) -> None:
        self._live, self._next, self._pace = live, 0.0, Pace()

    def update(self, progress: Progress) -> None:
        """Draws the table again, a few times a second at most."""
        left_s = self._pace.left_s(progress)
        if time.monotonic() >= self._next:
            self._live.update(draw(progress, left_s), refresh=True)
            self._next = time.monotonic() + REDRAW_S

    def note(self, line: str) -> None:
        """Writes a line above the table."""
        self._live.console.print(printable(line), soft_wrap=True)


class Pace:
    """How long the rest of the budget takes at the pace of this run, or until the timeout."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def left_s(self, progress: Progress) -> float | None:
        """Seconds left; None while nothing is known."""
        now, done = time.monotonic(), _done(progress)
        self._start = self._start or (now, done)
        since, before = self._start
        if progress.budget is None or done == before:
            return progress.time_left_s
        rest = (progress.budget - done) * (now - since) / (done - before)
        return rest if progress.time_left_s is None else min(rest, progress.time_left_s)


def draw(progress: Progress, left_s: float | None = None) -> RenderableType:
    """The live table."""
    slots = display.table("slot", "trial", ">epoch", ">val_accuracy", "configuration")
    for _, slot in sorted(progress.slots.items()):
        display.add_row(slots, slot.device, *_slot_cells(slot))
    best = None if progress.best_value is None else f"{progress.best_value:.4f}"
    slots.add_section()
    name = None if progress.best_number is None else trial_run_name(progress.best_number)
    display.add_row(slots, "best", name, None, best, display.short(progress.best_params) if best else "none yet")
    where = f"{progress.study}: {', '.join(_counts(progress, left_s))}"
    lines = [printable(where), *([progress.stopping] if progress.stopping else [])]
    return Group(slots, *lines)


def _slot_cells(slot: SlotView) -> tuple[str, str | None, str | None, str]:
    if not slot.run_name or not slot.hyperparameters:
        return "idle", None, None, ""
    epoch = slot.report.epoch if slot.report else 0
    value = f"{slot.report.val_accuracy:.4f}" if slot.report else None
    epochs = f"{epoch}/{slot.hyperparameters.epochs}"
    return slot.run_name, epochs, value, display.short(asdict(slot.hyperparameters))


def _done(progress: Progress) -> int:
    return progress.complete + progress.pruned + progress.failed


def _counts(progress: Progress, left_s: float | None) -> Iterator[str]:
    done = _done(progress)
    yield f"{done} trials" if progress.budget is None else f"{done} of {progress.budget} trials"
    yield f"{progress.complete} complete"
    yield f"{progress.pruned} pruned"
    yield f"{progress.failed} failed"
    if left_s is not None:
        yield f"{display.seconds(left_s)} left"


def _best(progress: Progress) -> Iterator[str]:
    if progress.best_value is not None:
        yield f"best {progress.best_value:.4f} (trial {progress.best_number})"


def _training(progress: Progress) -> Iterator[str]:
    for _, slot in sorted(progress.slots.items()):
        name, epochs, _, _ = _slot_cells(slot)
        if epochs:
            yield f"{name} at epoch {epochs}"
