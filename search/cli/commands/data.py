"""``datasets`` and ``init``: what to look at, and what to write, before anything is searched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import UnavailableError
from search.cli.options import Home, Json, Target, complete_source
from search.home.settings import read_settings

if TYPE_CHECKING:
    from pipelines.config import DataConfig


def datasets(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE", help="digits, mnist, fashion_mnist or a file.", autocompletion=complete_source
        ),
    ] = None,
    target: Target = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw a grid of examples with their labels.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show the built-in datasets; or one dataset: shapes, ranges, classes, missing values, splits, examples."""
    from pipelines.config import DataConfig
    from pipelines.data.description import describe
    from pipelines.files.sources import SOURCES, is_available
    from search.reporting import display

    folders = read_settings(home).data_folders
    if source is None:
        if target or figure:
            raise typer.BadParameter("--target and --figure need a dataset: give its NAME or FILE")
        found = [{"name": name, "available": is_available(name, folders)} for name in SOURCES]
        display.show(display.sources_table(found), found, as_json=as_json)
        return
    config = DataConfig(source, target)
    if figure:
        _draw_examples(config, folders, figure)
    description = describe(config, folders)
    drawn = {"figure": str(figure)} if figure else {}
    display.show(display.description_tables(description), asdict(description) | drawn, as_json=as_json)
    if figure:
        display.message(f"wrote {figure}")


def _draw_examples(config: DataConfig, folders: tuple[Path, ...], path: Path) -> None:
    from pipelines.data.datasets import load
    from pipelines.evaluation.figures import example_grid, save

    dataset = load(config, folders)
    save(example_grid(dataset.training.x, dataset.training.y, dataset.class_names), path)


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")] = Path("study.toml"),
    home: Home = None,  # noqa: ARG001  (every command takes it)
    as_json: Json = False,
) -> None:
    """Write a study file with every setting explained; a file that exists is left as it is."""
    from search.reporting import display
    from search.spec.template import STUDY_TEMPLATE

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STUDY_TEMPLATE)
    except FileExistsError as error:
        raise UnavailableError(f"{path}: exists already and is left as it is: choose another name") from error
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written ({error.strerror}): choose another place") from error
    display.show([f"wrote {path}"], {"path": str(path)}, as_json=as_json)
    display.message(f"next: mlp-search plan {path}, or mlp-search run {path}")
