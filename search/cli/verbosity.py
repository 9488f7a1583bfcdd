"""The options ``-q`` and ``-v`` of every command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from search.reporting import screen

_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result and errors only.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="Print each epoch, and what the start-up waits for.")]


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``-q`` and ``-v`` to a command."""
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", _QUIET), ("verbose", _VERBOSE))
    ]
    given = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]

    @functools.wraps(command)
    def with_both(*, quiet: bool, verbose: bool, **rest: object) -> None:
        if quiet and verbose:
            raise typer.BadParameter("-q and -v: choose one of them")
        with screen.verbosity(verbose - quiet):
            command(**rest)

    with_both.__signature__ = signature.replace(parameters=[*given, *added])  # type: ignore[attr-defined]
    return with_both
