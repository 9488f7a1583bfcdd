"""Forms in which texts hold numbers, dates and missing values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipelines.errors import DataError

if TYPE_CHECKING:  # workers import this module, and pandas is slow to import
    import pandas as pd

Series: TypeAlias = "pd.Series[Any]"

# fmt: off
MISSING = frozenset({
    "", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "null",
    "nan", "nat", "none", "?", "??", "???", "-", "--", "---", ".", "..", "...", "*", "n.a.", "n.a", "nil", "nd", "n.d.",
    "k.a.", "missing", "unknown", "undefined", "not available", "not applicable", "#null!", "#div/0!", "#value!",
    "#ref!", "#num!", "#name?", "(null)", "\\n", "tbd", "blank", "(blank)", "empty", "_", "/", "\u2013", "\u2014",
})
"""Texts, in lower case, that stand for a missing number or date."""
_CODES = (
    "AUD|BGN|BRL|CAD|CHF|CLP|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KRW|MXN|NOK|NZD|PLN|RON|RUB|SEK|SGD|THB|"
    "TRY|UAH|USD|ZAR"
)
_MONEY = rf"(?:[A-Z]{{0,2}}\$|[€£¥₹₽₩₺₪฿₫¢]|{_CODES}|Fr\.|kr\.?|zł)?"
_BLANKS = " \u00a0\u2009\u202f'\u2019_"  # what separates thousands besides commas and points
_MINUS = "-\u2212\u2013"


def _pattern(point: str, comma: str) -> re.Pattern[str]:
    """Returns what matches a number with this decimal point and this separator of thousands, or of lakhs in India."""
    point, comma = re.escape(point), re.escape(comma)
    blocks = rf"(?:{comma}\d{{3}})+|(?:{comma}\d\d)+{comma}\d{{3}}|(?:[{_BLANKS}]\d{{3}})+"
    scientific = rf"(?:\d+(?:{point}\d*)?|{point}\d+)e[-+]?\d+"  # without separators of thousands
    digits = rf"(?P<digits>(?:[1-9]\d{{0,2}}(?:{blocks})|\d*)(?:{point}\d*)?|{scientific})"
    return re.compile(
        rf"\(?(?P<sign>[{_MINUS}+]?)\s*(?P<money>{_MONEY})\s*(?P<inner_sign>[{_MINUS}+]?){digits}\s*"
        rf"(?P<end_money>{_MONEY})\s*(?P<percent>%?)(?P<end_sign>[{_MINUS}]?)\)?",
        re.IGNORECASE,
    )


NUMBER_FORMATS = (".", ",")
"""Decimal points and commas; the other one of the two, a blank or an apostrophe may separate thousands."""
_PATTERNS = {".": _pattern(".", ","), ",": _pattern(",", ".")}
_PLAIN = {".": str.maketrans("", "", "," + _BLANKS), ",": str.maketrans(",", ".", "." + _BLANKS)}
_DATES = (
    "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%Y.%m.%d",
    "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d. %B %Y", "%d-%b-%y", "%b %d %Y",
    "%B %d %Y", "%a, %d %b %Y", "%A, %B %d, %Y", "%d/%b/%Y", "%Y-%m-%d", "%Y. %m. %d.", "%Y年%m月%d日",
)
# fmt: on
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S UTC")
NUMBER_AND_UNIT = re.compile(r"[<>~=\u2248]?\s*[-+]?\d[\d.,]*\s*\D{1,8}")
"""A text such as ``12.5 kg``."""
DURATION = "duration"
"""Format of durations such as ``24:14:38`` and ``1 days 02:00:00``, which are read as seconds."""
BOOLEAN = "boolean"
"""Format of the texts true and false in any case, which are read as 1 and 0."""
_TRUTH = {"true": 1.0, "false": 0.0}
_DURATION = r"(?:-?\d+ days?,? )?[-+]?\d+:\d\d:\d\d(?:\.\d+)?|-?P\d+DT\d+H\d+M\d+(?:\.\d+)?S"
_MAX_LENGTH = 500
_MAX_BITS = 1023
_BLOCK_TEXTS = 1 << 17
DATE_FORMATS = ("ISO8601", *("".join(parts) for parts in product(_DATES, _TIMES)), "%H:%M", "%H:%M:%S", "%I:%M %p")


def parse(texts: Series, text_format: str) -> Series:
    """Reads texts in a format, as float64 (seconds for durations) or datetime64; NaN or NaT for other texts."""
    return _in_blocks(texts, lambda block: _parse_block(block, text_format))


def _in_blocks(texts: Series, convert: Callable[[Series], Series]) -> Series:
    """Converts texts, millions of them some after the other: each copy of a text takes dozens of bytes."""
    import pandas as pd

    if len(texts) <= _BLOCK_TEXTS:
        return convert(texts.astype(object))
    starts = range(0, len(texts), _BLOCK_TEXTS)
    return pd.concat([convert(texts.iloc[start : start + _BLOCK_TEXTS].astype(object)) for start in starts])


def _parse_block(texts: Series, text_format: str) -> Series:
    import pandas as pd

    if text_format == DURATION:
        texts = texts.str.strip()
        texts = texts.where(texts.str.fullmatch(_DURATION).fillna(False).astype(bool), None).str.replace(",", "")
        return pd.to_timedelta(texts, errors="coerce").dt.total_seconds()
    if text_format == BOOLEAN:
        return texts.str.strip().str.casefold().map(_TRUTH).astype(np.float64)
    if text_format not in NUMBER_FORMATS:
        dates = pd.to_datetime(texts.str.strip(), format=text_format, errors="coerce", utc=True)
        return dates.dt.tz_localize(None)
    matches = [match_number(text, text_format) for text in texts]
    return pd.Series([_number(match, text_format) for match in matches], texts.index, dtype=np.float64)


def match_number(text: str, text_format: str) -> re.Match[str] | None:
    """Matches a text with the groups ``money``, ``end_money`` and ``percent``; None for other texts."""
    return _PATTERNS[text_format].fullmatch(text.strip())


def _number(match: re.Match[str] | None, text_format: str) -> float:
    """Returns the number of a match; parentheses stand for a minus sign, as in accounts."""
    digits = match["digits"].translate(_PLAIN[text_format]) if match else ""
    if match is None or digits in {"", "."}:
        return np.nan
    signs = (match["sign"], match["inner_sign"], match["end_sign"])
    is_negative = match[0].startswith("(") or any(sign and sign in _MINUS for sign in signs)
    return (-1 if is_negative else 1) * float(digits) / (100 if match["percent"] else 1)


def are_marks(texts: Series) -> Series:
    """Whether texts stand for a missing number or date."""
    return _in_blocks(texts, lambda block: block.str.strip().str.casefold().isin(MISSING))


def require_short(texts: Iterable[str], place: str, kind: str, remedy: str) -> None:
    """Refuses texts that are no names: NumPy gives each row the room of the longest one.

    Args:
        texts: The different ones.
        place: Begins the error.
        kind: Of text, such as ``labels``.
        remedy: Ends the error.

    Raises:
        DataError: One is too long.
    """
    longest = max(map(len, texts), default=0)
    if longest > _MAX_LENGTH:
        raise DataError(f"{place}: {kind} must have at most {_MAX_LENGTH} characters, got {longest:,}: {remedy}")


def within_float(number: Any) -> Any:
    """Returns infinity for a whole number that float64 cannot hold, and any other value as it is."""
    if not isinstance(number, int) or number.bit_length() <= _MAX_BITS:
        return number
    return math.inf if number > 0 else -math.inf
