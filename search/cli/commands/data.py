"""``datasets`` and ``init``: look at data, write a study file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import DataConfig
from pipelines.errors import UnavailableError
from search.cli.options import Figure, Home, Json, Target, argument, complete_source
from search.home import read_settings
from search.reporting import display

Dataset = Annotated[str | None, argument("NAME|FILE", "digits, mnist, fashion_mnist or a data file.", complete_source)]
Output = Annotated[Path, argument("PATH", "The file to write.")]


def datasets(
    source: Dataset = None, target: Target = None, figure: Figure = None, home: Home = None, as_json: Json = False
) -> None:
    """List the built-in datasets; or show one: shapes, ranges, classes, missing values, splits, examples.

    Example: mlp-search datasets digits --figure examples.png
    """
    from pipelines.data.description import describe

    folders = read_settings(home).data_folders
    if source is None:
        if target or figure:
            raise typer.BadParameter("--target and --figure need a dataset: give its NAME or FILE")
        _list_sources(folders, as_json=as_json)
        return
    config = DataConfig(source, target)
    if figure:
        _draw_examples(config, folders, figure)
    description = describe(config, folders)
    drawn = {"figure": str(figure)} if figure else {}
    display.show(display.description_tables(description), asdict(description) | drawn, as_json=as_json)
    if figure:
        display.message(f"wrote {figure}")


def _list_sources(folders: tuple[Path, ...], *, as_json: bool) -> None:
    from pipelines.files.sources import SOURCES, is_available

    found = {name: is_available(name, folders) for name in SOURCES}
    rows = [(name, "yes" if is_here else "no: downloaded on first use") for name, is_here in found.items()]
    table = display.table(("dataset", "on this machine"), rows)
    files = "or the path of a .npz, .csv or .parquet file"
    display.show(
        [table, files], [{"name": name, "available": is_here} for name, is_here in found.items()], as_json=as_json
    )


def _draw_examples(config: DataConfig, folders: tuple[Path, ...], path: Path) -> None:
    from pipelines.data.datasets import load
    from pipelines.evaluation.figures import example_grid, save

    dataset = load(config, folders)
    save(example_grid(dataset.training.x, dataset.training.y, dataset.class_names), path)


def init(
    path: Output = Path("study.toml"),
    home: Home = None,  # noqa: ARG001  (every command takes it)
    as_json: Json = False,
) -> None:
    """Write a study file with every setting explained; an existing file is left unchanged.

    Example: mlp-search init study.toml
    """
    from search.spec.template import STUDY_TEMPLATE

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STUDY_TEMPLATE)
    except OSError as error:
        raise UnavailableError(f"{path}: must be a new file, got {error.strerror}: choose another path") from error
    display.show([f"wrote {path}"], {"path": str(path)}, as_json=as_json)
    display.message(f"next: mlp-search plan {path}, or mlp-search run {path}")
