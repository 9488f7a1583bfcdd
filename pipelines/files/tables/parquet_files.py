"""Reads a ``.parquet`` file, opens a large one, and says how much memory it will need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DataError
from pipelines.files.archives import require_memory
from pipelines.files.sources import suffix_of
from pipelines.files.tables.faults import require_unique
from pipelines.files.tables.large import UNNAMED_INDEX, LargeTable, nested_names
from pipelines.resources import free_bytes

if TYPE_CHECKING:
    import pandas as pd

LARGE = 1_000_000
"""A file of so many rows is read in pieces, its float64 numbers as float32 where that loses nothing."""
_NEEDED_BYTES = 5  # a field at the highest, measured with ten million rows by twenty columns of numbers
_LARGE = "{}: {:,} rows by {} columns need about {:.1f} GB of memory, {:.1f} GB are free"


def announce(path: Path) -> str:
    """Returns a line about the memory that a large ``.parquet`` file will need; empty for others."""
    if suffix_of(path) != ".parquet":
        return ""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            n_rows, n_columns = file.metadata.num_rows, file.metadata.num_columns
    except (OSError, ValueError, pa.ArrowException):  # reading it says what is wrong with it
        return ""
    needed, free = _NEEDED_BYTES * n_rows * n_columns / 1e9, free_bytes() / 1e9
    return _LARGE.format(path, n_rows, n_columns, needed, free) if n_rows >= LARGE else ""


def read_parquet(path: Path, exact: Sequence[str]) -> pd.DataFrame | LargeTable:
    """Reads all rows, or opens a large file; ``exact`` names columns of it that keep their digits."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        require_unique(path, file.schema_arrow.names)
        n_rows, n_columns = file.metadata.num_rows, file.metadata.num_columns
        nested = nested_names({field.name: field.type for field in file.schema_arrow})
        texts = [field.name for field in file.schema_arrow if not pa.types.is_primitive(field.type)]
        # Finds text that is not UTF-8, which reading does not.
        for batch in file.iter_batches(columns=texts) if texts else ():
            batch.validate(full=True)
    if n_rows >= LARGE:
        _require_room(path, n_rows, n_columns)
        return LargeTable(path, exact)
    require_memory(path, 8 * n_rows * n_columns)
    frame = pd.read_parquet(path)
    names = [str(name) for name in frame.index.names if name is not None]
    if not names and frame.index.dtype.kind not in "iu":  # row numbers have no name, and say nothing
        names = [UNNAMED_INDEX]
    frame.attrs = {"index": names, "nested": nested}
    return frame


def _require_room(path: Path, n_rows: int, n_columns: int) -> None:
    needed, free = _NEEDED_BYTES * n_rows * n_columns, free_bytes()
    if needed > free:
        found = _LARGE.format(path, n_rows, n_columns, needed / 1e9, free / 1e9)
        raise DataError(f"{found}: use fewer rows or columns, or a larger machine")
