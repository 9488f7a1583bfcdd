"""Options that several commands share, shell completion, and the names of options in errors."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from glob import escape
from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import AskedPrecision, ClassWeight as _Weights, Hyperparameters
from pipelines.errors import MlpSearchError, SpecError
from pipelines.objectives import OBJECTIVES
from search.cli.option_groups import one_of, suggesting, values_of
from search.home.addresses import sqlite_file
from search.home.settings import read_settings

_OPTION = re.compile(r"^options, (?P<start>start[^:]*)?(?:[^:]*\.)?(?P<key>[^:.]*)(?=:)")
_PART = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_PART}h)?(?:{_PART}m(?:in)?)?(?:{_PART}s)?")
DATA = "digits, mnist, fashion_mnist or a data file"
_SOURCES = {"digits": "1,797 pictures, 8 x 8", "mnist": "handwritten digits", "fashion_mnist": "pieces of clothing"}


def _files(incomplete: str, *suffixes: str) -> list[tuple[str, str]]:
    """Files and folders whose path begins with ``incomplete``."""
    folder, slash, start = incomplete.rpartition("/")
    entries: list[Path] = []
    with suppress(OSError, RuntimeError):  # no such user; a shell would show the traceback
        entries = sorted(Path(folder + slash or ".").expanduser().glob(escape(start) + "*"))
    directories = {entry for entry in entries if os.path.isdir(entry)}  # noqa: PTH112  (Path.is_dir may raise)
    files = [entry.name for entry in entries if entry.suffix.lower() in suffixes and entry not in directories]
    folders = [f"{entry.name}/" for entry in entries if entry in directories]
    return [(folder + slash + name, "") for name in files + folders]


def _sources(incomplete: str) -> list[tuple[str, str]]:
    built_in = [(name, what) for name, what in _SOURCES.items() if name.startswith(incomplete)]
    return built_in + _files(incomplete, ".npz", ".csv", ".tsv", ".gz", ".parquet")


def inputs(incomplete: str) -> list[tuple[str, str]]:
    """The files whose rows can be predicted."""
    return _files(incomplete, ".npz", ".csv", ".tsv", ".gz", ".parquet", ".png", ".jpg", ".jpeg")


def _study_files(incomplete: str) -> list[tuple[str, str]]:
    return _files(incomplete, ".toml")


def own_studies(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The names of this home's studies, the newest first."""
    return _names(ctx, "optuna_storage", "SELECT study_name FROM studies ORDER BY study_id DESC", incomplete)


def own_models(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """The names of this home's registered models."""
    return _names(ctx, "registry_uri", "SELECT name FROM registered_models ORDER BY name", incomplete)


def _names(ctx: typer.Context, database: str, query: str, incomplete: str) -> Iterator[str]:
    """Names in one of the home's databases, read with SQL: importing Optuna or MLflow takes too long for a shell."""
    path = None
    with suppress(MlpSearchError):  # the command itself says what is wrong
        path = sqlite_file(getattr(read_settings(ctx.params.get("home")), database))
    if path is None:
        return
    address = f"{path.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:
        yield from (name for (name,) in connection.execute(query) if name.startswith(incomplete))


def _studies_or_sources(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    names = [(name, "resume this study") for name in own_studies(ctx, incomplete) if name not in _SOURCES]
    files = dict.fromkeys(_study_files(incomplete) + _sources(incomplete))  # both have the folders
    return [*files, *names]


def hyperparameter_values(incomplete: str) -> list[str]:
    """The names of hyperparameters, each before the value that is to be typed."""
    return [f"{field.name}=" for field in fields(Hyperparameters) if field.name.startswith(incomplete)]


def duration_s(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m`` or ``1h30m``."""
    with suppress(ValueError):
        return float(text)
    parts = _DURATION.fullmatch(text.strip().lower())
    if not text.strip() or parts is None:
        raise typer.BadParameter(f"must be a number, got {text!r}: give seconds, or as in 15m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return 3600 * hours + 60 * minutes + seconds


def argument(metavar: str, text: str, complete: Callable[..., Iterable[object]] | None = None) -> object:
    """A positional argument whose values ``complete`` suggests to the shell."""
    return typer.Argument(metavar=metavar, help=text, autocompletion=complete)


def option(
    metavar: str,
    text: str,
    default: object = None,
    *names: str,
    complete: Callable[..., Iterable[object]] | None = None,
) -> object:
    """An option with a value.

    Args:
        metavar: The value's name in the help; or its values, which the shell then suggests.
        text: The effect of the option.
        default: The default to show, for an option that is None if not given.
        *names: Its names, unless it has that of the parameter.
        complete: Suggests values to the shell where the help does not show them.
    """
    return typer.Option(
        *names,
        metavar=metavar,
        help=text,
        show_default=True if default is None else str(default),
        autocompletion=complete or values_of(metavar),
    )


Home = Annotated[Path | None, option("FOLDER", "Folder of studies, runs and models.", "MLP_SEARCH_HOME, else mlruns/")]
Study = Annotated[str, argument("STUDY", "A study's name.", own_studies)]
StudyOrSource = Annotated[
    str,
    argument(
        "STUDY.toml|SOURCE|STUDY",
        f"A study file; or {DATA}, searched with a preset; or a study to resume with its own settings.",
        _studies_or_sources,
    ),
]
Name = Annotated[str | None, option("NAME", "The study's name.", "the file's, else the source's", "--study")]
Trials = Annotated[
    int | None, option("N", "Budget in trials, over all runs.", "the study's; a new one: 64 without --timeout")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="S",
        parser=duration_s,
        help="Budget in seconds, or as 15m or 1h30m, over all runs.",
        show_default="the study's, else no limit",
    ),
]
Source = Annotated[str, argument("SOURCE", f"{DATA}.", _sources)]
Dataset = Annotated[str | None, argument("NAME|FILE", f"{DATA}.", _sources)]
Objective = Annotated[
    str | None,
    option(
        "METRIC",
        "Ranks trials, picks epochs: val_accuracy, val_auc, val_rmse, …",
        "val_accuracy, val_rmse",
        complete=suggesting(OBJECTIVES),
    ),
]
ClassWeight = Annotated[str | None, option(one_of(_Weights), "Weights of the classes in the loss.", "none")]
Gpus = Annotated[str | None, option("N|LIST", "Number of GPUs, or their indexes or UUIDs: 0,2. 0: cores.", "all")]
Workers = Annotated[
    int | None, option("N", "Trials that train at the same time.", "one per GPU, else one per core", "--workers")
]
Precision = Annotated[
    str | None,
    option(one_of(AskedPrecision), "Precision of matrix products in training.", "auto, by processor and sizes"),
]
_PRESETS, _PRESET_HELP = "classic|strong|tiny", "The space and its start configurations."
Preset = Annotated[str | None, option(_PRESETS, _PRESET_HELP, "strong; classic for arrays with fewer than 5,000 rows")]
FilePreset = Annotated[str | None, option(_PRESETS, _PRESET_HELP, "strong for tables, classic for arrays", "--preset")]
Pool = Annotated[str, option("local|ray", "Train in processes of this machine, or on a Ray cluster.")]
Seed = Annotated[int | None, option("N", "Seed of the configurations, weights and batches.", 0)]
SETTINGS = {
    "name": Name,
    "trials": Trials,
    "timeout_s": Timeout,
    "slots": Workers,
    "gpus": Gpus,
    "precision": Precision,
    "preset": Preset,
    "seed": Seed,
    "objective": Objective,
    "class_weight": ClassWeight,
}
"""Options of ``plan`` and ``run``, by their key in the study file."""
KeepModels = Annotated[
    int | None, option("N", "Keep the model files of the best N trials, delete the others.", "the study's, else all")
]
Auto = Annotated[bool, typer.Option("--auto", help="Spend the budget on trials, then on new seeds of the best.")]
Like = Annotated[
    list[str] | None,
    option(
        "STUDY",
        "Start from the best configurations of an earlier study; may be repeated.",
        "none",
        complete=own_studies,
    ),
]
Figure = Annotated[Path | None, option("FILE.png", "Draw the first example to this file.", "no figure")]


@contextmanager
def options_named(**names: str) -> Iterator[None]:
    """Names options in errors as the user typed them: ``options, study.trials: ...`` becomes ``--trials: ...``.

    Args:
        **names: The option of each key of the study file whose option has another name.
    """

    def option_of(place: re.Match[str]) -> str:
        return place["start"] or names.get(place["key"], f"--{place['key'].replace('_', '-')}")

    try:
        yield
    except SpecError as error:
        # The other problems are those of the study file itself.
        raise SpecError(re.sub(_OPTION, option_of, problem) for problem in error.problems) from error
