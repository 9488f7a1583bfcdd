"""``datasets`` and ``init``: look at data, write a study file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import search
from pipelines.config import DataConfig
from pipelines.errors import InputError, NotFoundError, SpecError, UnavailableError
from search.cli import tables
from search.cli.option_groups import NOTHING, GroupedOptions, with_option_groups
from search.cli.options import DATA, Dataset, Figure, FilePreset, Home, Like, argument, option, options_named
from search.home import read_settings
from search.reporting import display
from search.reporting.screen import Table

Output = Annotated[Path, argument("PATH", "The file to write.")]


@with_option_groups
def datasets(source: Dataset = None, data: GroupedOptions = NOTHING, figure: Figure = None, home: Home = None) -> None:
    """List the built-in datasets; or show one: shapes, ranges, classes, missing values, splits, examples.

    Example: mlp-search datasets digits --figure examples.png
    """
    from pipelines.data.description import describe

    folders = read_settings(home).data_folders
    if source is None:
        if data or figure:
            names = [f"--{name}" for name in (*data, *(["figure"] if figure else []))]
            raise typer.BadParameter(f"{', '.join(names)} need a dataset: give its NAME or FILE")
        _list_sources(folders)
        return
    with options_named():
        config = search.default_training(source, **data).data
    description = describe(config, folders, display.message, decide_folds=True)
    document = asdict(description)
    if figure:
        _draw_examples(config, folders, figure)
        document["figure"] = str(figure)
    display.notes(description.notes)
    display.show(tables.description_tables(description), document)


def _list_sources(folders: tuple[Path, ...]) -> None:
    from pipelines.files.sources import SOURCES, is_available

    document = [{"name": name, "available": is_available(name, folders)} for name in SOURCES]
    rows = [(row["name"], "yes" if row["available"] else "no: downloaded on first use") for row in document]
    table = Table(("dataset", "on this machine"), rows)
    display.show([table, "or the path of a .npz, .csv, .tsv or .parquet file"], document)


def _draw_examples(config: DataConfig, folders: tuple[Path, ...], path: Path) -> None:
    from pipelines.data.loading import load
    from pipelines.evaluation.figures import example_grid, save

    dataset = load(config, folders)
    target = dataset.preprocessing.target
    targets = target.decode(dataset.training.y) if target else dataset.training.y
    save(example_grid(dataset.training.x, targets, dataset.class_names), path)
    display.message(f"wrote {path}")


def _missing(source: str, target: str | None) -> str:
    """The line on a source without a file yet; empty where it has one.

    Raises:
        DataError: No source has such a name.
        SpecError: There is a target, but no table.
    """
    from pipelines.files.sources import SOURCES, is_table, locate

    if target is not None and not is_table(source):
        raise SpecError(f"--target: only tables have one, got {target!r} for {source}: give --source FILE.csv")
    try:
        if source not in SOURCES:
            locate(source)
    except NotFoundError as error:
        return str(error)
    return ""


def _study_name(source: str, target: str | None) -> str:
    """The name of a source's study.

    Raises:
        SpecError: No study may have the name of the file.
    """
    from pipelines.files.sources import stem_of
    from search.spec.rules import NAME_RULE, is_name

    if not is_name(name := stem_of(source)):
        raise SpecError(f"--source: the file's name, which the study gets, {NAME_RULE}, got {name!r}: rename the file")
    with options_named():
        return search.default_spec(source, target=target).name


def init(
    path: Output = Path("study.toml"),
    source: Annotated[str, option("SOURCE", f"{DATA}.", None, "--source")] = "digits",
    target: Annotated[str | None, option("COLUMN", "The column to predict, for tables.", "target")] = None,
    preset: FilePreset = None,
    like: Like = None,
    home: Home = None,
) -> None:
    """Write a study file with every setting explained; an existing file is left unchanged.

    Example: mlp-search init wine.toml --source wine.csv --target quality
    """
    from pipelines.files.sources import is_table
    from search.spec.defaults import DEFAULT_PRESET, PRESETS, study_template

    missing = _missing(source, target)
    preset = preset or (DEFAULT_PRESET if is_table(source) else "classic")
    if preset not in PRESETS:
        raise SpecError(f"--preset: must be one of {', '.join(PRESETS)}, got {preset!r}")
    name = _study_name(source, target)
    if path.suffix.lower() != ".toml" and not path.exists():
        raise InputError(f"{path}: must end in .toml: choose such a name")
    for study in like or ():
        search.trials(study, home=home)  # raises what is wrong with it
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(study_template(preset, like or (), source, target, name))
    except OSError as error:
        raise UnavailableError(f"{path}: must be a new file, got {error.strerror}: choose another path") from error
    display.show([f"wrote {path}"], {"path": str(path)})
    if missing:
        display.message(missing)
    display.suggest(display.command("plan", path, home=home), "forecasts its time and memory")
    display.suggest(display.command("run", path, home=home), "searches", before="      ")
