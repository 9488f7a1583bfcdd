"""Groups of options that several commands have: on data, of a network, and those that a command names itself."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import typer

from pipelines.config import UNNAMED, Activation, Embedding, Normalization, Shape
from pipelines.errors import InputError
from pipelines.objectives import Task
from search.home.text import printable

GroupedOptions: TypeAlias = Mapping[str, object]
"""Values by their key in the study file, of the options that were typed."""
NOTHING: GroupedOptions = MappingProxyType({})


def data_option(metavar: str, text: str, default: object) -> object:
    """An option among those on data in the help; the parameters are those of ``option``."""
    return _option_in("Options on data", metavar, text, default)


def _option_in(panel: str, metavar: str | None, text: str, default: object) -> object:
    return typer.Option(
        metavar=metavar,
        help=text,
        show_default=str(default),
        rich_help_panel=panel,
        autocompletion=values_of(metavar),
    )


def one_of(values: object) -> str:
    """The values of a ``Literal`` as the help shows them: ``none|batch|layer``."""
    return "|".join(get_args(values))


def values_of(metavar: str | None) -> Callable[[str], list[str]] | None:
    """The shell's suggestions for an option whose help shows its values; None where it shows a placeholder."""
    if metavar is None or not metavar.islower():
        return None
    return suggesting(metavar.split("|"))


def suggesting(values: Iterable[str]) -> Callable[[str], list[str]]:
    """Suggests to the shell those values that begin as what was typed does."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def _of_network(metavar: str | None, text: str, name: str) -> object:
    unnamed = UNNAMED.get(name, "0; with adamw Keras's own")
    default = str(unnamed).lower() if isinstance(unnamed, bool) else str(unnamed)
    default = f"{unnamed:g}" if isinstance(unnamed, float) else default
    return _option_in("Further hyperparameters", metavar, text, default)


_FOLDS = "run, plan, datasets: 5 for fewer than 5,000 rows; train: 1"
_DATA_OPTIONS = {
    "target": data_option("COLUMN", "The column to predict, for tables.", "target"),
    "task": data_option(one_of(Task), "The type of the target.", "auto, by its values"),
    "group": data_option(
        "COLUMN", "Keep rows with the same value in one split, such as the rows of one patient.", "none"
    ),
    "time": data_option("COLUMN", "Training rows are before validation rows, these before test rows.", "none"),
    "split": data_option("COLUMN", "Column that says train, validation or test for each row.", "none"),
    "weight": data_option("COLUMN", "Weights of the rows in the loss and in validation and test metrics.", "none"),
    "folds": data_option(
        "N",
        "Folds of cross-validation over all rows but the test rows; a trial trains a network per fold.",
        _FOLDS,
    ),
}
_NETWORK_OPTIONS = {
    "activation": _of_network(one_of(Activation), "Activation of each hidden layer.", "activation"),
    "normalization": _of_network(one_of(Normalization), "Normalization before each activation.", "normalization"),
    "input_dropout": _of_network("SHARE", "Share of inputs dropped.", "input_dropout"),
    "noise": _of_network("STDDEV", "Gaussian noise before each activation.", "noise"),
    "weight_decay": _of_network("RATE", "Decoupled weight decay.", "weight_decay"),
    "max_norm": _of_network("NORM", "Largest norm of the weights into a unit; 0: no limit.", "max_norm"),
    "label_smoothing": _of_network("SHARE", "Share of the target spread over all classes.", "label_smoothing"),
    "shape": _of_network(one_of(Shape), "Widths of the hidden layers.", "shape"),
    "residual": _of_network(None, "Add a layer's input to its output.", "residual"),
    "ema": _of_network("MOMENTUM", "Average the weights over the steps; 0: do not.", "ema"),
    "warmup": _of_network("SHARE", "Share of the steps in which the learning rate rises.", "warmup"),
    "momentum": _of_network("MOMENTUM", "Momentum of sgd.", "momentum"),
    "gradient_clip": _of_network("NORM", "Largest norm of a step's gradient; 0: no limit.", "gradient_clip"),
    "shift": _of_network("PIXELS", "Move pictures at random in training.", "shift"),
    "flip": _of_network(None, "Mirror pictures at random in training.", "flip"),
    "embedding": _of_network(one_of(Embedding), "Embedding of the numeric columns of a table.", "embedding"),
}
_GROUPS: dict[str, Mapping[str, object]] = {"data": _DATA_OPTIONS, "network": _NETWORK_OPTIONS}
_NOT_TEXT: dict[str, type] = {"folds": int, "weight_decay": float}
"""The types of options that ``UNNAMED`` does not tell."""


def with_option_groups(
    command: Callable[..., None] | None = None, /, **own: Mapping[str, object]
) -> Callable[..., Any]:
    """Adds groups of options to a command.

    Its parameters ``data`` and ``network`` get those that were typed, and its errors name them as they were typed.

    Args:
        command: The command.
        **own: Further groups by the parameter that gets them, each the annotations of its options by key.
    """
    if command is None:
        return functools.partial(with_option_groups, **own)
    signature = inspect.signature(command, eval_str=True)
    groups = {group: options for group, options in (_GROUPS | own).items() if group in signature.parameters}
    parameters = []
    for parameter in signature.parameters.values():
        given = [_parameter(name, made) for name, made in groups.get(parameter.name, {}).items()] or [parameter]
        parameters += [found.replace(kind=inspect.Parameter.KEYWORD_ONLY) for found in given]

    @functools.wraps(command)
    def with_groups(**given: object) -> None:
        typed = [name for name, value in given.items() if value is not None and name != "source"]  # no option
        found = {group: {name: given.pop(name) for name in options} for group, options in groups.items()}
        with _named_as_typed(typed, str(given.get("study"))):
            command(**given, **{group: _typed(values) for group, values in found.items()})

    with_groups.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_groups


def _typed(values: GroupedOptions) -> GroupedOptions:
    return {name: value for name, value in values.items() if value is not None}


def _parameter(name: str, made: object) -> inspect.Parameter:
    kind = _NOT_TEXT.get(name, type(UNNAMED.get(name, "")))
    annotation: Any = made if get_origin(made) is Annotated else Annotated[kind | None, made]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


@contextmanager
def _named_as_typed(typed: Sequence[str], study: str) -> Iterator[None]:
    """Names keys in errors by the options that were typed: ``data.time: ...`` becomes ``--time: ...``.

    Problems of the study file keep its keys.
    """
    try:
        yield
    except InputError as error:
        if not typed:
            raise
        names = "|".join(typed)
        # Not in the middle of a path or of another name.
        key = re.compile(rf"(?<![\w./-])(?:data|search|space)\.({names})(?!\.?\w)|^({names})(?=:)")
        of_file = printable(f"{study}, ")
        named = (line if line.startswith(of_file) else key.sub(_option, line) for line in error.problems)
        raise type(error)(named) from error


def _option(key: re.Match[str]) -> str:
    return f"--{(key[1] or key[2]).replace('_', '-')}"
