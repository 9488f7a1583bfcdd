"""Arrays that processes of one machine share: written once, mapped by each, gone with the last of them."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass
from multiprocessing import reduction
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import UnavailableError

_ALIGNMENT = 64  # what TensorFlow wants of memory that it uses in place


@dataclass(frozen=True, slots=True)
class _Block:
    offset: int
    shape: tuple[int, ...]
    dtype: str


class SharedDataset:
    """A dataset in a file without a name, so that nothing is left behind however the processes end.

    It can be pickled to a process that is being started, and only then.

    Args:
        dataset: The rows to share.

    Raises:
        UnavailableError: There is no room for them, in memory or among the temporary files.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._meta = (dataset.name, dataset.preprocessing, dataset.fingerprint, dataset.n_test)
        arrays = [array for split in (dataset.training, dataset.validation) for array in (split.x, split.y)]
        n_bytes = sum(array.nbytes + _ALIGNMENT for array in arrays)
        folder = folder_for(n_bytes)
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._blocks = [self._write(array) for array in arrays]
            self._file.flush()
        except OSError as error:
            raise UnavailableError(
                f"{folder}: must have room for the {-(-n_bytes // 2**20)} MB of {dataset.name}, got {error.strerror}:"
                " free some, or name another folder in TMPDIR"
            ) from error

    def _write(self, array: np.ndarray) -> _Block:
        offset = -(-self._file.seek(0, 2) // _ALIGNMENT) * _ALIGNMENT
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(array).data)
        return _Block(offset, array.shape, array.dtype.str)

    def __reduce__(self) -> tuple[Any, ...]:
        return _attach, (reduction.DupFd(self._file.fileno()), self._blocks, self._meta)


def folder_for(n_bytes: int) -> Path:
    """Memory where it has room for so many bytes, as a container's may not; else the folder of temporary files."""
    in_memory = Path("/dev/shm")  # noqa: S108
    has_room = in_memory.is_dir() and shutil.disk_usage(in_memory).free > n_bytes
    return in_memory if has_room else Path(tempfile.gettempdir())


def _attach(handle: Any, blocks: list[_Block], meta: tuple[str, Preprocessing, str, int]) -> Dataset:
    with os.fdopen(handle.detach(), "rb+") as file:
        memory = mmap.mmap(file.fileno(), 0)
    arrays = [
        np.frombuffer(memory, block.dtype, int(np.prod(block.shape)), block.offset).reshape(block.shape)
        for block in blocks
    ]
    name, preprocessing, fingerprint, n_test = meta
    return Dataset(name, Split(*arrays[:2]), Split(*arrays[2:]), preprocessing, fingerprint, n_test)
