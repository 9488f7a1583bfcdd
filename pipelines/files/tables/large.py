"""A ``.parquet`` file that is read a column or some rows at a time, and never held as a whole."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import UnavailableError
from pipelines.files.columns import FINE
from pipelines.files.tables.faults import translated
from pipelines.files.text_forms import Series

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

Conversion = Callable[[Series], Series]

ROWS = 1 << 15
"""Rows of a part."""
_READ_BYTES = 1 << 16
UNNAMED_INDEX = "(without a name)"
_UNNAMED = "__index_level_"  # how pandas names an index without a name in a file


class LargeTable:
    """The columns of a file, with the names that a DataFrame has.

    A column of float64 numbers becomes float32 unless the steps of float32 are too coarse for its range. Values are
    read again each time that they are needed.

    Attributes:
        columns: Names of the columns, without those of a saved index.
        attrs: As those of ``files.tables.read_table``.

    Args:
        path: The file.
        exact: Columns that keep their digits.

    Raises:
        OSError, ValueError: The file cannot be read as Parquet.
    """

    def __init__(self, path: Path, exact: Sequence[str] = ()) -> None:
        self._path, self._exact = path, frozenset(exact)
        self._state = _state(path)
        with self._open() as file:
            described = file.schema_arrow.pandas_metadata or {}
            self._n_rows: int = file.metadata.num_rows
            names = file.schema_arrow.names
            types = {field.name: field.type for field in file.schema_arrow}
        self._index = [name for name in described.get("index_columns", ()) if isinstance(name, str)]
        self.columns = [name for name in names if name not in self._index]
        self.attrs = {"index": self._index_names(types), "nested": nested_names(types)}
        self._types: dict[str, Any] = {}
        self._conversions: dict[str, list[tuple[Conversion, Any]]] = {}

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, name: str) -> Series:
        """Reads a column, (n_rows,) as it was converted; dates without a time are datetime64."""
        return self._convert(self._read(name, date_as_object=False), name)

    def pop(self, name: str) -> Series:
        """Reads a column that is not read again."""
        self.columns.remove(name)
        return self._read(name)

    def drop(self, columns: Sequence[str]) -> LargeTable:
        """Returns the table without some columns."""
        other = object.__new__(LargeTable)
        other.__dict__ = {**self.__dict__, "columns": [name for name in self.columns if name not in columns]}
        return other

    def convert(self, name: str, conversion: Conversion, converted: Series) -> None:
        """Converts a column from now on, value by value.

        Args:
            name: Its name.
            conversion: Converts some of its values.
            converted: (n_rows,) what it makes of all; of their type are those of each part.
        """
        self._conversions.setdefault(name, []).append((conversion, converted.dtype))

    def parts(self, names: Sequence[str], *, date_as_object: bool = False) -> Iterator[pd.DataFrame]:
        """Reads some columns of some rows after the other; rows are numbered as in the file."""
        import pandas as pd

        for name in names:
            if name not in self._types:
                self._read(name)
        _release()
        start = 0
        with translated(self._path), self._open() as file:
            for batch in file.iter_batches(ROWS, columns=list(names)):
                index = pd.RangeIndex(start, start + batch.num_rows)
                start += batch.num_rows
                values = {
                    name: self._convert(self._typed(batch.column(name), name, date_as_object), name).set_axis(index)
                    for name in names
                }
                yield pd.DataFrame(values, index=index, copy=False)
        _release()

    def frame(self) -> pd.DataFrame:
        """Returns all rows and the index as pandas saved them."""
        import pandas as pd

        columns = {name: self._read(name) for name in (*self.columns, *self._index)}
        frame = pd.DataFrame({name: columns[name] for name in self.columns}, copy=False)
        names = [None if name.startswith(_UNNAMED) else name for name in self._index]
        if self._index:
            frame = frame.set_index([columns[name] for name in self._index]).rename_axis(names)
        frame.attrs = {"index": self.attrs["index"], "nested": self.attrs["nested"]}
        return frame

    def _index_names(self, types: Mapping[str, pa.DataType]) -> list[str]:
        """Returns the names of a saved index; row numbers have none, and say nothing."""
        import pyarrow as pa

        named = [name for name in self._index if not name.startswith(_UNNAMED)]
        are_numbers = len(self._index) == 1 and pa.types.is_integer(types[self._index[0]])
        return named or ([UNNAMED_INDEX] if self._index and not are_numbers else [])

    def _open(self) -> parquet.ParquetFile:
        from pyarrow import parquet

        if _state(self._path) != self._state:
            raise UnavailableError(f"{self._path}: was written to while it was read: run the command again")
        # Else the bytes of all columns of a row group are read at once.
        return parquet.ParquetFile(self._path, buffer_size=_READ_BYTES, pre_buffer=False)

    def _read(self, name: str, *, date_as_object: bool = True) -> Series:
        """Reads a column as the file holds it, or as float32."""
        with translated(self._path), self._open() as file:
            values = file.read(columns=[name], use_threads=False).column(0)
        if name not in self._types:
            self._types[name] = _type_of(values.to_pandas(), exact=name in self._exact)
        plain = self._typed(values, name, date_as_object)
        del values
        _release()
        return plain

    def _typed(self, values: pa.Array | pa.ChunkedArray, name: str, date_as_object: bool) -> Series:
        """Returns values as pandas holds them: of the type of the whole column, which a part may not tell."""
        import pyarrow as pa

        plain: Series = values.to_pandas(date_as_object=date_as_object, self_destruct=True)
        plain.name = name
        if pa.types.is_date(values.type) or plain.dtype == self._types[name]:
            return plain
        return plain.astype(self._types[name])

    def _convert(self, values: Series, name: str) -> Series:
        for conversion, dtype in self._conversions.get(name, ()):
            converted = conversion(values)
            values = converted if converted.dtype == dtype else converted.astype(dtype)
        return values


def nested_names(types: Mapping[str, pa.DataType]) -> list[str]:
    """Returns the columns of lists, structs and maps: their values have no hash and cannot be compared."""
    import pyarrow as pa

    return [name for name, of_column in types.items() if pa.types.is_nested(of_column)]


def _release() -> None:
    """Returns to the system what Arrow and the C library keep for later allocations, as much as several columns."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _state(path: Path) -> tuple[int, int]:
    """Returns what changes when a file is written to."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _type_of(values: Series, *, exact: bool) -> Any:
    """Returns float32 for float64 numbers unless that loses what a model can use; of others their own type."""
    if exact or values.dtype != np.float64:
        return values.dtype
    numbers = values.to_numpy()
    if np.isnan(numbers).all():
        return values.dtype
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    largest = max(abs(low), abs(high))
    is_fine = largest < np.finfo(np.float32).max and np.spacing(np.float32(largest)) <= FINE * (high - low)
    return np.dtype(np.float32) if is_fine else values.dtype
