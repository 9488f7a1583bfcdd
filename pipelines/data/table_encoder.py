"""Encodes the columns of a table as ``float32`` features: medians for gaps, 0/1 features for categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:  # workers import this module, and pandas is slow to import
    import pandas as pd

Series: TypeAlias = "pd.Series[Any]"
Kind = Literal["numeric", "boolean", "category", "ignored"]

MAX_CATEGORIES = 50
FEW_CATEGORIES = 10
# What pandas infers of a column's values that can be encoded.
_NUMERIC = ("integer", "floating", "mixed-integer-float", "decimal")
_ENCODED = (*_NUMERIC, "boolean", "string")


@dataclass(frozen=True, slots=True)
class Column:
    """How one column becomes features.

    Attributes:
        name: The column's name.
        kind: ``numeric`` and ``boolean`` give their number, ``category`` a 0/1 feature per category (zeros
            for a missing or unknown one), ``ignored`` nothing.
        median: Median of the training rows; replaces missing numbers.
        indicator: Whether a 0/1 feature marks missing numbers; true if a training row lacks one.
        categories: Texts of the training rows, sorted.
        reason: Why the column is ignored.
    """

    name: str
    kind: Kind
    median: float = 0.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    reason: str = ""

    @property
    def n_features(self) -> int:
        """Number of features of this column."""
        return {"category": len(self.categories), "ignored": 0}.get(self.kind, 1 + self.indicator)

    def encode(self, values: Series) -> Array:
        """Encodes (n_rows,) values as the file holds them; returns (n_rows, n_features) float32."""
        if self.kind == "category":
            import pandas as pd

            codes, uniques = pd.factorize(values)  # code -1 is a missing value
            position = {category: index for index, category in enumerate(self.categories)}
            known = np.array([position.get(_text(value), -1) for value in uniques] + [-1])
            return np.asarray(known[codes][:, None] == np.arange(len(self.categories)), dtype=np.float32)
        numbers = _numbers(values, self.name)
        missing = np.isnan(numbers)
        features = [np.where(missing, self.median, numbers), missing][: self.n_features]
        return np.stack(features, axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """Encodes the columns of a table, in the order of the training table."""

    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, frame: pd.DataFrame) -> TableEncoder:
        """Learns medians and categories from (n_rows, n_columns) training rows without the target.

        A text column is ignored if it has more than 50 categories, or more than 10 and more than one for every two
        rows: it identifies rows instead of describing them. A column without a name is ignored as a saved index.

        Raises:
            DataError: A column's type cannot be encoded, numbers are infinite, or no column is left.
        """
        columns: list[Column] = []
        problems: list[str] = []
        for name in frame.columns:
            try:
                columns.append(_learn_column(name, frame[name]))
            except DataError as error:
                problems.extend(error.problems)
        if problems:
            raise DataError(problems)
        if not any(column.n_features for column in columns):
            reasons = "; ".join(f"{column.name!r}: {column.reason}" for column in columns) or "the target alone"
            raise DataError(f"must have a column to learn from, got none ({reasons}): add numbers or categories")
        return cls(tuple(columns))

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that ``read_table`` must keep as text when rows are predicted."""
        return tuple(column.name for column in self.columns if column.kind == "category")

    def encode(self, frame: pd.DataFrame) -> Array:
        """Encodes rows as the file holds them, (n_rows, n_features) float32; other columns are ignored.

        Raises:
            DataError: A column is missing, or a numeric column holds something else.
        """
        used = [column for column in self.columns if column.n_features]
        missing = [column.name for column in used if column.name not in frame.columns]
        if missing:
            raise DataError([f"column {name!r}: must be in the rows, got none: add it" for name in missing])
        return np.concatenate([column.encode(frame[column.name]) for column in used], axis=1)

    def to_json(self) -> list[dict[str, object]]:
        """Returns plain values for a JSON document."""
        return [{**asdict(column), "categories": list(column.categories)} for column in self.columns]

    @classmethod
    def from_json(cls, records: list[Mapping[str, Any]]) -> TableEncoder:
        """Reads what ``to_json`` returned."""
        return cls(tuple(Column(**{**record, "categories": tuple(record["categories"])}) for record in records))


def _learn_column(name: str, values: Series) -> Column:
    from pandas.api.types import infer_dtype

    present = values.dropna()
    if present.empty:
        return Column(name, "ignored", reason="no value in the training rows")
    if name.startswith("Unnamed: "):  # what pandas calls a column without a name
        return Column(name, "ignored", reason="no name, so taken for a saved index")
    inferred = infer_dtype(present.tolist())
    if inferred not in _ENCODED:
        raise DataError(f"column {name!r}: must hold numbers, booleans or text, got {inferred}: convert or drop it")
    if inferred == "string":
        return _learn_categories(name, present)
    kind: Kind = "numeric" if inferred in _NUMERIC else "boolean"
    median = float(np.nanmedian(_numbers(values, name)))
    return Column(name, kind, median=median, indicator=len(present) < len(values))


def _learn_categories(name: str, present: Series) -> Column:
    import pandas as pd

    categories = tuple(sorted(_text(value) for value in present.unique()))
    if len(categories) <= max(FEW_CATEGORIES, min(MAX_CATEGORIES, len(present) / 2)):
        return Column(name, "category", categories=categories)
    not_numbers = present[pd.to_numeric(present.astype(object), errors="coerce").isna()]
    if 0 < 2 * len(not_numbers) < len(present):  # a mark such as "?" in a numeric column
        found = f"{not_numbers.iloc[0]!r} ({len(not_numbers)} such rows)"
        raise DataError(f"column {name!r}: must hold numbers alone, got {found}: leave missing values empty")
    return Column(name, "ignored", reason=f"{len(categories)} different texts in {len(present)} rows")


def _numbers(values: Series, name: str) -> Array:
    """Converts values to (n_rows,) float64 with NaN where one is missing."""
    import pandas as pd

    coerced = pd.to_numeric(values if values.dtype.kind in "biuf" else values.astype(object), errors="coerce")
    numbers = coerced.to_numpy(dtype=np.float64, na_value=np.nan)
    present = values.notna().to_numpy()
    with np.errstate(over="ignore"):
        wrong = present & ~np.isfinite(numbers.astype(np.float32))
    if wrong.any():
        example, n_wrong = values.to_numpy(dtype=object)[wrong][0], np.count_nonzero(wrong)
        raise DataError(f"column {name!r}: must hold finite float32 numbers, got {example!r} ({n_wrong} such rows)")
    return numbers


def _text(value: object) -> str:
    """Returns a category's text; a whole number has the same text as an integer and as a float."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
