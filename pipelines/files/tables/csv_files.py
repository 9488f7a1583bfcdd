"""Reads a ``.csv`` or ``.tsv`` file, and finds what separates its fields."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pipelines.errors import DataError
from pipelines.files.archives import require_memory
from pipelines.files.columns import EXACT
from pipelines.files.tables.faults import require_unique
from pipelines.files.text_forms import are_marks, match_number

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 1 << 20
_N_SAMPLE_ROWS = 1000
_COMMA, _NUMBER = r"[-+]?\d[\d.]*,(?:\d{1,2}|\d{4,})", r"[-+]?\d[\d.]*(?:,\d+)?"
_THOUSANDS = r"[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d{1,3})"
MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Texts that stand for a missing value, as pandas reads them by default."""


def read_csv(path: Path, text_columns: Iterable[str], literal_columns: Sequence[str]) -> pd.DataFrame:
    """Reads all rows; arguments, returns and errors are those of ``open_table``."""
    import pandas as pd

    separator, short = _sample(path)
    # pandas renames repeated columns, so the names are checked first.
    form: dict[str, Any] = {"sep": separator, "skipinitialspace": True, "keep_default_na": False}
    first = pd.read_csv(path, header=None, nrows=1, na_values=[""], dtype=str, **form)
    names = first.iloc[0].fillna(first.columns.to_series().map("Unnamed: {}".format)).tolist()
    require_unique(path, names)
    missing = {name: [""] if name in literal_columns else MISSING for name in names}
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            frame: pd.DataFrame = pd.read_csv(
                path,
                low_memory=False,
                index_col=False,  # else pandas takes the first of too many fields for row names
                na_values=missing,
                dtype=dict.fromkeys(text_columns, str),
                **form,
            )
    except pd.errors.ParserWarning as error:
        rule = "rows must have one field a column, got more fields than names"
        raise DataError(f"{path}: {rule}: add column names, or remove what follows the last column") from error
    texts = pd.read_csv(path, nrows=_N_SAMPLE_ROWS, dtype=str, index_col=False, **form).fillna("")
    declared = {*literal_columns} & {*frame.columns}  # rows to predict have the numbers of some other columns as texts
    decimal = "," if separator != "," and _has_decimal_commas(frame.drop(columns=declared), texts) else ""
    as_texts = form | {"index_col": False, "na_values": missing, "dtype": str}
    thousands = _keep_thousands(frame, texts, partial(_read_columns, path, as_texts)) if decimal else []
    frame.attrs = {"separator": separator, "decimal": decimal, "thousands": thousands, "short": short}
    frame.attrs["zeros"], frame.attrs["rounded"] = _lost_digits(frame, texts)
    return frame


def _read_columns(path: Path, form: dict[str, Any], names: list[str]) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(path, usecols=names, **form)
    return frame


def _lost_digits(frame: pd.DataFrame, texts: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Returns the columns of numbers whose texts have leading zeros, and those of whole numbers that floats round."""
    zeros = [str(name) for name in frame.select_dtypes("number") if texts[name].str.fullmatch(r"0\d+").any()]
    # Whole numbers become floats where one is missing.
    gaps = [str(name) for name in frame.select_dtypes("float") if frame[name].hasnans]
    rounded = [name for name in gaps if texts[name].str.fullmatch(r"[-+]?\d{16,}").any()]
    return zeros, [name for name in rounded if frame[name].abs().max() > EXACT]


def _has_decimal_commas(frame: pd.DataFrame, texts: pd.DataFrame) -> bool:
    """Whether a column holds numbers with decimal commas, some of which no separator of thousands can explain."""
    for name in frame.select_dtypes(["object", "string"]):
        distinct = texts[name].drop_duplicates()
        present = distinct[~are_marks(distinct)]
        if present.str.fullmatch(_COMMA).any() and all(match_number(text, ",") for text in present):
            return True
    return False


def _keep_thousands(frame: pd.DataFrame, texts: pd.DataFrame, read: Callable[[list[str]], pd.DataFrame]) -> list[str]:
    """Puts texts in place of numbers whose points may all separate thousands; returns the names of their columns.

    ``read`` reads columns as texts.
    """
    likely = [str(name) for name in frame.select_dtypes("float") if _fit_thousands(texts[name]).all()]
    whole = read(likely) if likely else texts
    found = [name for name in likely if _are_thousands(whole[name].dropna())]
    for name in found:
        frame[name] = whole[name]
    return found


def _fit_thousands(texts: pd.Series[Any]) -> pd.Series[bool]:
    return texts.isin(MISSING) | texts.str.fullmatch(_THOUSANDS)


def _are_thousands(texts: pd.Series[Any]) -> bool:
    """Whether the points of all of these texts separate thousands: decimals of three digits have a point in each."""
    distinct = texts.drop_duplicates()
    has_point = distinct[~distinct.isin(MISSING)].str.contains(".", regex=False)
    return bool(_fit_thousands(distinct).all() and has_point.any() and not has_point.all())


def _sample(path: Path) -> tuple[str, tuple[int, ...]]:
    """Returns the separator of the fields, the one that makes most of them in the first rows, and the short rows.

    Those are the rows, counted from 1, that have fewer fields than there are names: a separator may be missing, or the
    end of the file. They are looked for in files of up to a megabyte.

    Raises:
        DataError: The table does not fit in memory: eight bytes per field, counted in the first megabyte.
    """
    is_packed = path.suffix.lower() == ".gz"
    with cast(BinaryIO, gzip.open(path)) if is_packed else path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        n_bytes = len(sample) + sum(map(len, iter(lambda: file.read(_SAMPLE_BYTES), b"")))
    if b"\0" in sample:
        raise DataError(f"{path}: must be UTF-8 text, got a null byte, as in UTF-16: save the table as UTF-8")
    text = sample.decode("utf-8-sig", "replace")
    separator = max(SEPARATORS, key=lambda separator: _count_fields(text, separator))
    if _is_one_column_of_commas(text):
        separator = next((each for each in SEPARATORS if each not in text), separator)
    n_fields = text.count(separator) + text.count("\n")
    require_memory(path, 8 * n_fields * n_bytes // max(1, len(sample)))
    return separator, _short_rows(text, separator) if n_bytes == len(sample) else ()


def _is_one_column_of_commas(text: str) -> bool:
    """Whether there is one name, and numbers with decimal commas that are not quoted."""
    with suppress(csv.Error):  # pandas says what is wrong
        if all(len(next(_rows(text, each), ())) == 1 for each in SEPARATORS):
            rows = list(islice(_rows(text, ","), 1, _N_SAMPLE_ROWS))
            numbers = [",".join(row) for row in rows if row[0] not in MISSING]
            return any(len(row) > 1 for row in rows) and all(re.fullmatch(_NUMBER, number) for number in numbers)
    return False


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    """Yields the fields of each row that is not blank."""
    rows = csv.reader(io.StringIO(text, newline=None), delimiter=separator, skipinitialspace=True)
    return (row for row in rows if len(row) > 1 or any(map(str.strip, row)))


def _short_rows(text: str, separator: str) -> tuple[int, ...]:
    rows, found = _rows(text, separator), []
    with suppress(csv.Error):  # pandas says what is wrong
        n_names = len(next(rows, ()))
        found = [number for number, row in enumerate(rows, 1) if len(row) < n_names]
    return tuple(found)


def _count_fields(text: str, separator: str) -> int:
    """Returns the fewest fields of the first rows."""
    with suppress(csv.Error):  # pandas says what is wrong
        return min(map(len, islice(_rows(text, separator), 5)), default=0)
    return 0
