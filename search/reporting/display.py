"""Output of the commands: one line of JSON, or tables and lines for people.

Names and labels come from data: nothing in them is read as markup, and characters that move a terminal's cursor are
escaped.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import RenderableType

from pipelines.errors import UnavailableError
from search.home.text import counted, finite, printable, value_text, wrapped
from search.reporting.screen import console, is_json, is_quiet, print_all

if TYPE_CHECKING:
    from pathlib import Path

    from search.optimization.leaderboard import TrialRow

_LARGEST_INDENT = 6


def message(line: str) -> None:
    """Prints one line on stderr, with breaks between words on a narrower terminal."""
    if is_quiet():
        return
    print_all(console(stderr=True), [line])


def suggest(suggested: str, why: str = "", before: str = "next: ") -> None:
    """Prints a command on stderr, ready to be copied, and the reason for it.

    Args:
        suggested: The command.
        why: What it does; "" where the command itself tells.
        before: The words before it.
    """
    if is_quiet():
        return
    out = console(stderr=True)
    line = printable(f"{before}{suggested}   {why}".rstrip())
    if len(line) > out.width:
        line = "\n".join(_suggestion(suggested, why, before, out.width))
    out.print(line, soft_wrap=True)


def _suggestion(suggested: str, why: str, before: str, width: int) -> list[str]:
    """A command on several lines, whose ends tell the shell that it continues, and the reason as a comment."""
    indent = " " * min(len(before), _LARGEST_INDENT)
    first, *others = [printable(shlex.quote(word)) for word in shlex.split(suggested)]
    pieces = _filled([before + first, *others], width - 2, indent)
    reason = wrapped(f"{indent}# {why}", width, f"{indent}# ") if why else []
    return [" \\\n".join(pieces), *reason]


def _filled(words: Iterable[str], width: int, indent: str) -> list[str]:
    """Lines of whole words; one that is longer than a line stays whole."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word if lines else word)
    return lines


def notes(lines: Iterable[str]) -> None:
    """Prints remarks on a dataset on stderr, a line each."""
    for line in lines:
        message(f"note: {line}")


def show(renderables: Iterable[RenderableType], document: object) -> None:
    """Prints a command's result on stdout: the document as one line of JSON, or the tables and lines."""
    if is_json():
        show_text(as_json(document) + "\n")
        return
    with _required():
        print_all(console(), renderables)


def open_closed_streams() -> None:
    """Opens standard streams that are closed, as by some services, on nothing: another file would get their number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null == number:
                os.set_inheritable(null, True)  # workers need it, too
            else:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def escape_on_stdout() -> None:
    """Lets stdout take every text: a character that its encoding lacks is written as an escape, as on stderr."""
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper) or out.encoding.lower() in ("utf-8", "utf8"):
        return
    if out.errors in ("strict", "surrogateescape"):  # Python's own; PYTHONIOENCODING may name another
        out.reconfigure(errors="backslashreplace")


def show_text(text: str) -> None:
    """Prints text on stdout unchanged."""
    with _required():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _required() -> Iterator[None]:
    """A result must be written; a closed pipe ends the command without a message.

    Raises:
        UnavailableError: stdout takes no more, as on a full disk.
    """
    try:
        yield
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (the rest would fail at the exit)
        if isinstance(error, BrokenPipeError):
            raise
        raise UnavailableError(f"stdout: must take the result, got {error.strerror}") from error


def as_json(document: object) -> str:
    """A document as one line of JSON, which has no infinite numbers and no NaN: they are null."""
    return json.dumps(finite(document), allow_nan=False)


def fields(record: object, *names: str) -> dict[str, object]:
    """The named attributes of a result, for its JSON document."""
    return {name: getattr(record, name) for name in names}


def command(*words: object, home: Path | None = None) -> str:
    """A command of this program on a home, quoted for a shell: ``mlp-search ui --home 'my runs'``."""
    options = ["--home", str(home)] if home else []
    return shlex.join(["mlp-search", *map(str, words), *options])


def score(value: float | None) -> str:
    """``0.9876``, ``24,300.5``, ``1.235e-05``; nothing for None."""
    return "" if value is None else value_text(value)


def interval(value: tuple[float, float] | None) -> str:
    """``0.9812 to 0.9876``; ``n/a`` for None."""
    return "n/a" if value is None else f"{score(value[0])} to {score(value[1])}"


def seconds(value: float | None) -> str:
    """``0.8 s``, ``2:05 min``, ``3:20 h``; nothing for None."""
    if value is None:
        return ""
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def step(what: str, after_s: float) -> str:
    """A step of the start-up, and the seconds until it began."""
    return f"after {seconds(after_s)}: {what}"


def budget_text(trials: int | None, timeout_s: float | None) -> str:
    """``64 trials``, ``64 trials or 5:00 min``."""
    limits = [] if trials is None else [counted(trials, "trial")]
    return " or ".join(limits if timeout_s is None else [*limits, seconds(timeout_s)])


def undelivered(n_runs: int) -> None:
    """Reports runs that MLflow has not received."""
    if n_runs:
        message(f"MLflow has not received {n_runs} runs yet; they are in the spool until the next command sends them")


def over_folds(rows: Sequence[TrialRow]) -> str:
    """The note that the values of trials are means over folds."""
    n_folds = rows[0].folds if rows else 1
    return f" (mean of {n_folds} folds)" if n_folds > 1 else ""


def baseline(rows: Sequence[TrialRow], what: str = "the best trial") -> list[str]:
    """A line on each baseline beside the best of the rows; none if they are unknown.

    Args:
        rows: Trials, the best first.
        what: The best of them.
    """
    return [sentence for row in rows[:1] for sentence in row.comparison.sentences(what)]
