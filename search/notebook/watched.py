"""What trains, with a table that follows it where a notebook calls it without an observer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from search import finals, training
from search.notebook.live import notebook_observer

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def watched(train: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """The function, which shows its progress in a notebook's cell.

    Args:
        train: Takes an ``observer`` by name.
    """

    @functools.wraps(train)
    def call(*given: _Given.args, **options: _Given.kwargs) -> _Result:
        table = None if options.get("observer") else notebook_observer()
        if table is None:
            return train(*given, **options)
        options["observer"] = table
        result = train(*given, **options)
        table.end()
        return result

    return call


run_finalists = watched(finals.run_finalists)
train_once = watched(training.train_once)
continue_training = watched(training.continue_training)
