"""Opens a table of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipelines.errors import DataError
from pipelines.files.sources import suffix_of
from pipelines.files.tables.csv_files import read_csv
from pipelines.files.tables.faults import require_unique, translated
from pipelines.files.tables.large import LargeTable
from pipelines.files.tables.parquet_files import read_parquet

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "pd.DataFrame | LargeTable"
SHORT = "rows with fewer fields than there are names: {:,}, the first is row {}; what they lack counts as missing"
"""The line on the ``short`` rows of a table, with their number and the first."""


def open_table(path: Path, text_columns: Iterable[str] = (), literal_columns: Sequence[str] = ()) -> Table:
    """Reads a table whose first line or schema names its columns; a large ``.parquet`` file is opened alone.

    Args:
        path: A ``.csv`` or ``.tsv`` (UTF-8; commas, semicolons, tabs or bars between the fields; also ``.gz``), or a
            ``.parquet`` file.
        text_columns: Columns of a ``.csv`` to keep as text even if they look like numbers, because the training
            table had text in them.
        literal_columns: Columns of a ``.csv`` in which a text such as ``NA`` is a text, and only an empty field is
            missing, and columns of a large file that keep their digits.

    Returns:
        (n_rows, n_columns), with text column names and rows counted from 0. Its ``attrs`` hold the ``separator``, a
        comma as ``decimal`` where a column shows it and other separators are used, the columns whose points separate
        ``thousands`` there, the ``index`` columns that are not
        read, the columns of numbers with leading ``zeros``, those of ``rounded`` whole numbers, the ``short`` rows that
        lack fields, and the ``nested`` columns: those of lists, structs and maps.

    Raises:
        DataError: The file is no such table, is empty, or repeats a column name.
        UnavailableError: The file cannot be opened.
    """
    with translated(path):
        is_parquet = suffix_of(path) == ".parquet"
        frame = read_parquet(path, literal_columns) if is_parquet else read_csv(path, text_columns, literal_columns)
    require_unique(path, [str(name) for name in frame.columns])
    if len(frame) == 0:
        raise DataError(f"{path}: must hold rows below its column names, got none: add rows")
    if isinstance(frame, LargeTable):
        return frame
    frame.columns = frame.columns.map(str)
    return frame.reset_index(drop=True)


def read_table(path: Path, text_columns: Iterable[str] = (), literal_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Reads all rows of a table; arguments and errors are those of ``open_table``."""
    table = open_table(path, text_columns, literal_columns)
    if not isinstance(table, LargeTable):
        return table
    with translated(path):
        return table.frame()
