"""The exception tree of both packages.

MlpSearchError
├── InputError            wrong input of the user: all problems of a file at once
│   ├── DataError         a dataset, a table, an array or a picture
│   └── SpecError         a study file or an option
├── NotFoundError         a study, trial, run, model or file that does not exist
├── UnavailableError      a server, a database, a folder or a package that cannot be used now
├── TrainingError         a trial that could not be trained
└── RefusedError          a check failed: the gate, the held-out test, the doctor

A message is one line for the user: the place, the rule, the value, what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class MlpSearchError(Exception):
    """Base of all errors that are shown to the user without a traceback."""


class InputError(MlpSearchError):
    """Wrong input; ``problems`` holds one line per problem.

    Args:
        problems: One line or several, each with the place, the rule and the value.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        given = (problems,) if isinstance(problems, str) else problems
        self.problems = tuple(" ".join(problem.splitlines()) for problem in given)  # names from data may hold newlines
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class DataError(InputError):
    """A dataset, a table, an array or a picture that cannot be used."""


class SpecError(InputError):
    """A study file or an option that cannot be used."""


class NotFoundError(MlpSearchError):
    """A study, trial, run, model or file that does not exist."""


class UnavailableError(MlpSearchError):
    """A server, a database, a folder or a package that cannot be used now."""


class TrainingError(MlpSearchError):
    """A trial that could not be trained."""


class RefusedError(MlpSearchError):
    """A check failed; the command line ends with exit code 3."""


@contextmanager
def placed(place: object) -> Iterator[None]:
    """Names the file in the problems of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError([f"{place}: {problem}" for problem in error.problems]) from error


def collect(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Calls a function for each item and returns the results.

    Raises:
        DataError: The problems of all items whose call raised one.
    """
    results: list[_Result] = []
    problems: list[str] = []
    for item in items:
        try:
            results.append(function(item))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    return results
