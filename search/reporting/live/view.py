"""The progress of a search on a screen: the budget, the slots, the best so far, and an estimate of the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from search.home.text import wrapped
from search.reporting.configurations import fitting, short
from search.reporting.display import score, seconds
from search.reporting.screen import Table
from search.scheduling.progress import Progress, SlotView
from search.tracking.run_names import trial_run_name

_BUDGET_BAR, _SLOT_BAR = 20, 10
_OTHER_LINES = 12
"""Of the screen, which are not slots."""
_TODAY_S, _THIS_WEEK_S = 20 * 3600.0, 6 * 24 * 3600.0
_STATES = {"RUNNING": "in training", "WAITING": "waits to be trained", "FAIL": "failed"}
_MAX_RUNNING = 4


class Pace:
    """Estimates the time left from the pace of this run and from the timeout."""

    def __init__(self) -> None:
        self._start: tuple[float, int, float] | None = None
        self._runs = ""

    def left_s(self, progress: Progress) -> float | None:
        """Seconds left; None without a timeout until the first epoch has ended."""
        now, done, begun = time.monotonic(), progress.done, _begun(progress)
        if progress.runs != self._runs:  # finalists follow trials in one call, at another pace
            self._runs, self._start = progress.runs, None
        self._start = self._start or (now, done, begun)
        since, before, begun_before = self._start
        if progress.budget is None:
            return progress.time_left_s
        # Trials that ended tell the pace; before the first one, the epochs of those in training do.
        n_trained = float(done - before)
        rest = float(progress.budget - done)
        if not n_trained:
            n_trained, rest = begun - begun_before, rest - begun
        if n_trained <= 0:
            return progress.time_left_s
        left_s = max(0.0, rest) * (now - since) / n_trained
        return left_s if progress.time_left_s is None else min(left_s, progress.time_left_s)


def _begun(progress: Progress) -> float:
    """The completed part of the jobs in training, in jobs."""
    views = list(progress.slots.values())  # at once: the searching thread adds and removes slots
    return sum(map(_share, views))


def _share(view: SlotView) -> float:
    planned = view.hyperparameters.epochs if view.hyperparameters else 0
    return min(1.0, view.report.epoch / planned) if view.report and planned else 0.0


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of which a share is filled."""
    filled, empty = ("#", "-") if ascii_only else ("━", "─")
    n_filled = round(min(1.0, max(0.0, share)) * width)
    return filled * n_filled + empty * (width - n_filled)


def counts(progress: Progress, left_s: float | None) -> str:
    """``12 of 64 trials, 9 complete, 2 pruned, 1 failed, 9:40 min left``; only trials are ever pruned."""
    is_search = progress.runs == "trials"
    budget = "" if progress.budget is None else f" of {progress.budget}"
    pruned = f"{progress.pruned} pruned, " if is_search else ""
    left = "" if left_s is None else f", {seconds(left_s)} left"
    states = f"{progress.complete} complete, {pruned}{progress.failed} failed"
    return f"{progress.done}{budget} {'trials' if is_search else 'runs'}, {states}{left}"


def line(progress: Progress, left_s: float | None) -> str:
    """The progress in one line: counts, the best trial and the jobs in training."""
    text = counts(progress, left_s)
    if progress.best_value is not None:
        text += f", best {score(progress.best_value)} (trial {progress.best_number})"
    leader = progress.leader
    if leader and leader.state != "COMPLETE":
        text += f", best so far {score(leader.value)} ({leader.run_name}, {_state(leader.state)})"
    running = [view for _, view in sorted(progress.slots.items()) if view.run_name]
    epochs = [f", {view.run_name} at epoch {_epochs(view)}" for view in running[:_MAX_RUNNING]]
    more = f", and {len(running) - _MAX_RUNNING} more in training" if len(running) > _MAX_RUNNING else ""
    return text + "".join(epochs) + more


def epoch_line(view: SlotView, objective: str) -> str:
    """The last epoch of a slot: ``trial-0007 epoch 3/20 val_accuracy 0.9312, 1.2 s``."""
    assert view.report is not None
    last = view.last_value(objective)
    value = "" if last is None else f" {objective} {score(last)}"
    duration_s = view.report.duration_s  # 0 of another process, which does not record it
    took = f", {seconds(duration_s)}" if duration_s else ""
    return f"{view.run_name} epoch {_epochs(view)}{value}{took}"


@dataclass(frozen=True, slots=True)
class LiveView:
    """The progress on a screen.

    Attributes:
        progress: The progress.
        elapsed_s: Seconds since this run began.
        left_s: The estimate of the time left; None if unknown.
        now: The time of the clock.
    """

    progress: Progress
    elapsed_s: float
    left_s: float | None
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws it."""
        width, ascii_only = options.max_width, options.ascii_only
        yield from _texts(self._head(ascii_only=ascii_only), width)
        yield _slots(self.progress, width, max(3, console.size.height - _OTHER_LINES), ascii_only=ascii_only)
        yield from _texts(best_lines(self.progress), width)

    def _head(self, *, ascii_only: bool) -> Iterator[str]:
        progress = self.progress
        share = budget_share(progress)
        drawn = "" if share is None else f"{bar(share, _BUDGET_BAR, ascii_only=ascii_only)} {share:.0%}  "
        what = "" if progress.runs == "trials" else f"{progress.runs} of "
        yield f"{what}{progress.study}: {counts(progress, None)}"
        times = [f"{seconds(self.elapsed_s)} elapsed"]
        if self.left_s is not None:
            end = self.now + timedelta(seconds=min(self.left_s, _THIS_WEEK_S))
            at = end.strftime("%H:%M" if self.left_s < _TODAY_S else "%a %H:%M")
            until = f", until {at}" if self.left_s < _THIS_WEEK_S else ""
            times.append(f"about {seconds(self.left_s)} left{until}")
        yield drawn + ", ".join(times)
        if progress.elapsed_s is not None:  # another process searches
            if not progress.slots:
                yield "waiting for a trial in training"
            return
        if not progress.slots:
            yield "waiting for the first worker, which imports TensorFlow"
        elif not progress.done and all(view.report is None for view in list(progress.slots.values())):
            yield "waiting for the first epoch"


def best_lines(progress: Progress) -> Iterator[str]:
    """The best so far, the best complete trial where that is another one, and why the search is ending."""
    leader = progress.leader
    if leader:
        state = _state(leader.state)
        yield f"best so far: {score(leader.value)}  {leader.run_name}, {state}  {short(leader.params)}"
    if progress.best_number is not None and not (leader and leader.state == "COMPLETE"):
        kind = "best complete" if progress.runs == "trials" else "best mean"
        params = short(progress.best_params)
        yield f"{kind}: {score(progress.best_value)}  {trial_run_name(progress.best_number)}  {params}"
    elif leader is None:
        yield "best so far: none yet"
    if progress.stopping:
        yield progress.stopping


def _texts(lines: Iterator[str], width: int) -> Iterator[Text]:
    for text in lines:
        yield Text("\n".join(wrapped(text, width)), overflow="ignore")


def _slots(progress: Progress, width: int, most: int, *, ascii_only: bool) -> Table:
    """A row for each slot: its job, its epochs, its values, and as much of the configuration as has room."""
    columns = ("slot", progress.runs.removesuffix("s"), ">epoch", "", f">{progress.objective}", ">best")
    views = [view for _, view in sorted(progress.slots.items())]
    rows = [_slot_row(view, progress.objective, ascii_only=ascii_only) for view in views[:most]]
    room = width - Table(columns, rows).width - 2
    has_room = room >= len("configuration")
    made = Table((*columns, "configuration") if has_room else columns)
    for row, view in zip(rows, views, strict=False):
        made.add_row(*row, *([_configuration(view, room)] if has_room else []))
    if len(views) > most:
        made.add_row(f"and {len(views) - most} more")
    return made


def _configuration(view: SlotView, room: int) -> str:
    params = view.hyperparameters.to_json() if view.hyperparameters else {}
    params.pop("epochs", None)  # they are beside the bar
    return fitting(params, room)


def _slot_row(view: SlotView, objective: str, *, ascii_only: bool) -> tuple[str | None, ...]:
    if not view.hyperparameters:
        return view.device, "idle", None, None, None, None
    value, best = score(view.last_value(objective)), score(view.best_value)
    drawn = bar(_share(view), _SLOT_BAR, ascii_only=ascii_only)
    return view.device, view.run_name, _epochs(view), drawn, value, best


def _epochs(view: SlotView) -> str:
    n_epochs = view.hyperparameters.epochs if view.hyperparameters else 0
    return f"{view.report.epoch if view.report else 0}/{n_epochs}"


def _state(state: str) -> str:
    return _STATES.get(state, state.lower())


def budget_share(progress: Progress) -> float | None:
    """The used share of the budget that is nearest to its end; None without a budget."""
    shares = []
    if progress.budget:
        shares.append((progress.done + _begun(progress)) / progress.budget)
    if progress.timeout_s and progress.time_left_s is not None:
        shares.append(1 - progress.time_left_s / progress.timeout_s)
    return min(1.0, max(shares)) if shares else None
