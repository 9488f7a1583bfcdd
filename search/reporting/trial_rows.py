"""Filters, sorts and writes the rows of a leaderboard."""

from __future__ import annotations

import csv
import difflib
import io
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pipelines.errors import InputError
from search.optimization.leaderboard import SHORT_NAMES, TrialRow

Value: TypeAlias = float | str | None
"""A number, a text or nothing."""

_NOT_SHOWN = ("params", "baselines")
_SHORT = SHORT_NAMES | {"trial": "number", "time": "duration_s", "best": "best_epoch"}
"""Names that the leaderboard shows, of columns that have other names."""
_VALUE = r"""'[^']*'|"[^"]*"|(?:(?!\s(?:or|and)\b)[^<>=])+?"""
_CONDITION = re.compile(rf"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>{_VALUE})\s*")
_QUOTED_OR_AND = re.compile(r"""[<>=]\s*(?:'[^']*'|"[^"]*")|(?P<between>\s+and\s+)""")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = 'must be NAME SIGN VALUE, such as "depth == 2" or "value >= 0.9 and optimizer == adam"'


def matching(rows: Sequence[TrialRow], condition: str) -> list[TrialRow]:
    """The rows that meet a condition; a row without the value meets only ``!=``.

    Args:
        rows: The rows.
        condition: Comparisons with ``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``, joined by ``and``.

    Raises:
        InputError: The condition has another form, or names no column.
    """
    tests = [_test(rows, part) for part in _parts(condition.strip())]
    return [row for row in rows if all(test(row) for test in tests)]


def _parts(condition: str) -> list[str]:
    """The comparisons between each ``and`` that is not in a quoted value."""
    between = [found.span("between") for found in _QUOTED_OR_AND.finditer(condition) if found["between"]]
    starts, ends = [0, *(end for _, end in between)], [*(start for start, _ in between), len(condition)]
    return [condition[start:end] for start, end in zip(starts, ends, strict=True)]


def _test(rows: Sequence[TrialRow], part: str) -> Callable[[TrialRow], bool]:
    found = _CONDITION.fullmatch(part)
    if not found:
        raise InputError(f"--filter: {_FORM}, got {part!r}")
    name, compare = _column(rows, found["name"], "--filter"), _SIGNS[found["sign"]]
    known = [cell(row, name) for row in rows if cell(row, name) is not None]
    wanted = _spelled(_value(found["value"].strip("'\"")), known)
    is_order = found["sign"] not in ("==", "!=")

    def test(row: TrialRow) -> bool:
        value = cell(row, name)
        if value is None or isinstance(value, str) != isinstance(wanted, str):
            return found["sign"] == "!="
        if isinstance(value, float) and isinstance(wanted, float) and math.isclose(value, wanted):
            value = wanted  # steps of a range add up to values such as 0.30000000000000004
        return compare(value, wanted)

    unlike = [isinstance(value, str) != isinstance(wanted, str) for value in known]
    if any(unlike) if is_order else known and all(unlike):
        raise InputError(f"--filter: {name} and {found['value']} must both be numbers, or both texts, in {part!r}")
    return test


def _spelled(wanted: float | str, known: Sequence[Value]) -> float | str:
    """A text as the column spells it: true and false may be written as Python or a table does, texts in any case."""
    if not isinstance(wanted, str) or wanted in known:
        return wanted
    given = wanted.casefold()
    given = {"yes": "true", "no": "false"}.get(given, given) if {*known} <= {"true", "false"} else given
    return next((value for value in known if isinstance(value, str) and value.casefold() == given), wanted)


def ordered(rows: Sequence[TrialRow], key: str) -> list[TrialRow]:
    """The rows by a column, the smallest value first; after a minus the largest first. Rows without a value are last.

    Raises:
        InputError: There is no such column.
    """
    name = _column(rows, key.removeprefix("-"), "--sort")
    known = [row for row in rows if cell(row, name) is not None]
    known.sort(key=lambda row: _rank(cell(row, name)), reverse=key.startswith("-"))
    return known + [row for row in rows if cell(row, name) is None]


def _rank(value: Value) -> tuple[bool, float, str]:
    """Numbers before texts."""
    is_text = isinstance(value, str)
    return is_text, 0.0 if is_text else float(value or 0), str(value) if is_text else ""


def to_csv(rows: Sequence[TrialRow], among: Sequence[TrialRow]) -> str:
    """Some of the rows of a study as CSV, one column a hyperparameter of the study."""
    names = columns(among)
    paper = io.StringIO()
    writer = csv.writer(paper, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(row, name) for name in names] for row in rows)
    return paper.getvalue()


def columns(rows: Sequence[TrialRow]) -> list[str]:
    """Names of the columns: those of a row, then those of the hyperparameters."""
    own = [name for name in TrialRow.__dataclass_fields__ if name not in _NOT_SHOWN]
    return own + list(dict.fromkeys(name for row in rows for name in row.params))


def cell(row: TrialRow, name: str) -> Value:
    """A value of a row, or of its configuration; None where it has none."""
    value = row.params[name] if name in row.params else getattr(row, name, None)
    return str(value).lower() if isinstance(value, bool) else value


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _column(rows: Sequence[TrialRow], given: str, option: str) -> str:
    """The column of a name, which may be that of the objective or one that the leaderboard shows."""
    names = columns(rows)
    name = "value" if rows and given == rows[0].objective else _SHORT.get(given, given)
    if name not in names and rows:
        near = difflib.get_close_matches(given, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
        raise InputError(f"{option}: must name a column, got {given!r}; {hint}")
    return name
