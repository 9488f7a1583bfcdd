"""Encodes the columns of a table as ``float32`` features: medians for gaps, 0/1 features for categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.errors import DataError, collect
from pipelines.files.archives import Array
from pipelines.files.columns import IGNORED, TEXT, is_category, to_days, to_numbers
from pipelines.files.text_forms import Series

if TYPE_CHECKING:  # workers import this module, and pandas is slow to import
    import pandas as pd

Kind = Literal["numeric", "boolean", "date", "category", "ignored"]

# What pandas infers of a column's values that can be encoded.
_NUMERIC = ("integer", "floating", "mixed-integer-float", "decimal", "timedelta64", "timedelta")
_DATES = ("datetime64", "datetime", "date")
_ENCODED = (*_NUMERIC, *_DATES, "boolean", "string")
_N_DATE_FEATURES = 6
FINE = 2.0**-20
"""Share of a column's range that the steps of its float32 values may take."""
_TOO_MANY = "{} different texts in {} rows"
_NUMBER_AND_UNIT = re.compile(r"[<>~=\u2248]?\s*[-+]?\d[\d.,]*\s*\D{0,8}")


@dataclass(frozen=True, slots=True)
class Column:
    """How one column becomes features.

    Attributes:
        name: The column's name.
        kind: ``numeric`` and ``boolean`` give their number; ``date`` year, month, day, weekday (Monday is 0), hour and
            days since the earliest one; ``category`` a 0/1 feature per category (zeros for a missing or unknown one);
            ``ignored`` nothing.
        median: Median of the training rows, of dates in days since 1970; replaces missing values.
        indicator: Whether a 0/1 feature marks missing values; true if a training row lacks one.
        categories: Texts of the training rows, sorted.
        reason: Why the column is ignored.
        format: How its texts are read, as ``files.columns`` reads them; empty where the file holds values.
        offset: Subtracted in float64 before the values become float32, where float32 would lose their differences;
            the earliest of dates.
    """

    name: str
    kind: Kind
    median: float = 0.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    reason: str = ""
    format: str = ""
    offset: float = 0.0

    @property
    def n_features(self) -> int:
        """Number of features of this column."""
        n_values = _N_DATE_FEATURES if self.kind == "date" else 1
        return {"category": len(self.categories), "ignored": 0}.get(self.kind, n_values + self.indicator)

    def encode(self, values: Series) -> Array:
        """Encodes (n_rows,) values as the file holds them; returns (n_rows, n_features) float32."""
        if self.kind == "category":
            return np.asarray(self._codes(values)[:, None] == np.arange(len(self.categories)), dtype=np.float32)
        convert = to_days if self.kind == "date" else to_numbers
        numbers = convert(values, self.name, self.format)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.median, numbers)
        features = [*_date_parts(filled)] if self.kind == "date" else []
        features += [filled - self.offset, missing]
        return np.stack(features[: self.n_features], axis=1).astype(np.float32)

    def unknown(self, values: Series) -> list[str | None]:
        """Returns the texts that are no category, and None for the other rows."""
        known = (self._codes(values) >= 0) | values.isna().to_numpy()
        return [None if is_known else _text(value) for value, is_known in zip(values, known, strict=True)]

    def _codes(self, values: Series) -> Array:
        """Returns the numbers of the categories, -1 for missing and unknown texts."""
        import pandas as pd

        codes, uniques = pd.factorize(values)  # code -1 is a missing value
        position = {category: index for index, category in enumerate(self.categories)}
        texts = [_text(value) for value in uniques]
        known = [position.get(text, position.get(text.strip(), -1)) for text in texts]
        return np.array([*known, -1])[codes]


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """Encodes the columns of a table, in the order of the training table."""

    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, frame: pd.DataFrame, formats: Mapping[str, str] | None = None) -> TableEncoder:
        """Learns medians and categories from (n_rows, n_columns) training rows without the target.

        Args:
            frame: The rows.
            formats: How texts of columns were read, by the column's name.

        A text column is ignored if it has more than 50 categories, or more than 10 and more than one for every two
        rows: it identifies rows instead of describing them. A column without a name is ignored as a saved index.

        Raises:
            DataError: A column's type cannot be encoded, numbers are infinite, or no column is left.
        """
        formats = formats or {}
        columns = collect(lambda name: _learn_column(name, frame[name], formats.get(name, "")), frame.columns)
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
        """Columns that the user declared text: ``NA`` is a text in them."""
        return tuple(column.name for column in self.columns if column.format == TEXT)

    def unknown(self, frame: pd.DataFrame) -> dict[str, list[str | None]]:
        """Returns the texts of rows that no training row has, by column; n_rows with None for the other rows."""
        found = {column.name: column.unknown(frame[column.name]) for column in self.columns if column.categories}
        return {name: texts for name, texts in found.items() if any(texts)}

    def encode(self, frame: pd.DataFrame) -> Array:
        """Encodes rows as the file holds them, (n_rows, n_features) float32; other columns are ignored.

        Raises:
            DataError: A column is missing, or a numeric column holds something else.
        """
        used = [column for column in self.columns if column.n_features]
        missing = [column.name for column in used if column.name not in frame.columns]
        if missing:
            raise DataError([f"column {name!r}: must be in the rows, got none: add it" for name in missing])
        return np.concatenate(collect(lambda column: column.encode(frame[column.name]), used), axis=1)

    def to_json(self) -> list[dict[str, object]]:
        """Returns plain values for a JSON document."""
        return [{**asdict(column), "categories": list(column.categories)} for column in self.columns]

    @classmethod
    def from_json(cls, records: list[Mapping[str, Any]]) -> TableEncoder:
        """Reads what ``to_json`` returned."""
        return cls(tuple(Column(**{**record, "categories": tuple(record["categories"])}) for record in records))


def _learn_column(name: str, values: Series, text_format: str) -> Column:
    from pandas.api.types import infer_dtype

    present = values.dropna()
    if text_format.startswith(IGNORED):
        return Column(name, "ignored", reason=text_format.removeprefix(f"{IGNORED}: "), format=text_format)
    if present.empty:
        return Column(name, "ignored", reason="no value in the training rows")
    if name.startswith("Unnamed: "):  # what pandas calls a column without a name
        return Column(name, "ignored", reason="no name, so taken for a saved index")
    inferred = infer_dtype(present if present.dtype.kind in "Mm" else present.tolist())
    if inferred not in _ENCODED:
        raise DataError(
            f"column {name!r}: must hold numbers, booleans, dates or text, got {inferred}: convert or drop it"
        )
    if text_format == TEXT or inferred == "string":
        return _learn_categories(name, present, text_format)
    is_date = inferred in _DATES
    numbers = to_days(present, name, text_format) if is_date else to_numbers(present, name, text_format)
    kind: Kind = "date" if is_date else "numeric" if inferred in _NUMERIC else "boolean"
    median, offset = float(np.nanmedian(numbers)), float(np.nanmin(numbers)) if is_date else _offset(numbers)
    return Column(name, kind, median, indicator=len(present) < len(values), format=text_format, offset=offset)


def _learn_categories(name: str, present: Series, text_format: str) -> Column:
    categories = tuple(sorted({_text(value) for value in present.unique()}))
    if is_category(len(categories), len(present), text_format):
        return Column(name, "category", categories=categories, format=text_format)
    return Column(name, "ignored", reason=_TOO_MANY.format(len(categories), len(present)) + _hint(categories))


def _hint(categories: Sequence[str]) -> str:
    """Returns what to do with texts that are numbers beside other characters, such as ``12.5 kg``."""
    n_numbers = sum(_NUMBER_AND_UNIT.fullmatch(text.strip()) is not None for text in categories)
    return "; to use numbers, write them without units" if 2 * n_numbers > len(categories) else ""


def _offset(numbers: Array) -> float:
    """Returns the median where float32 merges values that differ, as it does with Unix times; else 0."""
    with np.errstate(over="ignore"):
        step = np.spacing(np.float32(np.abs(numbers).max()))
    if step <= FINE * np.ptp(numbers) or len(np.unique(numbers.astype(np.float32))) == len(np.unique(numbers)):
        return 0.0
    return float(np.median(numbers))


def _date_parts(days: Array) -> tuple[Array, ...]:
    """Returns year, month, day, weekday and hour of (n_rows,) days since 1970."""
    whole = np.floor(days)
    date = whole.astype("M8[D]")
    months = date.astype("M8[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    return year + 1970, month + 1, (date - months).astype(np.int64) + 1, (whole + 3) % 7, (days - whole) * 24


def _text(value: object) -> str:
    """Returns a category's text; a whole number has the same text as an integer and as a float."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
