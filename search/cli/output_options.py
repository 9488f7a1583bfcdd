"""The options ``--json``, ``-q`` and ``-v`` of every command."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import MlpSearchError
from search.home.text import redact
from search.reporting import display, screen

_MORE = "Print more: the databases, each epoch of a search, the steps of the start-up, and its time."
_JSON = Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout and nothing else there.")]
_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result and errors only.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help=_MORE)]


def with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``--json``, ``-q`` and ``-v`` to a command."""
    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("as_json", _JSON), ("quiet", _QUIET), ("verbose", _VERBOSE))
    ]
    given = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]

    @functools.wraps(command)
    def with_all(*, as_json: bool, quiet: bool, verbose: bool, **rest: object) -> None:
        if quiet and verbose:
            raise typer.BadParameter("-q and -v: choose one of them")
        screen.set_json(as_json)
        screen.set_verbosity(verbose - quiet)  # it lasts, because the program may suggest what comes next
        with _surroundings(rest.get("home")) if verbose else nullcontext():
            command(**rest)

    with_all.__signature__ = signature.replace(parameters=[*given, *added])  # type: ignore[attr-defined]
    return with_all


@contextmanager
def _surroundings(home: object) -> Iterator[None]:
    """Prints where a command looks, and how long it takes."""
    from search.home import read_settings  # no help waits for it

    started = time.monotonic()
    with suppress(MlpSearchError):  # the command reports it
        settings = read_settings(home if isinstance(home, Path) else None)
        places = f"Optuna in {redact(settings.optuna_storage)}, MLflow in {redact(settings.tracking_uri)}"
        display.message(f"home {settings.home}: {places}")
    try:
        yield
    finally:
        display.message(f"took {display.seconds(time.monotonic() - started)}")
