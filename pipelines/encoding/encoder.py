"""Encodes the columns of a table as ``float32`` features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.config import Scaling
from pipelines.encoding.column import Column
from pipelines.encoding.learning import learn_column
from pipelines.errors import DataError, collect
from pipelines.files.archives import Array
from pipelines.files.columns import TEXT
from pipelines.files.kinds import holds_text
from pipelines.files.tables import LargeTable, Table
from pipelines.files.text_forms import NUMBER_FORMATS, Series, parse

if TYPE_CHECKING:  # workers import this module, and pandas is slow to import
    import pandas as pd

_CHUNK_ROWS = 1 << 20
_COLUMNS_AT_ONCE = 5
"""Columns of a large table that are read together: each takes some megabytes, and rows are written once for all."""


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """Encodes the columns of a table, in the order of the training table."""

    columns: tuple[Column, ...]

    @classmethod
    def learn(
        cls,
        frame: Table,
        formats: Mapping[str, str] | None = None,
        scaling: Scaling = "minmax",
        rows: Array | None = None,
    ) -> TableEncoder:
        """Learns medians and categories from (n_rows, n_columns) training rows without the target.

        Args:
            frame: The rows.
            formats: How texts of columns were read, by the column's name.
            rows: Numbers of the rows to learn from; None means all.
            scaling: Of the table. ``auto``, ``robust`` and ``quantile`` group rare categories and hash many.

        A text column is ignored if it has more than 10 categories, and more than one for every two rows: it identifies
        rows instead of describing them; under the other scalings also if it has more than 50. A column without a name
        is ignored as a saved index.

        Raises:
            DataError: A column's type cannot be encoded, numbers are infinite, or no column is left.
        """
        formats = formats or {}

        def taken(name: str) -> Series:
            return frame[name] if rows is None else frame[name].iloc[rows]

        columns = collect(lambda name: learn_column(name, taken(name), formats.get(name, ""), scaling), frame.columns)
        if not any(column.n_features for column in columns):
            reasons = "; ".join(f"{column.name!r}: {column.reason}" for column in columns) or "the target alone"
            raise DataError(f"must have a column to learn from, got none ({reasons}): add numbers or categories")
        return cls(tuple(columns))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that ``read_table`` must keep as text when rows are predicted."""
        return tuple(column.name for column in self.columns if column.kind == "category" or column.format)

    @property
    def literal_columns(self) -> tuple[str, ...]:
        """Columns in which a text such as ``NA`` is a text: declared ones, and those that had such a text in training.

        A ``.parquet`` file has other marks for missing values, so its texts may be any.
        """
        return tuple(column.name for column in self.columns if column.format == TEXT or column.has_marks)

    def unknown(self, frame: pd.DataFrame) -> dict[str, list[str | None]]:
        """Returns the texts of rows that no training row has, by column; n_rows with None for the other rows."""
        found = {
            column.name: column.unknown(frame[column.name]) for column in self.columns if column.kind == "category"
        }
        return {name: texts for name, texts in found.items() if any(texts)}

    def gaps(self, frame: pd.DataFrame) -> dict[str, int]:
        """Returns the number of missing values of each column of which no training row lacks one, where there are."""
        own = (column for column in self.columns if column.kind != "category" and column.n_features)
        found = {column.name: int(frame[column.name].isna().sum()) for column in own if not column.indicator}
        return {name: n_missing for name, n_missing in found.items() if n_missing}

    def in_own_form(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Reads decimal commas of a file with semicolons, in columns of which the training file held numbers.

        And decimal points of a file with commas, in columns of which the training file held decimal commas. Where tabs
        or bars separate fields, a comma needs no quotes, and a point may separate thousands. Points that do, beside
        decimal commas of other columns, are read as such in any file.
        """
        thousands = [name for name in frame.attrs.get("thousands", ()) if name not in self.text_columns]
        frame = frame.assign(**{name: _read_as(frame[name], NUMBER_FORMATS[1]) for name in thousands})
        forms = {";": ("", _with_commas), ",": (NUMBER_FORMATS[1], _with_points)}
        if (separator := frame.attrs.get("separator")) not in forms:
            return frame
        text_format, read = forms[separator]
        own = [column.name for column in self.columns if column.kind == "numeric" and column.format == text_format]
        texts = [name for name in own if name in frame.columns and holds_text(frame[name])]
        return frame.assign(**{name: read(frame[name]) for name in texts})

    @property
    def are_numbers(self) -> tuple[bool, ...]:
        """Of each feature, whether it has a unit and wants scaling; the others go from 0 to 1."""
        return tuple(is_number for column in self.columns for is_number in column.are_numbers)

    def encode(self, frame: pd.DataFrame, rows: Array | None = None) -> Array:
        """Encodes rows as the file holds them, (n_rows, n_features) float32; other columns are ignored.

        Args:
            frame: The rows.
            rows: Numbers of those to encode; None means all.

        Raises:
            DataError: A column is missing, or a numeric column holds something else.
        """
        used = [column for column in self.columns if column.n_features]
        missing = [column.name for column in used if column.name not in frame.columns]
        if missing:
            raise DataError([f"column {name!r}: must be in the rows, got none: add it" for name in missing])
        ends = np.cumsum([column.n_features for column in used]).tolist()
        encoded = np.empty((len(frame) if rows is None else len(rows), ends[-1] if ends else 0), np.float32)

        def fill(column: Column, end: int) -> None:
            values = frame[column.name]
            if values.ndim > 1:
                raise DataError(f"column {column.name!r}: must be one column, got {values.shape[1]}: rename the others")
            for first in range(0, len(encoded), _CHUNK_ROWS):  # float64 copies of a whole column take too much memory
                chunk = slice(first, first + _CHUNK_ROWS)
                part = values.iloc[chunk] if rows is None else values.iloc[rows[chunk]]
                try:
                    encoded[chunk, end - column.n_features : end] = column.encode(part)
                except DataError:
                    if rows is None:
                        column.encode(values)  # its error counts the rows from the first one
                    raise
                except TypeError as error:  # lists and structs have no hash
                    kinds = "must hold numbers, texts or dates, as in training"
                    raise DataError(f"column {column.name!r}: {kinds}, got {error}: convert them") from error

        collect(lambda pair: fill(*pair), zip(used, ends, strict=True))
        return encoded

    def encode_splits(self, table: Table, splits: Sequence[Array]) -> list[Array]:
        """Encodes the rows of each split, (n_rows, n_features) float32 each.

        Args:
            table: All rows; a large one is read once, some rows at a time.
            splits: Row numbers of each split; no row is in two of them.

        Raises:
            DataError: As for ``encode``.
        """
        if not isinstance(table, LargeTable):
            return [self.encode(table, rows) for rows in splits]
        encoded = [np.empty((len(rows), len(self.are_numbers)), np.float32) for rows in splits]
        places = _places(splits, len(table))
        used, first = tuple(column for column in self.columns if column.n_features), 0
        for number in range(0, len(used), _COLUMNS_AT_ONCE):
            encoder = TableEncoder(used[number : number + _COLUMNS_AT_ONCE])
            encoder._scatter(table, places, [rows[:, first : first + len(encoder.are_numbers)] for rows in encoded])
            first += len(encoder.are_numbers)
        return encoded

    def _scatter(self, table: LargeTable, places: Array, targets: Sequence[Array]) -> None:
        """Encodes all rows of a table, and writes each to its place in the targets, one after the other."""
        start = 0
        for part in table.parts([column.name for column in self.columns]):
            place = places[start : start + len(part)]
            start += len(part)
            wanted = np.flatnonzero(place >= 0)
            place, features = place[wanted], self.encode(part.iloc[wanted])
            for target in targets:
                is_own = (place >= 0) & (place < len(target))
                target[place[is_own]] = features[is_own]
                place = place - len(target)

    def to_json(self) -> list[dict[str, object]]:
        """Returns plain values for a JSON document."""
        return [column.to_json() for column in self.columns]

    @classmethod
    def from_json(cls, records: list[Mapping[str, Any]]) -> TableEncoder:
        """Reads what ``to_json`` returned."""
        return cls(tuple(map(Column.from_json, records)))


def _with_commas(texts: Series) -> Series:
    """Returns texts with the numbers in place of those with a comma, if these are numbers with decimal commas."""
    point, comma = (parse(texts.dropna(), text_format).reindex(texts.index) for text_format in NUMBER_FORMATS)
    if not texts.str.contains(",").any() or comma.notna().sum() < point.notna().sum():
        return texts
    return texts.astype(object).mask(comma.notna(), comma)


def _read_as(texts: Series, text_format: str) -> Series:
    """Returns texts with the numbers in place of those that are one in a format."""
    numbers = parse(texts.dropna(), text_format).reindex(texts.index)
    return texts.astype(object).mask(numbers.notna(), numbers)


def _with_points(texts: Series) -> Series:
    """Returns texts with the numbers in place of those with a decimal point, unless there is a comma in one of them."""
    return texts if texts.str.contains(",").any() else _read_as(texts, NUMBER_FORMATS[0])


def _places(splits: Sequence[Array], n_rows: int) -> Array:
    """Returns where each of a table's rows goes in the splits, one after the other; -1 for rows in none."""
    places = np.full(n_rows, -1, np.int32 if n_rows < 2**31 else np.int64)
    start = 0
    for rows in splits:
        for first in range(0, len(rows), _CHUNK_ROWS):  # NumPy copies the numbers of rows
            chunk = rows[first : first + _CHUNK_ROWS]
            places[chunk] = np.arange(start + first, start + first + len(chunk))
        start += len(rows)
    return places
