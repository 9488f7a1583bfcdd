"""Options that several commands have, and what the shell completes for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from search.home.settings import read_settings

_SOURCES = {"digits": "1,797 pictures, 8 x 8", "mnist": "handwritten digits", "fashion_mnist": "pieces of clothing"}
_DATA_SUFFIXES = (".npz", ".csv", ".parquet")


def _files(incomplete: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Files and folders that go on from what was typed."""
    typed = Path(incomplete)
    folder, start = (typed, "") if incomplete.endswith("/") else (typed.parent, typed.name)
    try:
        entries = sorted(folder.expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(start) and (entry.suffix.lower() in suffixes or entry.is_dir()):
            yield str(folder / entry.name) + ("/" if entry.is_dir() else "")


def complete_source(incomplete: str) -> list[tuple[str, str]]:
    """Built-in datasets and data files."""
    built_in = [(name, what) for name, what in _SOURCES.items() if name.startswith(incomplete)]
    return built_in + [(path, "") for path in _files(incomplete, _DATA_SUFFIXES)]


def complete_study_file(incomplete: str) -> list[tuple[str, str]]:
    """Study files."""
    return [(path, "") for path in _files(incomplete, (".toml",))]


def complete_study_or_source(incomplete: str) -> list[tuple[str, str]]:
    """What ``run`` takes."""
    return complete_study_file(incomplete) + complete_source(incomplete)


def complete_study(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of this home's studies, straight from its file: a shell cannot wait for Optuna's import."""
    storage = read_settings(ctx.params.get("home")).optuna_storage
    path = storage.removeprefix("sqlite:///")
    if path == storage or not Path(path).is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=1)) as connection:
            rows = connection.execute("SELECT study_name FROM studies ORDER BY study_id DESC").fetchall()
    except sqlite3.Error:
        return []
    return [name for (name,) in rows if name.startswith(incomplete)]


Home = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="FOLDER", help="Where studies, runs and models are kept; else MLP_SEARCH_HOME, else mlruns/."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout and nothing else there.")]
Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name.", autocompletion=complete_study)]
Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="For tables: the column that holds the labels.")]
Gpus = Annotated[
    str | None,
    typer.Option(metavar="N|LIST", help="How many GPUs, or which: 0,2 or UUIDs; 0 trains on cores. Else all."),
]
Workers = Annotated[
    int | None, typer.Option(metavar="N", help="Trials that train at the same time; else one per GPU, or per core.")
]
