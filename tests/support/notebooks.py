"""Executes a notebook in a folder and a home of its own: ``python tests/support/notebooks.py FILE`` writes it back."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600


def execute(path: Path, folder: Path, **environ: str) -> nbformat.NotebookNode:
    """A notebook with the outputs of all of its cells.

    Args:
        path: The notebook.
        folder: The kernel's working directory, and the place of its home.
        **environ: Environment variables of the kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    settings = {
        "MLP_SEARCH_HOME": str(folder / "home"),
        "PLOTLY_RENDERER": "notebook_connected",  # figures of some kilobytes, whose program the browser fetches
        "PYTHONPATH": str(ROOT),
    }
    with _environment(settings | environ):
        client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", record_timing=False,
                                resources={"metadata": {"path": str(folder)}})  # fmt: skip
        client.execute()
    return notebook


class ProcessorTime:
    """The processor time of all processes below this one, those that nobody waits for included."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessorTime:
        self._look()
        self._before = self.seconds
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> float:
        """Seconds of processors, of all processes together."""
        return sum(self._seconds.values())

    @property
    def used(self) -> float:
        """Those within the block."""
        return self.seconds - self._before

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            self._look()

    def _look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._seconds[process.pid, process.create_time()] = times.user + times.system


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        executed = execute(file, Path(place))
    executed.metadata.pop("widgets", None)
    executed.metadata["language_info"] = {"name": "python"}
    nbformat.write(executed, file)
