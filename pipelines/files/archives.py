"""Reads arrays of an ``.npz`` file without trusting it: no pickles, and nothing that memory cannot hold."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import psutil
from numpy.lib import format as npy

from pipelines.errors import DataError, UnavailableError

Array = npt.NDArray[Any]

_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Header:
    """What an archive promises of one array, known before a row of it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    @property
    def n_bytes(self) -> int:
        """Bytes the array takes as it is read."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def n_bytes_kept(self) -> int:
        """Bytes of what is made of it: numbers become float32, where they are not uint8."""
        widened = self.dtype.kind in "biuf" and self.dtype != np.uint8
        return math.prod(self.shape) * max(self.dtype.itemsize, 4 if widened else 1)


def require_memory(path: Path, n_bytes: int) -> None:
    """Raise DataError where ``n_bytes`` of rows and a copy of them do not fit in the memory that is free."""
    free_bytes = psutil.virtual_memory().available
    if 2 * n_bytes > free_bytes:
        raise DataError(
            f"{path}: rows and one copy of them must fit in memory, got {2 * n_bytes / 1e9:.1f} GB where "
            f"{free_bytes / 1e9:.1f} GB are free: use fewer rows or a larger machine"
        )


def read_headers(path: Path) -> dict[str, Header]:
    """Shapes and types of every array in the archive, by name.

    Raises:
        DataError: Not an ``.npz`` archive, or one that is damaged.
        UnavailableError: The file cannot be opened.
    """
    with _opened(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        headers = {}
        for name in names:
            with archive.open(name) as member:
                headers[name.removesuffix(".npy")] = _read_header(member)
        return headers


def read_arrays(path: Path, headers: Mapping[str, Header], names: Sequence[str]) -> tuple[list[Array], list[str]]:
    """Read the named arrays, each with the sha256 of its type, shape and bytes.

    Raises:
        DataError: The archive is damaged.
    """
    arrays, digests = [], []
    for name in names:
        header = headers[name]
        flat = np.empty(header.n_bytes, dtype=np.uint8)
        digests.append(_stream(path, name, header, flat))
        order: Any = "F" if header.fortran_order else "C"
        arrays.append(np.ndarray(header.shape, header.dtype, flat.data, order=order))
    return arrays, digests


def hash_arrays(path: Path, headers: Mapping[str, Header], names: Sequence[str]) -> list[str]:
    """The sha256 of each named array, in one pass that keeps none of its bytes."""
    return [_stream(path, name, headers[name], None) for name in names]


def _stream(path: Path, name: str, header: Header, out: Array | None) -> str:
    """Pass one array's bytes through sha256 and, where ``out`` is given, into it."""
    digest = hashlib.sha256(f"{name} {header.dtype.str} {header.shape} {header.fortran_order}".encode())
    position = 0
    with _opened(path) as archive, archive.open(f"{name}.npy") as member:
        _read_header(member)
        while chunk := member.read(_CHUNK_BYTES):
            digest.update(chunk)
            # An archive may hold more bytes than its header promises; the count below catches it.
            if out is not None and position + len(chunk) <= len(out):
                out[position : position + len(chunk)] = np.frombuffer(chunk, dtype=np.uint8)
            position += len(chunk)
            if position > header.n_bytes:
                break
    if position != header.n_bytes:
        raise DataError(f"{path}: {name} must hold {header.n_bytes} bytes, got {position}: write the file again")
    return digest.hexdigest()


def _read_header(member: IO[bytes]) -> Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    length = member.read(2 if version == (1, 0) else 4)
    # NumPy would read all that a header says it has, up to 4 GB, before it finds that too long.
    text = member.read(min(int.from_bytes(length, "little"), _HEADER_BYTES))
    shape, fortran_order, dtype = read(io.BytesIO(length + text))
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return Header(shape, dtype, fortran_order)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, with what can go wrong in it told as ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # zipfile, its decompressors and NumPy's header reader each have their own
        raise DataError(
            f"{path}: must be an .npz archive that is whole, got {type(error).__name__} "
            f"({' '.join(str(error).split())[:200]}): write it again with numpy.savez_compressed"
        ) from error
