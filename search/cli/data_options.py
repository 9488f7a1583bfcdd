"""Options that say how data is read: the same ones for each command that reads data."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, TypeAlias

import typer

from pipelines.errors import InputError

DataOptions: TypeAlias = Mapping[str, object]
"""Values by their key in ``[data]``, of the options that were typed."""
NOTHING: DataOptions = MappingProxyType({})


def data_option(metavar: str, text: str, default: object) -> object:
    """An option among those on data in the help; the parameters are those of ``option``."""
    return typer.Option(metavar=metavar, help=text, show_default=str(default), rich_help_panel="Options on data")


_FOLDS = "5 in a new study of fewer than 5,000 rows, else 1"
_OPTIONS = {
    "target": data_option("COLUMN", "The column to predict, for tables.", "target"),
    "task": data_option("classification|regression", "What the target is.", "auto, by its values"),
    "group": data_option("COLUMN", "Rows with equal values stay in one split: those of a patient.", "none"),
    "time": data_option("COLUMN", "Training rows are before validation rows, these before test rows.", "none"),
    "split": data_option("COLUMN", "The words train, validation and test: the split of each row.", "none"),
    "weight": data_option("COLUMN", "Weights of the rows in the loss and in every metric.", "none"),
    "folds": data_option("N", "Folds of all rows but the test rows; each trial trains a network for each.", _FOLDS),
}
_WHOLE_NUMBERS = ("folds",)


def with_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options on data to a command.

    Its parameter ``data`` gets those that were typed, and its errors name them as they were typed.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = []
    for parameter in signature.parameters.values():
        given = [_parameter(name) for name in _OPTIONS] if parameter.name == "data" else [parameter]
        parameters += [found.replace(kind=inspect.Parameter.KEYWORD_ONLY) for found in given]

    @functools.wraps(command)
    def with_data(**given: object) -> None:
        typed = [name for name, value in given.items() if value is not None]
        data = {name: given.pop(name) for name in _OPTIONS}
        with _named_as_typed(typed):
            command(**given, data={name: value for name, value in data.items() if value is not None})

    with_data.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_data


def _parameter(name: str) -> inspect.Parameter:
    kind = int if name in _WHOLE_NUMBERS else str
    annotation = Annotated[kind | None, _OPTIONS[name]]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


@contextmanager
def _named_as_typed(typed: Sequence[str]) -> Iterator[None]:
    """Names keys in errors by the options that were typed: ``data.time: ...`` becomes ``--time: ...``."""
    try:
        yield
    except InputError as error:
        names = "|".join(typed)
        # Not in the middle of a path or of another name.
        key = re.compile(rf"(?<![\w./-])(?:data|search|space)\.({names})(?!\.?\w)|^({names})(?=:)")
        raise type(error)(key.sub(_option, problem) for problem in error.problems) from error


def _option(key: re.Match[str]) -> str:
    return f"--{(key[1] or key[2]).replace('_', '-')}"
