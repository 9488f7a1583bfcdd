"""Learns from the training rows how a column becomes features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from pipelines.config import Scaling
from pipelines.encoding.categories import choose_own, reason_to_ignore
from pipelines.encoding.column import Column, Kind, text_of
from pipelines.encoding.curves import learn_curve, learn_edges, learn_quantiles
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.columns import FINE, IGNORED, TEXT, is_category, to_days, to_numbers
from pipelines.files.kinds import DATES, DURATIONS, FEATURES, kind_of
from pipelines.files.text_forms import DURATION, NUMBER_AND_UNIT, Series

PLAIN: tuple[Scaling, ...] = ("minmax", "standard", "none")
"""Scalings whose columns have the features that the first version gave them."""
_TOO_MANY = "{} different texts in {} rows"


def learn_column(name: str, values: Series, text_format: str, scaling: Scaling) -> Column:
    """Learns from (n_rows,) values of the training rows.

    Args:
        name: The column's name.
        values: Its values as the file holds them.
        text_format: How its texts are read; empty where the file holds values.
        scaling: Of the table; all but ``PLAIN`` group categories.

    Raises:
        DataError: The type cannot be encoded, or numbers are infinite.
    """
    present = values.dropna()
    if text_format.startswith(IGNORED):
        return Column(name, "ignored", reason=text_format.removeprefix(f"{IGNORED}: "), format=text_format)
    if present.empty:
        return Column(name, "ignored", reason="no value in the training rows")
    if is_unnamed(name):
        return Column(name, "ignored", reason="no name, so taken for a saved index")
    inferred = kind_of(present)
    if inferred not in FEATURES:
        raise DataError(
            f"column {name!r}: must hold numbers, booleans, dates or text, got {inferred}: convert or drop it"
        )
    if text_format == TEXT or inferred == "string":
        return _learn_categories(name, present, text_format, is_plain=scaling in PLAIN)
    is_date = inferred in DATES
    numbers = to_days(present, name, text_format) if is_date else to_numbers(present, name, text_format)
    kind: Kind = "date" if is_date else "boolean" if inferred == "boolean" else "numeric"
    if inferred in DURATIONS:
        text_format = DURATION  # how a .csv or JSON holds them
    median, offset = float(np.nanmedian(numbers)), float(np.nanmin(numbers)) if is_date else _offset(numbers)
    column = Column(name, kind, median, indicator=len(present) < len(values), format=text_format, offset=offset)
    return column if scaling in PLAIN or kind == "boolean" else _with_curve(column, numbers, scaling)


def is_unnamed(name: str) -> bool:
    """Whether a column has no name in its file, so that pandas made one up, as for a saved index."""
    return name.startswith("Unnamed: ")


def _with_curve(column: Column, numbers: Array, scaling: Scaling) -> Column:
    """Adds the map of a column's (n_rows,) numbers, and under ``auto`` its ranges."""
    present = numbers[~np.isnan(numbers)]
    if scaling == "quantile":
        return replace(column, curve=learn_quantiles(present))
    if scaling != "auto" or np.isin(present, (0, 1)).all():
        return column
    curve = learn_curve(present, column.offset) if column.kind == "numeric" else None
    return replace(column, curve=curve, edges=learn_edges(present))


def _learn_categories(name: str, present: Series, text_format: str, *, is_plain: bool) -> Column:
    import pandas as pd

    is_text = isinstance(present.dtype, pd.StringDtype)
    codes, uniques = pd.factorize(present if is_text else present.map(text_of))
    n_texts, counts = len(uniques), np.bincount(codes, minlength=len(uniques))
    if is_plain or (text_format == TEXT and is_category(n_texts, len(present), text_format)):
        is_kept, reason = is_category(n_texts, len(present), text_format), _TOO_MANY.format(n_texts, len(present))
    else:
        reason = reason_to_ignore(n_texts, counts, len(present))
        is_kept = not reason
    if not is_kept:
        return Column(name, "ignored", reason=reason + _hint(uniques))
    texts = [str(text) for text in uniques]
    own, n_shared = (tuple(sorted(texts)), 0) if is_plain else choose_own(texts, counts, len(present))
    others = tuple(sorted(set(texts) - set(own)))
    return Column(name, "category", categories=own, format=text_format, n_shared=n_shared, others=others)


def _hint(texts: Collection[object]) -> str:
    """Returns what to do with texts that are numbers beside other characters, such as ``12.5 kg``."""
    n_numbers = sum(NUMBER_AND_UNIT.fullmatch(str(text).strip()) is not None for text in texts)
    return "; to use numbers, write them without units" if 2 * n_numbers > len(texts) else ""


def _offset(numbers: Array) -> float:
    """Returns the median where float32 merges values that differ, as it does with Unix times; else 0."""
    with np.errstate(over="ignore"):
        step = np.spacing(np.float32(np.abs(numbers).max()))
    if step <= FINE * np.ptp(numbers) or len(np.unique(numbers.astype(np.float32))) == len(np.unique(numbers)):
        return 0.0
    return float(np.median(numbers))
