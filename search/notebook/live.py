"""The progress of a search in a notebook: one output that is written again while it trains."""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from search.reporting.configurations import short
from search.reporting.display import score, seconds
from search.reporting.live.view import Pace, best_lines, budget_share, counts
from search.scheduling.progress import Observer, Progress, SlotView

if TYPE_CHECKING:
    from jinja2 import Template

    from pipelines.config import Layer

P = ParamSpec("P")
R = TypeVar("R")
REDRAW_S = 0.5
_NOTES = 5
_MAX_SLOTS = 16
_IDLE = {"evaluate": ""}
"""The last line of functions that train nothing."""


def with_progress(function: Callable[P, R]) -> Callable[P, R]:
    """The function with the progress in the cell that calls it, where it takes an observer and none is given."""
    if isinstance(function, type) or "observer" not in inspect.signature(function).parameters:
        return function

    @functools.wraps(function)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        idle = _IDLE.get(function.__name__, "nothing was trained")
        table = notebook_observer(idle) if kwargs.get("observer") is None else None
        if table is None:
            return function(*args, **kwargs)
        kwargs["observer"] = table
        try:
            return function(*args, **kwargs)
        finally:
            table.end()

    return shown


def notebook_observer(idle: str = "") -> NotebookTable | None:
    """Shows progress in the cell that runs, and ``idle`` at the end where nothing trained; None outside of a kernel."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:  # a plain program, or IPython in a terminal
        return None
    from IPython.display import HTML, display

    output = display(HTML("starting"), display_id=True)
    return None if output is None else NotebookTable(lambda page: output.update(HTML(page)), idle)


class NotebookTable(Observer):
    """A table of the slots, the counts, the best so far and the last notes.

    Args:
        write: Replaces the HTML that the cell shows.
        idle: The last line where nothing was trained.
    """

    def __init__(self, write: Callable[[str], object], idle: str = "") -> None:
        self._write = write
        self._idle = idle
        self._notes: deque[str] = deque(maxlen=_NOTES)
        self._n_notes = 0
        self._started = time.monotonic()
        self._next = 0.0
        self._pace = Pace()
        self._progress: Progress | None = None

    def waiting(self, what: str) -> None:
        """Shows what the start-up waits for."""
        self._show(waiting=what)

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """Shows the size of the network of a single training."""
        n_parameters = sum(layer.n_parameters for layer in layers)
        self._show(waiting=f"starting a worker for a network of {n_parameters:,} weights, which imports TensorFlow")

    def note(self, line: str) -> None:
        """Adds a line to the notes."""
        self._notes.append(line)
        self._n_notes += 1

    def update(self, progress: Progress) -> None:
        """Writes the table again, at most every ``REDRAW_S``."""
        self._progress = progress
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REDRAW_S
            self._show(progress)

    def end(self) -> None:
        """Shows how the search ended."""
        self._show(self._progress, waiting=self._idle, ended=True)

    def _show(self, progress: Progress | None = None, *, waiting: str = "", ended: bool = False) -> None:
        own_s = time.monotonic() - self._started
        # None unless another process searches.
        elapsed_s = own_s if progress is None or progress.elapsed_s is None else progress.elapsed_s
        left_s = self._pace.left_s(progress) if progress and not ended else None
        n_earlier = self._n_notes - len(self._notes)
        earlier = [f"{n_earlier} earlier {'line is' if n_earlier == 1 else 'lines are'} not shown"] if n_earlier else []
        notes = [*earlier, *self._notes]
        self._write(progress_html(progress, elapsed_s, left_s, waiting=waiting, notes=notes, ended=ended))


def progress_html(
    progress: Progress | None,
    elapsed_s: float,
    left_s: float | None,
    *,
    waiting: str = "",
    notes: list[str] | None = None,
    ended: bool = False,
) -> str:
    """The progress of a search as HTML; all texts are escaped.

    Args:
        progress: The progress; None before the first.
        elapsed_s: Seconds since this run began.
        left_s: The estimate of the time left; None if unknown.
        waiting: The step of the start-up that it waits for.
        notes: Lines beneath it.
        ended: Whether the search has ended.
    """
    times = f"{seconds(elapsed_s)} elapsed"
    if left_s is not None:
        times += f", about {seconds(left_s)} left"
    if progress is None:
        return _template().render(head=waiting, times=times, notes=notes or [])
    views = [] if ended else [view for _, view in sorted(progress.slots.items())]
    what = "" if progress.runs == "trials" else f"{progress.runs} of "
    return _template().render(
        head=f"{what}{progress.study}: {counts(progress, None)}",
        times=times,
        share=budget_share(progress),
        run=progress.runs.removesuffix("s"),
        objective=progress.objective,
        slots=[_slot(view, progress.objective) for view in views[:_MAX_SLOTS]],
        n_more=max(0, len(views) - _MAX_SLOTS),
        best=list(best_lines(progress)),
        notes=notes or [],
    )


def _slot(view: SlotView, objective: str) -> dict[str, object]:
    hyperparameters, report = view.hyperparameters, view.report
    if hyperparameters is None:
        return {"device": view.device, "run": "idle"}
    return {
        "device": view.device,
        "run": view.run_name,
        "epoch": report.epoch if report else 0,
        "epochs": hyperparameters.epochs,
        "value": score(view.last_value(objective)),
        "best": score(view.best_value),
        "configuration": short(hyperparameters.to_json()),
    }


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("search.notebook", "."), autoescape=True).get_template("progress.html.j2")
