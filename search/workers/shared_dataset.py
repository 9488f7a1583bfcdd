"""A dataset that processes of one machine share: written once, mapped by each, gone with the last of them."""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import tempfile
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError

_ALIGNMENT = 64  # bytes; what TensorFlow requires of memory that it uses in place


class SharedDataset:
    """A dataset in a file without a name, so that nothing is left behind however the processes end.

    It can be pickled to a process that is being started, and only then. The process gets a ``Dataset``.

    Args:
        dataset: The rows to share.

    Raises:
        UnavailableError: There is no room for them, in memory or among the temporary files.
    """

    def __init__(self, dataset: Dataset) -> None:
        buffers: list[pickle.PickleBuffer] = []
        # Protocol 5 hands out the arrays' own memory and pickles what else there is of the dataset.
        self._pickled = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        n_bytes = sum(array.nbytes + _ALIGNMENT for array in arrays)
        folder = folder_for(n_bytes)
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
            self._spans = [self._write(array) for array in arrays]
            self._file.flush()
        except OSError as error:
            raise UnavailableError(
                f"{folder}: must have room for the {-(-n_bytes // 2**20)} MB of {dataset.name}, got {error.strerror}:"
                " free some, or name another folder in TMPDIR"
            ) from error

    def _write(self, array: memoryview) -> tuple[int, int]:
        start = -(-self._file.tell() // _ALIGNMENT) * _ALIGNMENT
        self._file.seek(start)
        self._file.write(array)
        return start, start + array.nbytes

    def close(self) -> None:
        """Lets go of the file: its memory is free once no process maps it."""
        self._file.close()

    def __reduce__(self) -> tuple[object, ...]:
        return _attach, (reduction.DupFd(self._file.fileno()), self._pickled, self._spans)


def folder_for(n_bytes: int) -> Path:
    """The folder of memory where it has room for so many bytes, as a container's may not; else of temporary files."""
    in_memory = Path("/dev/shm")  # noqa: S108
    has_room = in_memory.is_dir() and shutil.disk_usage(in_memory).free > n_bytes
    return in_memory if has_room else Path(tempfile.gettempdir())


def _attach(handle: Any, pickled: bytes, spans: list[tuple[int, int]]) -> Dataset:
    with os.fdopen(handle.detach(), "rb+") as file:
        memory = memoryview(mmap.mmap(file.fileno(), 0))
    dataset: Dataset = pickle.loads(pickled, buffers=[memory[start:stop] for start, stop in spans])  # noqa: S301
    return dataset
