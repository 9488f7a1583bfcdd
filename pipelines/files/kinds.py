"""The kind of a column's values, whatever their type."""

from __future__ import annotations

from pipelines.files.text_forms import Series

_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "floating", "M": "datetime64", "m": "timedelta"}
NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")
DURATIONS = ("timedelta", "timedelta64")
DATES = ("datetime", "datetime64", "date")
FEATURES = (*NUMBERS, *DURATIONS, *DATES, "boolean", "string")
"""Kinds of values that can become features."""
_NAMES = {"ndarray": "lists", "list": "lists", "dict": "structs"}
_REASON = "its values ({}) are no numbers, booleans, dates or texts"


def kind_of(values: Series) -> str:
    """Returns what pandas infers of (n_rows,) values."""
    import pandas as pd
    from pandas.api.types import infer_dtype

    if isinstance(values.dtype, pd.StringDtype) and values.notna().any():
        return "string"
    return _KINDS.get(values.dtype.kind) or str(infer_dtype(values.astype(object), skipna=True))


def holds_text(values: Series) -> bool:
    """Whether (n_rows,) values are texts."""
    return kind_of(values) == "string"


def why_no_features(values: Series, kind: str) -> str:
    """Returns why (n_rows,) values of a kind, such as lists or bytes, cannot become features; empty if they can."""
    if kind in FEATURES or not values.notna().any():
        return ""
    name = type(values[values.first_valid_index()]).__name__
    return _REASON.format(_NAMES.get(name, name))
