"""Reads a text column of a table as numbers or dates: one reading for the whole column."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:  # workers import this module, and pandas is slow to import
    import pandas as pd

Series: TypeAlias = "pd.Series[Any]"

MAX_CATEGORIES = 50
FEW_CATEGORIES = 10
MAX_DECLARED = 1000
TEXT, IGNORED, STRIPPED = "text", "ignored", "stripped"
"""Formats of columns that the user declares text, or leaves out; and of texts with blanks around them."""
# fmt: off
MISSING = frozenset({
    "", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "null",
    "nan", "nat", "none", "?", "??", "???", "-", "--", "---", ".", "..", "...", "*", "n.a.", "n.a", "nil", "nd", "n.d.",
    "k.a.", "missing", "unknown", "undefined", "not available", "not applicable", "#null!", "#div/0!", "#value!",
    "#ref!", "#num!", "#name?",
})
"""Texts, in lower case, that stand for a missing number or date."""
_MONEY = r"(?:[$€£¥₹₽₩₺₪฿₫]|US\$|R\$|EUR|USD|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|Fr\.|kr\.?|zł)?\s*"
_BLANKS = " \u00a0\u2009\u202f'\u2019_"  # what separates thousands besides commas and points
_NUMBER = (
    rf"\(?([-+\u2212]?)\s*{_MONEY}([-+\u2212]?)((?:[1-9]\d{{0,2}}(?:(?:T\d{{3}})+|(?:[{_BLANKS}]\d{{3}})+)|\d*)(?:D\d*)?)"
    rf"(e[-+]?\d+)?\s*{_MONEY}(%?)\)?"
)
NUMBER_FORMATS = (".", ",")
"""Decimal points and commas; the other one of the two, a blank or an apostrophe may separate thousands."""
_DATES = (
    "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%Y.%m.%d",
    "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d. %B %Y",
)
# fmt: on
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_DATE_FORMATS = ("ISO8601", *("".join(parts) for parts in product(_DATES, _TIMES)), "%H:%M", "%H:%M:%S", "%I:%M %p")
_N_SAMPLED = 100


def is_category(n_texts: int, n_rows: int, text_format: str = "") -> bool:
    """Whether texts of a column are categories; more of them identify rows instead of describing them."""
    most = MAX_DECLARED if text_format == TEXT else min(MAX_CATEGORIES, n_rows / 2)
    return n_texts <= max(FEW_CATEGORIES, most)


def read_texts(
    values: Series, name: str, formats: tuple[str, ...], *, numeric: bool = False
) -> tuple[Series, str, str]:
    """Reads a column of texts as what most of them are: numbers, dates, or texts.

    Args:
        values: (n_rows,) texts; missing ones are None or NaN.
        name: The column's name.
        formats: ``NUMBER_FORMATS``, the likelier one first.
        numeric: Whether the column must hold numbers, however few do.

    Returns:
        The values, as float64 or datetime64 where they are numbers or dates; their format, empty for texts; and a line
        that says how they were read.

    Raises:
        DataError: Most values are numbers or dates, but others are neither these nor marks of a missing value.
    """
    import pandas as pd

    codes, uniques = pd.factorize(values.astype(object))  # code -1 is a missing value
    texts = pd.Series(uniques, dtype=object)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    marks = _are_marks(texts)
    chosen, parsed = _read_likeliest(texts, counts, formats if numeric else (*formats, *_DATE_FORMATS))
    others = parsed.isna() & ~marks
    n_read = counts[parsed.notna()].sum()
    if not numeric and (n_read == 0 or n_read <= counts[others].sum()):
        return _strip(values, name)
    if others.any() and not numeric and is_category(len(texts), len(values)):
        return _strip(values, name)
    kind = "numbers" if chosen in NUMBER_FORMATS else "dates"
    if others.any():
        wrong = found(values, np.isin(codes, np.flatnonzero(others)))
        raise DataError(
            f"column {name!r}: must hold {kind} alone, got {wrong}: correct these values, leave missing ones empty, or"
            f" declare the column in data.text_columns or data.ignore"
        )
    return parsed.reindex(codes).set_axis(values.index), chosen, _describe(name, kind, texts, parsed, counts, marks)


def _read_likeliest(texts: Series, counts: Array, formats: tuple[str, ...]) -> tuple[str, Series]:
    """Returns the format that most rows have, the first of equals, and the texts read in it."""
    sample = texts[~_are_marks(texts)].head(_N_SAMPLED)
    if 2 * sample.str.contains(r"\d.*\d").sum() < len(sample):
        formats = tuple(text_format for text_format in formats if text_format in NUMBER_FORMATS)  # no dates
    likely = [text_format for text_format in formats if 2 * parse(sample, text_format).notna().sum() >= len(sample)]
    read = {text_format: parse(texts, text_format) for text_format in likely or formats[:1]}
    return max(read.items(), key=lambda item: counts[item[1].notna()].sum())


def _are_marks(texts: Series) -> Series:
    return texts.str.strip().str.casefold().isin(MISSING)


def parse(texts: Series, text_format: str) -> Series:
    """Reads texts in a format, as float64 or datetime64; NaN or NaT where one has another format."""
    import pandas as pd

    if text_format not in NUMBER_FORMATS:
        dates = pd.to_datetime(texts.str.strip(), format=text_format, errors="coerce", utc=True)
        return dates.dt.tz_localize(None)
    thousands = NUMBER_FORMATS[text_format == "."]
    pattern = _NUMBER.replace("T", re.escape(thousands)).replace("D", re.escape(text_format))
    match = re.compile(pattern, re.IGNORECASE).fullmatch
    plain = str.maketrans(text_format, ".", thousands + _BLANKS)
    return pd.Series([_number(match(text.strip()), plain) for text in texts], texts.index, dtype=np.float64)


def _number(match: re.Match[str] | None, plain: dict[int, int | None]) -> float:
    """Returns the number of a match of ``_NUMBER``; parentheses stand for a minus sign, as in accounts."""
    digits = match[3].translate(plain) if match else ""
    if match is None or digits in {"", "."}:
        return np.nan
    sign = -1 if match[0].startswith("(") or {"-", "\u2212"} & {match[1], match[2]} else 1
    return sign * float(digits + (match[4] or "")) / (100 if match[5] else 1)


def _strip(values: Series, name: str) -> tuple[Series, str, str]:
    stripped = values.str.strip()
    n_changed = int((stripped != values)[values.notna()].sum())
    if not n_changed:
        return values, "", ""
    return stripped, STRIPPED, f"column {name!r}: blanks around texts are removed, in {n_changed} rows"


def _describe(name: str, kind: str, texts: Series, parsed: Series, counts: Array, marks: Series) -> str:
    """Returns the line that says how a column was read, with an example and the marks of missing values."""
    import pandas as pd

    plain = pd.to_numeric(texts, errors="coerce").notna()
    example = int(np.argmax(parsed.notna() & ~plain))  # the first text that is not a plain number
    value = parsed.iloc[example]
    shown = f"{value:.15g}" if kind == "numbers" else str(value)
    line = f"column {name!r}: texts are read as {kind}, {texts.iloc[example]!r} as {shown}"
    if marks.any():
        line += (
            f"; {', '.join(map(repr, texts[marks]))} ({counts[marks].sum()} of {counts.sum()} rows) counts as missing"
        )
    return line


def to_numbers(values: Series, name: str, text_format: str = "") -> Array:
    """Converts a column's values to (n_rows,) float64 with NaN where one is missing.

    Raises:
        DataError: A value is not a finite number that ``float32`` can hold.
    """
    import pandas as pd

    if values.dtype.kind in "biuf":
        numbers, present = values.to_numpy(dtype=np.float64, na_value=np.nan), values.notna().to_numpy()
    else:
        codes, uniques = pd.factorize(values.astype(object))
        is_text = np.array([isinstance(value, str) for value in uniques], dtype=bool)
        texts = pd.Series(uniques, dtype=object)
        read = pd.to_numeric(texts.mask(is_text), errors="coerce").astype(np.float64)
        read[is_text] = parse(texts[is_text], text_format or ".")
        missing = texts.map(lambda value: isinstance(value, str) and value.strip().casefold() in MISSING).astype(bool)
        numbers = read.reindex(codes).to_numpy()
        present = ~np.append(missing, True)[codes]  # code -1, a missing value, takes the last
    with np.errstate(over="ignore"):
        wrong = present & ~np.isfinite(numbers.astype(np.float32))
    if wrong.any():
        raise DataError(f"column {name!r}: must hold finite float32 numbers, got {found(values, wrong)}")
    return numbers


def to_days(values: Series, name: str, text_format: str) -> Array:
    """Converts a column's dates to (n_rows,) float64 days since 1970 with NaN where one is missing.

    Raises:
        DataError: A value is not a date in the column's format.
    """
    import pandas as pd

    if values.dtype.kind != "M":
        texts = values.astype(object).map(str, na_action="ignore")
        dates = parse(texts, text_format or "ISO8601")
        wrong = (values.notna() & dates.isna() & ~texts.str.strip().str.casefold().isin(MISSING)).to_numpy()
        if wrong.any():
            raise DataError(f"column {name!r}: must hold dates such as in training, got {found(values, wrong)}")
        values = dates
    elif getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert(None)
    return ((values - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)


def found(values: Series, wrong: Array) -> str:
    """Names the first of the wrong values, their number and the first of their rows, counted from 1."""
    rows = np.flatnonzero(wrong)
    first = ", ".join(str(row + 1) for row in rows[:3])
    return f"{values.iloc[[rows[0]]].tolist()[0]!r} ({len(rows)} such rows, the first {first})"
