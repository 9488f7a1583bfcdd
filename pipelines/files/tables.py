"""Reads a table from a ``.csv`` or ``.parquet`` file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DataError, UnavailableError
from pipelines.files.archives import require_memory

if TYPE_CHECKING:
    import pandas as pd


_SAMPLE_BYTES = 1 << 20


def read_table(path: Path, text_columns: Iterable[str] = ()) -> pd.DataFrame:
    """Reads a table whose first line or schema names its columns.

    Args:
        path: A ``.csv`` (UTF-8, commas) or ``.parquet`` file.
        text_columns: Columns of a ``.csv`` to keep as text even if they look like numbers, because the training
            table had text in them.

    Returns:
        (n_rows, n_columns), with text column names and rows counted from 0.

    Raises:
        DataError: The file is no such table, is empty, or repeats a column name.
        UnavailableError: The file cannot be opened.
    """
    import pandas as pd

    try:
        frame = _read_csv(path, text_columns) if path.suffix.lower() == ".csv" else _read_parquet(path)
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


def _read_csv(path: Path, text_columns: Iterable[str]) -> pd.DataFrame:
    import pandas as pd

    require_memory(path, _estimate_bytes(path))
    # pandas renames repeated columns, so the names are checked first.
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True)
    _require_unique(path, first.iloc[0].dropna())
    as_text = dict.fromkeys(text_columns, str)
    frame = pd.read_csv(path, low_memory=False, skipinitialspace=True, dtype=as_text)
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: rows must have one field a column, got more fields than names: add column names")
    return frame


def _estimate_bytes(path: Path) -> int:
    """Estimates the bytes of the table in memory: eight per field, counted in the first megabyte of the file."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    n_fields = sample.count(b",") + sample.count(b"\n")
    return 8 * n_fields * path.stat().st_size // max(1, len(sample))


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        require_memory(path, 8 * file.metadata.num_rows * file.metadata.num_columns)
        for batch in file.iter_batches():  # finds text that is not UTF-8, which reading does not
            batch.validate(full=True)
    return pd.read_parquet(path)


def _require_unique(path: Path, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: column names must differ, got {', '.join(repeated)} more than once: rename them")
