"""Converts a column of a table to numbers or days."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.text_forms import BOOLEAN, DURATION, MISSING, Series, parse, within_float

FINE = 2.0**-20
"""Share of a column's range that the steps of its float32 values may take."""
FILE_ROWS = "row of the file"
"""Name of an index that has the rows' numbers in their file, from 0, where some rows were left out."""
EXACT = 2**53
"""Whole numbers up to here are exact as float64."""
_MAX_SHOWN = 100
_MICROSECONDS_OF_A_DAY = 86_400 * 1_000_000


def merged(values: Series, name: str) -> str:
    """Returns a line about whole numbers or decimals that differ, but not as float64; an empty text if there are none.

    Args:
        values: (n_rows,) whole numbers or decimals, not floats.
        name: The column's name.
    """
    exact = values.dropna()
    numbers = (exact.map(within_float) if exact.dtype == object else exact).astype(np.float64)
    if exact.empty or numbers.abs().max() <= EXACT:
        return ""
    n_exact, n_numbers = exact.nunique(), numbers.nunique()
    if n_numbers == n_exact:
        return ""
    return (
        f"column {name!r}: {n_exact} different numbers are {n_numbers} as float64; put it into data.text_columns or"
        " data.ignore"
    )


def to_numbers(values: Series, name: str, text_format: str = "") -> Array:
    """Converts a column's values to (n_rows,) float64 with NaN where one is missing.

    Raises:
        DataError: A value is not a finite number that ``float32`` can hold.
    """
    import pandas as pd

    if values.dtype.kind == "c":
        raise DataError(f"column {name!r}: must hold finite float32 numbers, got complex ones: take a part of them")
    if values.dtype.kind == "m":  # durations count in seconds
        values = _plain_times(values).dt.total_seconds()
    if values.dtype.kind in "biuf":
        numbers, present = values.to_numpy(dtype=np.float64, na_value=np.nan), values.notna().to_numpy()
    else:
        codes, uniques = pd.factorize(values.astype(object))
        is_text = np.array([isinstance(value, str | time) for value in uniques], dtype=bool)
        # Times of a day became texts where a whole column of them was read.
        texts = pd.Series([_plain(value) for value in uniques], dtype=object)
        read = pd.to_numeric(texts.mask(is_text), errors="coerce").astype(np.float64)
        read[is_text] = parse(texts[is_text], text_format or ".")
        if text_format in (BOOLEAN, DURATION):  # plain numbers, too: 1 and 0, or seconds
            read[is_text] = read[is_text].fillna(parse(texts[is_text], "."))
        missing = texts.map(lambda value: isinstance(value, str) and value.strip().casefold() in MISSING).astype(bool)
        numbers = read.reindex(codes).to_numpy()
        present = ~np.append(missing, True)[codes]  # code -1, a missing value, takes the last
    with np.errstate(over="ignore"):
        wrong, rule = present & ~np.isfinite(numbers.astype(np.float32)), "finite float32 numbers"
    if text_format == BOOLEAN:
        wrong, rule = present & ~np.isin(numbers, (0.0, 1.0)), "true or false, as in training"
    if wrong.any():
        remedy = "correct them, or leave them empty"
        raise DataError(f"column {name!r}: must hold {rule}, got {found(values, wrong)}: {remedy}")
    return numbers


def _plain(value: Any) -> Any:
    """A time of a day as a text, a duration as its seconds; another value as pandas can convert it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, time) else within_float(value)


def _plain_times(values: Series) -> Series:
    """Returns dates or durations as NumPy holds them, whose accessor knows all that this module asks for."""
    import pandas as pd

    if not isinstance(values.dtype, pd.ArrowDtype):
        return values
    import pyarrow as pa

    plain: Series = pa.array(values).to_pandas(date_as_object=False)
    plain.index = values.index
    return plain


def to_days(values: Series, name: str, text_format: str) -> Array:
    """Converts a column's dates to (n_rows,) float64 days since 1970 with NaN where one is missing.

    Raises:
        DataError: A value is not a date in the column's format.
    """
    if values.dtype.kind != "M":
        # Of missing ones alone they would be float, which have no accessor of texts.
        texts = values.astype(object).map(str, na_action="ignore").astype(object)
        dates = parse(texts, text_format or "ISO8601")
        if text_format:  # the form of texts; str() gives a real date another one
            is_date = values.astype(object).map(lambda value: isinstance(value, date)).astype(bool)
            dates = dates.mask(is_date, parse(texts.where(is_date, None), "ISO8601"))
        wrong = (values.notna() & dates.isna() & ~texts.str.strip().str.casefold().isin(MISSING)).to_numpy()
        if wrong.any():
            raise DataError(
                f"column {name!r}: must hold dates such as in training, got {found(values, wrong)}: correct them"
            )
        values = dates
    else:
        values = _plain_times(values)
        values = values if values.dt.tz is None else values.dt.tz_convert(None)
    times = values.to_numpy().astype("M8[us]")  # nanoseconds reach from 1677 to 2262 alone
    microseconds = times.astype(np.int64).astype(np.float64)
    return np.where(np.isnat(times), np.nan, microseconds / _MICROSECONDS_OF_A_DAY)


def found(values: Series, wrong: Array) -> str:
    """Names the first of the wrong values, their number and the first of their rows in the file, counted from 1."""
    rows = np.flatnonzero(wrong)
    numbers = values.index[rows] if values.index.name == FILE_ROWS else rows
    first = ", ".join(str(row + 1) for row in numbers[:3])
    value = repr(values.iloc[[rows[0]]].tolist()[0])
    short = value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "…"
    return f"{short} ({len(rows)} such rows, the first {first})"
