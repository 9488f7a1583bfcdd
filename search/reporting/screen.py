"""Tables and lines that fit a screen: columns are left out, texts wrap between words, and no word is split."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TextIO, cast

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from search.home.text import WIDE, printable, screen_width, wrapped

_GAP = 2
_NARROWEST = 4  # of a column whose cells are cut: three characters and an ellipsis


_level = ContextVar("verbosity", default=0)
_json = ContextVar("json", default=False)


@contextmanager
def verbosity(level: int) -> Iterator[None]:
    """Sets how much the commands inside print: -1 the result and errors, 0 notes and progress too, 1 all there is.

    Results are for people, until ``set_json``.
    """
    of_level, of_json = _level.set(level), _json.set(False)
    try:
        yield
    finally:
        _level.reset(of_level)
        _json.reset(of_json)


def set_verbosity(level: int) -> None:
    """Sets how much is printed until the end of the block of ``verbosity`` around it."""
    _level.set(level)


def set_json(wanted: bool) -> None:
    """Sets whether results are printed as JSON, until the end of the block of ``verbosity`` around it."""
    _json.set(wanted)


def is_json() -> bool:
    """Whether results are printed as JSON, and progress in plain lines on stderr."""
    return _json.get()


def is_quiet() -> bool:
    """Whether notes and progress are not printed."""
    return _level.get() < 0


def is_verbose() -> bool:
    """Whether everything is printed."""
    return _level.get() > 0


class _Lasting:
    """A stream that leaves out what it cannot write, to a closed terminal or pipe, or to a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def console(*, stderr: bool = False, lasts: bool | None = None) -> Console:
    """A console that prints text unchanged; colors only on a terminal, and never if NO_COLOR is set.

    Args:
        stderr: Prints on stderr.
        lasts: Whether what cannot be written is left out, so that a training outlives its terminal; None: on stderr.
    """
    stream = sys.stderr if stderr else sys.stdout
    stream = getattr(stream, "rich_proxied_file", stream)  # a live view stands between
    width = screen_width(is_terminal=stream.isatty())
    file = cast("TextIO", _Lasting(stream)) if (stderr if lasts is None else lasts) else None
    return Console(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def print_all(out: Console, renderables: Iterable[RenderableType]) -> None:
    """Prints tables, and lines of text with breaks between words where the screen is narrower."""
    is_after_table = False
    for renderable in renderables:
        if is_after_table and isinstance(renderable, Table):
            out.print()
        is_after_table = isinstance(renderable, Table)
        text = "\n".join(wrapped(renderable, out.width)) if isinstance(renderable, str) else renderable
        out.print(text, soft_wrap=isinstance(renderable, str))


class Table:
    """A table that fits its screen.

    Where the screen is too narrow, the columns of ``drop`` are left out one by one, then texts wrap between words, and
    at last the widest cells are cut and end in an ellipsis.

    Args:
        columns: Names of the columns; the cells of one whose name begins with ``>`` are aligned to the right.
        rows: Cells of each row; None is an empty cell.
        title: A line above the table.
        drop: Names of the columns to leave out, the first one first.
        instead: Shown on a screen where cells would have to be cut.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]] = (),
        title: str | None = None,
        *,
        drop: Sequence[str] = (),
        instead: RenderableType | None = None,
    ) -> None:
        self._is_right = [column.startswith(">") for column in columns]
        self._names = [printable(column.removeprefix(">")) for column in columns]
        self._rows: list[list[str]] = []
        self._title = title
        self._drop = drop
        self._instead = instead
        for row in rows:
            self.add_row(*row)

    def add_row(self, *cells: object) -> None:
        """Adds a row; None is an empty cell."""
        texts = ["" if cell is None else printable(str(cell)) for cell in cells]
        self._rows.append(texts + [""] * (len(self._names) - len(texts)))

    @property
    def width(self) -> int:
        """Columns of a screen that shows all of it."""
        return self._total(map(self._natural, self._chosen(WIDE)))

    def left_out(self, width: int) -> list[str]:
        """Names of the columns that a screen of ``width`` columns is too narrow for."""
        shown = set(self._chosen(width))
        return [name for index, name in enumerate(self._names) if name in self._drop and index not in shown]

    def fits(self, width: int) -> bool:
        """Whether a screen of ``width`` columns shows each row in one line, without the columns to leave out."""
        return self._total(map(self._natural, self._chosen(width))) <= width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the table."""
        chosen = self._chosen(options.max_width)
        widths, is_cut = self._widths(chosen, options.max_width)
        if is_cut and self._instead is not None:
            yield self._instead
            return
        if self._title is not None:
            yield Text("\n".join(wrapped(self._title, options.max_width)), style="bold", overflow="ignore")
        drawn = self._drawn(chosen, widths)
        for line in console.render_lines(drawn, options.update(width=self._total(widths)), pad=False):
            yield from _without_end(line)
            yield Segment.line()
        if hidden := self.left_out(options.max_width):
            yield Text("\n".join(wrapped(left_out_line(hidden), options.max_width)), overflow="ignore")

    def _drawn(self, chosen: Sequence[int], widths: Sequence[int]) -> RichTable:
        made = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
        for index, width in zip(chosen, widths, strict=True):
            made.add_column(
                self._names[index], justify="right" if self._is_right[index] else "left", width=width
            )  # fmt: skip
        for row in self._rows:
            made.add_row(*(Text(row[index], overflow="ellipsis") for index in chosen))
        return made

    def _chosen(self, width: int) -> list[int]:
        """The columns that are shown; one without any text is not."""
        chosen = [index for index in range(len(self._names)) if self._names[index] or any(self._cells(index))]
        for name in self._drop:
            if self._total(map(self._natural, chosen)) <= width:
                break
            chosen = [index for index in chosen if self._names[index] != name]
        return chosen

    def _widths(self, chosen: Sequence[int], width: int) -> tuple[list[int], bool]:
        """The width of each column, and whether cells are cut."""
        widths = [self._natural(index) for index in chosen]
        _shrink(widths, [self._least(index) for index in chosen], width - _GAP * (len(chosen) - 1))
        is_cut = self._total(widths) > width
        _shrink(widths, [_NARROWEST] * len(chosen), width - _GAP * (len(chosen) - 1))
        return widths, is_cut

    def _cells(self, index: int) -> list[str]:
        return [row[index] for row in self._rows]

    def _natural(self, index: int) -> int:
        return max(map(cell_len, (self._names[index], *self._cells(index))))

    def _least(self, index: int) -> int:
        """Width of a column's longest word; its name and what is aligned to the right stay on one line."""
        if self._is_right[index]:
            return self._natural(index)
        words = [word for cell in self._cells(index) for word in cell.split()]
        return max(map(cell_len, (self._names[index], *words)))

    def _total(self, widths: Iterable[int]) -> int:
        known = list(widths)
        return sum(known) + _GAP * (len(known) - 1)


def left_out_line(names: Sequence[str]) -> str:
    """The line beneath a table that does not show everything."""
    return f"left out on this screen: {', '.join(names)}"


def _shrink(widths: list[int], least: Sequence[int], room: int) -> None:
    """Makes the widest columns narrower until all fit, or none can be narrower."""
    while sum(widths) > room:
        wide = [index for index, width in enumerate(widths) if width > least[index]]
        if not wide:
            return
        widths[max(wide, key=lambda index: widths[index])] -= 1


def _without_end(line: Sequence[Segment]) -> Iterator[Segment]:
    """A line's segments without the blanks at its end."""
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    yield from kept
