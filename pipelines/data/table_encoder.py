"""Columns of a table -> one ``float32`` number per feature: medians for gaps, 0/1 features for categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:  # a worker imports this module, and pandas takes long to import
    import pandas as pd

MAX_CATEGORIES = 50
FEW_CATEGORIES = 10
_KINDS: dict[str, Literal["numeric", "boolean", "category"]] = {
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "boolean": "boolean",
    "string": "category",
}


@dataclass(frozen=True, slots=True)
class Column:
    """How one column becomes features.

    Attributes:
        name: The column's name.
        kind: ``numeric`` and ``boolean`` give their number, ``category`` a 0/1 feature per category (zeros
            for a missing or unseen one), ``ignored`` nothing.
        median: Of the training rows; stands in for missing numbers.
        indicator: Whether a 0/1 feature tells missing numbers; so where a training row misses one.
        categories: Texts of the training rows, sorted.
        reason: Why the column is ignored.
    """

    name: str
    kind: Literal["numeric", "boolean", "category", "ignored"]
    median: float = 0.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    reason: str = ""

    @property
    def n_features(self) -> int:
        """How many numbers of a row come from this column."""
        return {"category": len(self.categories), "ignored": 0}.get(self.kind, 1 + self.indicator)

    def encode(self, values: pd.Series[Any]) -> Array:
        """(n_rows,) values as the file holds them to (n_rows, n_features) float32."""
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
    """Turns the columns of a table into features, in the order of the training table."""

    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, frame: pd.DataFrame) -> TableEncoder:
        """Learn medians and categories from (n_rows, n_columns) training rows without the target.

        A text column with more than 50 categories, or with more than 10 that are also more than one for every
        two rows, is ignored: it names rows instead of describing them. So is a column without a name: an index
        that was saved with the table.

        Raises:
            DataError: A column of a type that cannot be encoded, infinite numbers, or no column left.
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
        """Columns that ``read_table`` must keep as text in rows to predict."""
        return tuple(column.name for column in self.columns if column.kind == "category")

    def encode(self, frame: pd.DataFrame) -> Array:
        """Rows as the file holds them to (n_rows, n_features) float32; further columns are passed over.

        Raises:
            DataError: A column is missing, or holds what is not a number where training rows had numbers.
        """
        used = [column for column in self.columns if column.n_features]
        missing = [column.name for column in used if column.name not in frame.columns]
        if missing:
            raise DataError([f"column {name!r}: must be in the rows, got none of that name" for name in missing])
        return np.concatenate([column.encode(frame[column.name]) for column in used], axis=1)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for a JSON document."""
        return [{**asdict(column), "categories": list(column.categories)} for column in self.columns]

    @classmethod
    def from_json(cls, records: list[Mapping[str, Any]]) -> TableEncoder:
        """The inverse of ``to_json``."""
        return cls(tuple(Column(**{**record, "categories": tuple(record["categories"])}) for record in records))


def _learn_column(name: str, values: pd.Series[Any]) -> Column:
    from pandas.api.types import infer_dtype

    present = values.dropna()
    if present.empty:
        return Column(name, "ignored", reason="no value in the training rows")
    if name.startswith("Unnamed: "):  # what pandas calls a column without a name
        return Column(name, "ignored", reason="no name, so taken for a saved index")
    inferred = infer_dtype(present.tolist())
    if inferred not in _KINDS:
        raise DataError(f"column {name!r}: must hold numbers, booleans or text, got {inferred}: convert or drop it")
    kind = _KINDS[inferred]
    if kind == "category":
        return _learn_categories(name, present)
    numbers = _numbers(values, name)
    return Column(name, kind, median=float(np.nanmedian(numbers)), indicator=len(present) < len(values))


def _learn_categories(name: str, present: pd.Series[Any]) -> Column:
    import pandas as pd

    categories = tuple(sorted(_text(value) for value in present.unique()))
    if len(categories) <= max(FEW_CATEGORIES, min(MAX_CATEGORIES, len(present) / 2)):
        return Column(name, "category", categories=categories)
    not_numbers = present[pd.to_numeric(present.astype(object), errors="coerce").isna()]
    if 0 < 2 * len(not_numbers) < len(present):  # else a mark such as "?" would silently cost a numeric column
        raise DataError(
            f"column {name!r}: must hold numbers alone, got {not_numbers.iloc[0]!r} ({len(not_numbers)} such "
            "rows): leave missing values empty"
        )
    return Column(name, "ignored", reason=f"{len(categories)} different texts in {len(present)} rows")


def _numbers(values: pd.Series[Any], name: str) -> Array:
    """(n_rows,) float64 with NaN where a value is missing."""
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
    """A category's text; a whole number reads the same however pandas stored its column."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
