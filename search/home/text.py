"""Text of messages: without passwords, on one line, printable."""

from __future__ import annotations

import math
import os
import re
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType

# Greedy, up to the last @ of the word: a password may contain an unescaped @.
_PASSWORD = re.compile(r"(://[^\s:@/]*:)\S*(?=@)")
_TOKEN = re.compile(r"(https?://)[^\s:@/]+(?=@)")
_PARAMETER = re.compile(r"((?:password|passwd|pwd|token|secret|api_?key)=)[^\s&;'\"]+", re.IGNORECASE)
_ERROR_LENGTH = 300


def redact(text: str) -> str:
    """The text with ``***`` for the passwords and tokens of addresses: ``postgresql://me:***@host/database``."""
    for secret in (_PASSWORD, _TOKEN, _PARAMETER):
        text = secret.sub(r"\1***", text)
    return text


def one_line(error: BaseException) -> str:
    """An error's text on one line of reasonable length, without passwords and SQL statements."""
    text = str(error).partition("[SQL:")[0].partition("(Background on this error")[0] or str(error)
    return redact(" ".join(text.split()))[:_ERROR_LENGTH] or type(error).__name__


def redact_tracebacks() -> None:
    """Hides passwords in the tracebacks that Python prints: errors of many libraries quote an address."""

    def report(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, where))))

    sys.excepthook = report
    threading.excepthook = lambda thread: report(thread.exc_type, thread.exc_value, thread.exc_traceback)


_MAX_PROBLEMS, _MAX_LENGTH = 20, 1000


def report_problems(problems: Iterable[str], prefix: str = "error: ") -> None:
    """Writes problems to stderr, each on a printable line of limited length; it breaks between words on a terminal."""
    lines = list(problems)
    if len(lines) > _MAX_PROBLEMS:
        lines = [*lines[:_MAX_PROBLEMS], f"{len(lines) - _MAX_PROBLEMS} more problems: fix these first"]
    for problem in lines:
        line = redact(" ".join("".join(c if c.isprintable() else " " for c in f"{prefix}{problem}").split()))
        if len(line) > _MAX_LENGTH:  # its end has the remedy
            line = f"{line[: _MAX_LENGTH // 2]} … {line[-_MAX_LENGTH // 2 :]}"
        sys.stderr.write("\n".join(wrapped(line, _stderr_width())) + "\n")


WIDE = 10_000
"""Columns of an output that is no terminal: another program gets every column, and each row in one line."""


def screen_width(*, is_terminal: bool) -> int | None:
    """Columns of an output; None for a terminal, which knows them itself. COLUMNS sets them for any other output."""
    given = os.environ.get("COLUMNS", "")
    return None if is_terminal else int(given) if given.isdecimal() and int(given) else WIDE


def _stderr_width() -> int:
    """Columns of the terminal that stderr is, or of another output."""
    given = screen_width(is_terminal=False) or WIDE
    if given != WIDE or not sys.stderr.isatty():
        return given
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or WIDE
    except (OSError, ValueError):  # a terminal without a size
        return WIDE


def wrapped(line: str, width: int, indent: str = "") -> list[str]:
    """The line in pieces of at most ``width`` characters; a word that is longer stays whole.

    Args:
        line: The text.
        width: Of the screen.
        indent: Before each piece but the first.
    """
    line = printable(line)
    if len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def printable(line: str) -> str:
    """The line with escapes for what would break it up or move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


_SMALL, _LARGE, _HUGE = 0.001, 1000, 1e9


def value_text(value: float) -> str:
    """``0.9876``, ``24,300.5``, ``1.235e-05``: a metric's value, of any size."""
    if abs(value) >= _LARGE:
        return f"{value:,.1f}" if abs(value) < _HUGE else f"{value:.4g}"
    return f"{value:.4f}" if abs(value) >= _SMALL or not value else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """``1 model file``, ``1,200 model files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def times(count: int) -> str:
    """``once``, ``2 times``, and so on."""
    return "once" if count == 1 else f"{count} times"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``4th``, ``11th`` and so on."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else endings.get(number % 10, 'th')}"


def finite(document: object) -> object:
    """A document for JSON, which has no infinite numbers and no NaN: they are null."""
    if isinstance(document, Mapping):
        return {key: finite(kept) for key, kept in document.items()}
    if isinstance(document, list | tuple):
        return [finite(kept) for kept in document]
    return None if isinstance(document, float) and not math.isfinite(document) else document
