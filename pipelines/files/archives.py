"""Reads arrays of an ``.npz`` file that is not trusted: no pickles, and no more than fits in memory."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from pipelines.errors import DataError, UnavailableError
from pipelines.resources import free_bytes

Array = npt.NDArray[Any]

_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one array in an archive, read before any value.

    Attributes:
        shape: Shape of the array.
        dtype: Type of its values.
        fortran_order: Whether the first axis varies fastest in the file.
        n_bytes_held: Bytes of values that the archive holds; a damaged file may hold more or less than the shape asks.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    n_bytes_held: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the values, by shape and type."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def n_bytes_kept(self) -> int:
        """Bytes of the values once loaded: numbers other than uint8 become float32, at least."""
        widened = self.dtype.kind in "biuf" and self.dtype != np.uint8
        return math.prod(self.shape) * max(self.dtype.itemsize, 4 if widened else 1)


def require_memory(path: Path, n_bytes: int) -> None:
    """Raises DataError where ``n_bytes`` of rows and a copy of them exceed the free memory."""
    free = free_bytes()
    if 2 * n_bytes > free:
        raise DataError(
            f"{path}: rows and one copy of them must fit in memory, got {2 * n_bytes / 1e9:.1f} GB where "
            f"{free / 1e9:.1f} GB are free: use fewer rows or a larger machine"
        )


def read_headers(path: Path) -> dict[str, Header]:
    """Reads shape and type of every array in the archive, by name.

    Raises:
        DataError: Not an ``.npz`` archive, or a damaged one.
        UnavailableError: The file cannot be opened.
    """
    with _open(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        return {member.filename.removesuffix(".npy"): _read_header(archive, member) for member in members}


def read_array(path: Path, name: str, header: Header) -> tuple[Array, str]:
    """Reads one array and the sha256 of its name, type, shape and bytes.

    Args:
        path: The archive.
        name: Name of the array.
        header: Its header, as ``read_headers`` returned it.

    Raises:
        DataError: The archive is damaged, or the array holds Python objects.
    """
    if header.n_bytes != header.n_bytes_held:
        raise DataError(
            f"{path}: {name} must hold {header.n_bytes} bytes, got {header.n_bytes_held}: write the file again"
        )
    with _open(path) as archive, archive.open(f"{name}.npy") as member:
        array = npy.read_array(member, allow_pickle=False)
    digest = hashlib.sha256(f"{name} {header.dtype.str} {header.shape} {header.fortran_order}".encode())
    plain = array.view(np.int64) if array.dtype.kind in "Mm" else array  # times have no buffer
    digest.update((plain.T if header.fortran_order else plain).data)  # the bytes in the order of the file
    return array, digest.hexdigest()


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    with archive.open(member) as file:
        # A header says how long it is, up to 4 GB, and NumPy would read all of that before it checks the length.
        start = io.BytesIO(file.read(_MAX_HEADER_BYTES))
    read = npy.read_array_header_1_0 if npy.read_magic(start) == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read(start)
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return Header(shape, dtype, fortran_order, member.file_size - start.tell())


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an archive and translates whatever goes wrong with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # zipfile, its decompressors and NumPy's header reader each raise their own
        raise DataError(
            f"{path}: must be a complete .npz archive, got {type(error).__name__} "
            f"({' '.join(str(error).split())[:200]}): write it again with numpy.savez_compressed"
        ) from error
