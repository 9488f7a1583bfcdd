"""The best configurations of earlier studies of the home, as starts of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from pipelines.config import ADAMW_DECAY, UNNAMED, Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.objectives import TASK_DIMENSIONS, Task
from search.home.settings import Settings
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_own_study
from search.spec.dimensions import Range
from search.spec.space import SearchSpace

MOST = 8
"""Configurations of all earlier studies together."""


def best_of(
    settings: Settings, names: Sequence[str], space: SearchSpace, task: Task, note: Callable[[str], object]
) -> list[Hyperparameters]:
    """The best configurations of studies that lie in a space: the first of each study, then the second, and so on.

    Args:
        settings: Places of this process.
        names: The studies.
        space: Of the new study.
        task: Of the new study: what a configuration has for another task is left out.
        note: Called with a line for a study that has none in the space.

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
    """Distinct configurations of one study that lie in the space, the best first."""
    complete = [row for row in leaderboard(load_own_study(settings, name)) if row.state == "COMPLETE"]
    if not complete:
        raise NotFoundError(f"--like {name}: must have a complete trial, got none: run it first")
    completed = [space.complete(_for_space(row.params, space, task)) for row in complete]
    inside = [Hyperparameters(**values) for values, problems in completed if not problems]
    if not inside:
        rule = completed[0][1][0]
        note(f"--like {name}: none of its {len(complete)} complete trials is in the space; the best one fails: {rule}")
    return list(dict.fromkeys(inside))[:MOST]


def _for_space(params: Mapping[str, Any], space: SearchSpace, task: Task) -> dict[str, Any]:
    """A configuration without what has no effect or no meaning in a space that does not name it.

    One that names no weight decay gets the value nearest to its own in a space that always has some.
    """
    kept = {
        name: value
        for name, value in params.items()
        if name in space.dimensions or (TASK_DIMENSIONS.get(name, task) == task and value != UNNAMED.get(name))
    }
    decay = space.dimensions.get("weight_decay")
    if isinstance(decay, Range):
        own = ADAMW_DECAY if kept.get("optimizer") == "adamw" else 0.0
        kept.setdefault("weight_decay", min(decay.high, max(decay.low, own)))
    return kept
