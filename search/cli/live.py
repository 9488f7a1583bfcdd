"""Progress of a search: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from search.home.text import printable
from search.reporting import display
from search.reporting.live.view import LiveView, Pace, epoch_line, line
from search.reporting.screen import console as open_console, is_json, is_quiet, is_verbose, print_all
from search.scheduling.progress import Observer, Progress

REDRAW_S = 0.3
"""Between two redraws, each of which takes a few milliseconds of a core that trains."""
LINE_S = 10.0
"""Between two lines of progress."""


@contextmanager
def watching(*, lasts: bool = True) -> Iterator[Observer]:
    """The observer for this terminal; at the end the live view is erased and the cursor is back.

    Args:
        lasts: Whether what is watched goes on where stderr is closed.
    """
    console = open_console(stderr=True, lasts=lasts)
    if is_quiet():
        yield Observer()
        return
    if is_json() or not _can_redraw(console):
        yield PlainLines(console)
        return
    # A thread redraws once a second: the time goes on while the start-up waits.
    with Live(StartUp("starting"), console=console, refresh_per_second=1, transient=True) as live:
        yield LiveTable(live)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal what a command does, ``testing the winner``, and since when, until it is done."""
    console = open_console(stderr=True)
    if is_json() or is_quiet() or not _can_redraw(console):
        yield
        return
    with Live(StartUp(what), console=console, refresh_per_second=1, transient=True):
        yield


def _can_redraw(console: Console) -> bool:
    """Whether stderr is a terminal with a cursor; FORCE_COLOR, which Rich takes for one, asks for colors alone."""
    return sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal


class StartUp:
    """The current step of the start-up, and the time since its begin.

    Args:
        what: In words.
        since: Value of ``time.monotonic`` when this process began; now by default.
    """

    def __init__(self, what: str, since: float | None = None) -> None:
        self._what = what
        self._since = time.monotonic() if since is None else since

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the line."""
        text = printable(f"{self._what} … {display.seconds(time.monotonic() - self._since)}")
        yield Text(text, no_wrap=True, overflow="ellipsis")


class PlainLines(Observer):
    """Prints each note, and a line of progress every ``LINE_S``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._next = self._started + LINE_S
        self._stopping = ""
        self._pace = Pace()
        self._printed: dict[str, int] = {}

    def waiting(self, what: str) -> None:
        """Prints the step of the start-up, where everything is printed, and the time since the start."""
        if is_verbose():
            self.note(display.step(what, time.monotonic() - self._started))

    def update(self, progress: Progress) -> None:
        """Prints a line of progress if it is due."""
        left_s = self._pace.left_s(progress)
        self._print_epochs(progress)
        if progress.stopping != self._stopping:
            self._stopping = progress.stopping
            self.note(progress.stopping)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_S
            self.note(line(progress, left_s))

    def _print_epochs(self, progress: Progress) -> None:
        """Prints each slot's last epoch, where everything is printed."""
        for view in progress.slots.values() if is_verbose() else ():
            if view.report and self._printed.get(view.run_name) != view.report.epoch:
                self._printed[view.run_name] = view.report.epoch
                self.note(epoch_line(view, progress.objective))

    def note(self, text: str) -> None:
        """Prints a line, with breaks between words on a narrower terminal."""
        print_all(self._console, [text])


class LiveTable(PlainLines):
    """Redraws the live view; notes scroll by above it."""

    def __init__(self, live: Live) -> None:
        super().__init__(live.console)
        self._live = live
        self._next = 0.0

    def waiting(self, what: str) -> None:
        """Shows what the start-up waits for."""
        super().waiting(what)
        self._live.update(StartUp(what, self._started), refresh=True)

    def update(self, progress: Progress) -> None:
        """Redraws the view, at most every ``REDRAW_S``."""
        left_s = self._pace.left_s(progress)
        self._print_epochs(progress)
        if time.monotonic() >= self._next:
            own_s = time.monotonic() - self._started
            elapsed_s = own_s if progress.elapsed_s is None else progress.elapsed_s
            self._live.update(LiveView(progress, elapsed_s, left_s, datetime.now()), refresh=True)
            self._next = time.monotonic() + REDRAW_S
