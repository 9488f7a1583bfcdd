"""The leaderboard on a screen, a trial a line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from search.home.text import counted, wrapped
from search.reporting.configurations import explained, importance, in_columns, joined, phrases, shared
from search.reporting.display import over_folds, score, seconds
from search.reporting.screen import Table, left_out_line

if TYPE_CHECKING:
    from search.optimization.leaderboard import TrialRow

_DROP = ("device", "best", "time", "epochs")
_START, _ENQUEUED, _TIMEOUT = "*", "e", "t"
_MARKS = {_START: "* a [[start]] configuration", _ENQUEUED: "e enqueued", _TIMEOUT: "t ended by the timeout"}


def mark(row: TrialRow) -> str:
    """Marks of a trial: whether its configuration was given or enqueued, and whether the timeout ended it."""
    return (_START if row.is_start else _ENQUEUED if row.is_enqueued else "") + (
        _TIMEOUT if row.stop_reason == "timeout" else ""
    )


def legend(rows: Sequence[TrialRow]) -> str:
    """The legend of the marks of trials; "" where none is marked."""
    signs = {sign for row in rows for sign in mark(row)}
    return "   ".join(text for sign, text in _MARKS.items() if sign in signs)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of a table of configurations.

    Attributes:
        names: Of the hyperparameters.
        dropped: Names of the columns that it leaves out.
        is_narrow: Whether hyperparameters are in columns with short names instead of words.
        is_renamed: Whether the metric's column is called ``value``.
        digits: Of floats in columns.
    """

    names: Sequence[str]
    dropped: Sequence[str]
    is_narrow: bool = False
    is_renamed: bool = False
    digits: int = 3


class ConfigurationTable:
    """A table whose last column is a configuration, each in one line.

    On a narrow screen, values that all configurations share stand beneath the table, then the others are columns with
    short names, then columns are left out, then values of the configurations; the lines beneath say which.

    Args:
        columns: The cells of each column by its name; see ``search.reporting.screen.Table``.
        params: The configurations.
        title: A line above the table.
        drop: Names of the columns to leave out, the first one first.
        remarks: Lines beneath the table.
        elsewhere: Hyperparameters that another column shows.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[object]],
        params: Sequence[Mapping[str, object]],
        title: str,
        *,
        drop: Sequence[str] = (),
        remarks: Sequence[str] = (),
        elsewhere: Collection[str] = (),
    ) -> None:
        self._columns = columns
        self._title = title
        self._drop = drop
        self._remarks = remarks
        self._params = [{n: v for n, v in given.items() if n not in elsewhere} for given in params]
        self._phrases = list(map(phrases, self._params))
        self._names = list(dict.fromkeys(name for made in self._phrases for name in made))
        self._shared = shared(self._phrases) if len(params) > 1 else {}
        self._varied = [name for name in self._names if name not in self._shared]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the table and the lines beneath it."""
        width = options.max_width
        whole = (layout for layout in self._whole() if self._table(layout).fits(width))
        layout = next(whole, None) or self._filled(width)
        yield self._table(layout)
        for line in self._lines(layout):
            yield Text("\n".join(wrapped(line, width)), overflow="ignore")

    def _whole(self) -> Iterator[_Layout]:
        """The layouts with every hyperparameter, from the widest to the narrowest."""
        for n_dropped in range(len(self._drop) + 1):
            dropped = self._drop[:n_dropped]
            yield _Layout(self._names, dropped)
            yield _Layout(self._varied, dropped)
            yield _Layout(self._varied, dropped, is_narrow=True)
            yield _Layout(self._varied, dropped, is_narrow=True, is_renamed=True)

    def _filled(self, width: int) -> _Layout:
        """A layout for a screen that is too narrow for every hyperparameter: the most important ones that fit it."""
        layout = _Layout((), self._drop, is_narrow=True, is_renamed=True, digits=2)
        for name in sorted(self._varied, key=importance):
            names = [other for other in self._varied if other == name or other in layout.names]
            layout = self._fitting(replace(layout, names=names), layout, width)
        for column in reversed(self._drop):
            dropped = [name for name in layout.dropped if name != column]
            layout = self._fitting(replace(layout, dropped=dropped), layout, width)
        return self._fitting(replace(layout, digits=3), layout, width)

    def _fitting(self, wanted: _Layout, other: _Layout, width: int) -> _Layout:
        """A layout where it fits a screen, else another one."""
        return wanted if self._table(wanted).fits(width) else other

    def _table(self, layout: _Layout) -> Table:
        columns: dict[str, Sequence[object]] = {
            _renamed(name) if layout.is_renamed else name: cells
            for name, cells in self._columns.items()
            if name.strip(">") not in layout.dropped
        }
        if layout.names and layout.is_narrow:
            name, *lines = in_columns(self._params, layout.names, layout.digits)
            columns[name] = lines
        elif layout.names:
            chosen = [{name: made[name] for name in made if name in layout.names} for made in self._phrases]
            columns["network" if list(layout.names) == ["network"] else "configuration"] = list(map(joined, chosen))
        return Table(list(columns), zip(*columns.values(), strict=True), self._title)

    def _lines(self, layout: _Layout) -> Iterator[str]:
        """The lines beneath the table."""
        yield from self._remarks
        beneath = {name: phrase for name, phrase in self._shared.items() if name not in layout.names}
        if beneath:
            yield f"in every configuration: {', '.join(beneath.values())}"
        if layout.is_narrow:
            yield from filter(None, [explained(self._params, layout.names)])
        if layout.is_renamed:
            metrics = [name.split()[-1].strip(">") for name in self._columns if _renamed(name) != name]
            yield from (f"the metric is {metric}" for metric in metrics)
        missing = [name for name in self._varied if name not in layout.names]
        hidden = [*layout.dropped, *(name.replace("_", " ") for name in missing)]
        if hidden:
            yield left_out_line(hidden)


def _renamed(column: str) -> str:
    """A shorter name of a metric's column."""
    return ">value" if column.startswith(">val_") else ">mean" if column.startswith(">mean val_") else column


def leaderboard_table(rows: Sequence[TrialRow], title: str, n_trials: int | None = None) -> ConfigurationTable:
    """Trials in the order given, a trial a line; with the standard deviation over folds where there are some.

    Args:
        rows: The trials.
        title: A line above the table.
        n_trials: Of the study; None where all of them are given.
    """
    has_std = any(row.std is not None for row in rows)
    columns: dict[str, Sequence[object]] = {
        ">trial": [row.number for row in rows],
        f">{rows[0].objective if rows else 'val_accuracy'}": [score(row.value) for row in rows],
        **({">std": [score(row.std) for row in rows]} if has_std else {}),
        "state": [row.state for row in rows],
        "": [mark(row) for row in rows],
        ">epochs": [_epochs(row) for row in rows],
        ">best": [row.best_epoch for row in rows],
        ">time": [seconds(row.duration_s).removesuffix(" min") for row in rows],
        "device": [row.device for row in rows],
    }
    n_more = 0 if n_trials is None else n_trials - len(rows)
    remarks = [line for line in (f"and {counted(n_more, 'more trial')}" if n_more > 0 else "", legend(rows)) if line]
    params = [row.params for row in rows]
    title += over_folds(rows)
    return ConfigurationTable(columns, params, title, drop=_DROP, remarks=remarks, elsewhere=("epochs",))


def _epochs(row: TrialRow) -> str:
    planned = row.params.get("epochs")
    return str(row.epochs_trained) if planned is None else f"{row.epochs_trained}/{planned}"
