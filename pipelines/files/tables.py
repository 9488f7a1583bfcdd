"""Reads a table from a ``.csv``, ``.tsv`` or ``.parquet`` file."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import psutil

from pipelines.errors import DataError, UnavailableError
from pipelines.files.archives import require_memory
from pipelines.files.columns import FINE
from pipelines.files.sources import suffix_of

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import parquet

    from pipelines.files.text_forms import Series


SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 1 << 20
_N_SAMPLE_ROWS = 1000
LARGE = 1_000_000
"""A ``.parquet`` file of so many rows is read in pieces, its float64 numbers as float32 where that loses nothing."""
_KEPT_BYTES = 4
_NEEDED_BYTES = 13  # a field at the highest, measured with ten million rows by twenty columns of numbers
_UNNAMED = "__index_level_"  # how pandas names an index without a name in a file
_LARGE = "{}: {:,} rows by {} columns need about {:.1f} GB of memory, {:.1f} GB are free"
MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Texts that stand for a missing value, as pandas reads them by default."""


def read_table(path: Path, text_columns: Iterable[str] = (), literal_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a table whose first line or schema names its columns.

    Args:
        path: A ``.csv`` or ``.tsv`` (UTF-8; commas, semicolons, tabs or bars between the fields; also ``.gz``), or a
            ``.parquet`` file.
        text_columns: Columns of a ``.csv`` to keep as text even if they look like numbers, because the training
            table had text in them.
        literal_columns: Columns of a ``.csv`` in which a text such as ``NA`` is a text, and only an empty field is
            missing.

    Returns:
        (n_rows, n_columns), with text column names and rows counted from 0. Its ``attrs`` hold the ``separator``, the
        ``index`` columns that are not read, and the columns of numbers with leading ``zeros``.

    Raises:
        DataError: The file is no such table, is empty, or repeats a column name.
        UnavailableError: The file cannot be opened.
    """
    import pandas as pd

    try:
        is_parquet = suffix_of(path) == ".parquet"
        frame = _read_parquet(path, literal_columns) if is_parquet else _read_csv(path, text_columns, literal_columns)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}: must be UTF-8 text, got byte 0x{byte:02x}: save the table as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: must name its columns in the first line, got an empty file: add them") from error
    except DataError:
        raise
    except Exception as error:  # pandas and Arrow raise many types for malformed files
        if isinstance(error, OSError) and error.errno:  # Arrow raises OSError without a number for a damaged file
            raise UnavailableError(f"{path}: cannot be read ({error.strerror})") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}): write it again") from error
    _require_unique(path, [str(name) for name in frame.columns])
    if len(frame) == 0:
        raise DataError(f"{path}: must hold rows below its column names, got none: add rows")
    frame.columns = frame.columns.map(str)
    return frame.reset_index(drop=True)


def _read_csv(path: Path, text_columns: Iterable[str], literal_columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    separator = _sample(path)
    # pandas renames repeated columns, so the names are checked first.
    first = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, skipinitialspace=True)
    names = first.iloc[0].fillna(first.columns.to_series().map("Unnamed: {}".format)).tolist()
    _require_unique(path, names)
    missing = {name: [""] if name in literal_columns else MISSING for name in names}
    frame = pd.read_csv(
        path,
        sep=separator,
        low_memory=False,
        skipinitialspace=True,
        dtype=dict.fromkeys(text_columns, str),
        na_values=missing,
        keep_default_na=False,
    )
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: rows must have one field a column, got more fields than names: add column names")
    texts = pd.read_csv(path, sep=separator, nrows=_N_SAMPLE_ROWS, dtype=str, skipinitialspace=True)
    zeros = [name for name in frame.select_dtypes("integer") if texts[name].str.fullmatch(r"0\d+").any()]
    frame.attrs = {"separator": separator, "zeros": zeros}
    return frame


def _sample(path: Path) -> str:
    """Returns the separator of the fields, the one that makes most of them in the first rows.

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
    n_fields = text.count(separator) + text.count("\n")
    require_memory(path, 8 * n_fields * n_bytes // max(1, len(sample)))
    return separator


def _count_fields(text: str, separator: str) -> int:
    """Returns the fewest fields of the first rows."""
    rows = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    with suppress(csv.Error):  # pandas says what is wrong
        return min(map(len, islice(filter(None, rows), 5)), default=0)
    return 0


def announce(path: Path) -> str:
    """Returns a line about the memory that a large ``.parquet`` file will need; empty for others."""
    if suffix_of(path) != ".parquet":
        return ""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            n_rows, n_columns = file.metadata.num_rows, file.metadata.num_columns
    except (OSError, ValueError):  # reading it says what is wrong with it; Arrow's errors are such
        return ""
    needed, free = _NEEDED_BYTES * n_rows * n_columns / 1e9, psutil.virtual_memory().available / 1e9
    return _LARGE.format(path, n_rows, n_columns, needed, free) if n_rows >= LARGE else ""


def _read_parquet(path: Path, exact: Sequence[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        _require_unique(path, file.schema_arrow.names)
        n_rows = file.metadata.num_rows
        require_memory(path, (_KEPT_BYTES if n_rows >= LARGE else 8) * n_rows * file.metadata.num_columns)
        texts = [field.name for field in file.schema_arrow if not pa.types.is_primitive(field.type)]
        # Finds text that is not UTF-8, which reading does not.
        for batch in file.iter_batches(columns=texts) if texts else ():
            batch.validate(full=True)
        frame = _read_in_pieces(file, exact) if n_rows >= LARGE else pd.read_parquet(path)
    names = [str(name) for name in frame.index.names if name is not None]
    if not names and frame.index.dtype.kind not in "iu":  # row numbers have no name, and say nothing
        names = ["(without a name)"]
    frame.attrs = {"index": names}
    return frame


def _read_in_pieces(file: parquet.ParquetFile, exact: Sequence[str]) -> pd.DataFrame:
    """Reads one column after the other, so that only one exists twice; float64 becomes float32.

    Columns stay as they are where the steps of float32 values are coarse for the column's range, and where named.
    """
    import pandas as pd

    described = file.schema_arrow.pandas_metadata or {}
    index = [name for name in described.get("index_columns", ()) if isinstance(name, str)]
    names = [None if name.startswith(_UNNAMED) else name for name in index]
    columns = {name: _read_column(file, name, exact=name in exact) for name in file.schema_arrow.names}
    frame = pd.DataFrame({name: values for name, values in columns.items() if name not in index}, copy=False)
    return frame.set_index([columns[name] for name in index]).rename_axis(names) if index else frame


def _read_column(file: parquet.ParquetFile, name: str, *, exact: bool) -> Series:
    """Reads one column, and rounds its float64 numbers to float32 unless that loses what a model can use."""
    values: Series = file.read(columns=[name], use_threads=False).column(0).to_pandas(self_destruct=True)
    if exact or values.dtype != np.float64:
        return values
    numbers = values.to_numpy()
    if np.isnan(numbers).all():
        return values
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    largest = max(abs(low), abs(high))
    is_fine = largest < np.finfo(np.float32).max and np.spacing(np.float32(largest)) <= FINE * (high - low)
    return values.astype(np.float32) if is_fine else values


def _require_unique(path: Path, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: column names must differ, got {', '.join(repeated)} more than once: rename them")
