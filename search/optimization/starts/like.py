"""The best configurations of earlier studies of the home, as starts of another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.objectives import TASK_DIMENSIONS, Task
from search.home.settings import Settings
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_own_study
from search.spec.conditions import without_effect
from search.spec.space import SearchSpace, default_values

MOST = 8
"""Configurations of all earlier studies together."""


def best_of(
    settings: Settings, names: Sequence[str], space: SearchSpace, task: Task, note: Callable[[str], object]
) -> list[Hyperparameters]:
    """The best configurations of studies, moved into a space: the first of each study, then the second, and so on.

    Args:
        settings: Places of this process.
        names: The studies.
        space: Of the new study.
        task: Of the new study: what a configuration has for another task is left out.
        note: Called with a line for a study with configurations that cannot be in the space, or are moved into it.

    Raises:
        NotFoundError: There is no such study, or it has no complete trial.
        UnavailableError: The database cannot be used.
    """
    of_each = [_best(settings, name, space, task, note) for name in names]
    in_turn = [found for rank in zip_longest(*of_each) for found in rank if found is not None]
    return list(dict.fromkeys(in_turn))[:MOST]


def _best(
    settings: Settings, name: str, space: SearchSpace, task: Task, note: Callable[[str], object]
) -> list[Hyperparameters]:
    """Distinct configurations of one study, moved into the space, the best first."""
    try:
        study = load_own_study(settings, name)
    except NotFoundError as error:
        raise NotFoundError(f"search.like (--like {name}): {error}") from error
    complete = [row for row in leaderboard(study) if row.state == "COMPLETE"]
    if not complete:
        raise NotFoundError(f"--like {name}: must have a complete trial, got none: run it first")
    meant = [_for_space(row.params, space, task) for row in complete]
    found = [(given, *space.moved_into(given)) for given in meant]
    broken = [problems[0] for _, _, problems in found if problems]
    if broken:
        which = f"{len(found) - len(broken) or 'none'} of its {len(found)} complete trials can be in the space"
        note(f"--like {name}: {which}; the best of the others fails: {broken[0]}")
    is_moved: dict[Hyperparameters, bool] = {}
    for given, values, problems in found:
        if not problems:
            is_moved.setdefault(Hyperparameters(**values), _differ(given, values))
    inside = list(is_moved)[:MOST]
    if n_moved := sum(is_moved[configuration] for configuration in inside):
        note(f"--like {name}: in {n_moved} of {len(inside)} configurations the nearest numbers in the space are taken")
    return inside


def _differ(given: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a number was moved; steps of floats are rounded in more than one way."""
    numbers = {name: value for name, value in given.items() if isinstance(value, int | float)}
    return any(not math.isclose(value, values[name]) for name, value in numbers.items())


def _for_space(params: Mapping[str, Any], space: SearchSpace, task: Task) -> dict[str, Any]:
    """A configuration without what has no effect or no meaning in a space that does not name it."""
    idle, default = without_effect(params), default_values(params.get("optimizer"))
    return {
        name: value
        for name, value in params.items()
        if name not in idle
        and (name in space.dimensions or (TASK_DIMENSIONS.get(name, task) == task and value != default.get(name)))
    }
