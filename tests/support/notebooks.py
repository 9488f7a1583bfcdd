"""Executes a notebook in a folder and a home of its own: ``python tests/support/notebooks.py FILE`` writes it back."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nbformat
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
