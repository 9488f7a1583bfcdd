"""Results as tables of HTML, which a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from html import escape

from search.home.text import value_text

_MOST_ITEMS = 12
"""Of a sequence in a cell."""


class HtmlResult:
    """A dataclass that a notebook shows as a table: a row for each attribute that has a value."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return html_table(self._shown.items())

    @property
    def _shown(self) -> Mapping[str, object]:
        """The columns of the table, by name."""
        return _attributes(self)


def html_table(rows: Iterable[Sequence[object]], columns: Sequence[str] = ()) -> str:
    """A table of HTML; all texts are escaped.

    Args:
        rows: Cells of each row; without ``columns`` the first of each is its heading.
        columns: Names of the columns; the cells of one whose name begins with ``>`` are aligned to the right.
    """
    lines = []
    if columns:
        heads = [f'<th style="text-align:{_side(name)}">{escape(name.removeprefix(">"))}</th>' for name in columns]
        lines.append(f"<thead><tr>{''.join(heads)}</tr></thead>")
    for row in rows:
        if columns:
            cells = [
                f'<td style="text-align:{_side(name)}">{html_of(cell)}</td>'
                for name, cell in zip(columns, row, strict=True)
            ]
        else:
            name, *values = row
            cells = [f'<th style="text-align:left">{escape(str(name).replace("_", " "))}</th>']
            cells += [f'<td style="text-align:left">{html_of(value)}</td>' for value in values]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def html_line(text: str, *, is_strong: bool = False) -> str:
    """A line of text."""
    return f"<div><b>{escape(text)}</b></div>" if is_strong else f"<div>{escape(text)}</div>"


def html_of(value: object) -> str:
    """A value as HTML: a number with four digits, a record or a mapping as a table, an array as its shape."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escape(value_text(value))
    if isinstance(value, HtmlResult):
        return value._repr_html_()
    if is_dataclass(value) and not isinstance(value, type):
        return html_table(_attributes(value).items())
    if isinstance(value, Mapping):
        return html_table(value.items())
    if hasattr(value, "shape"):
        return escape(f"array {value.shape}")
    if isinstance(value, list | tuple):
        return _sequence(value)
    return escape(str(value))


def _sequence(values: Sequence[object]) -> str:
    shown = [html_of(value) for value in values[:_MOST_ITEMS]]
    more = f", and {len(values) - _MOST_ITEMS} more" if len(values) > _MOST_ITEMS else ""
    is_nested = any(isinstance(value, list | tuple | Mapping) or is_dataclass(value) for value in values)
    if is_nested and all(isinstance(value, list | tuple) for value in values):  # a matrix
        return f"{len(values)} rows"
    return ("" if is_nested else ", ").join(shown) + more


def _attributes(record: object) -> dict[str, object]:
    """The attributes of a dataclass that have a value, without those that its ``repr`` leaves out."""
    shown = [field.name for field in fields(record) if field.repr]  # type: ignore[arg-type]
    found = {name: getattr(record, name) for name in shown}
    return {name: value for name, value in found.items() if value is not None and not _is_empty(value)}


def _is_empty(value: object) -> bool:
    return isinstance(value, str | list | tuple | Mapping) and not value


def _side(name: str) -> str:
    return "right" if name.startswith(">") else "left"
