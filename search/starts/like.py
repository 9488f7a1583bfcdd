"""The best configurations of earlier studies of the home, as starts of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from search.home.settings import Settings
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_own_study
from search.spec.dimensions import Range
from search.spec.space import SearchSpace

MOST = 8
"""Configurations of all earlier studies together."""


def best_of(
    settings: Settings, names: Sequence[str], space: SearchSpace, note: Callable[[str], object]
) -> list[Hyperparameters]:
    """The best configurations of studies that lie in a space: the first of each study, then the second, and so on.

    Args:
        settings: Places of this process.
        names: The studies.
        space: Of the new study.
        note: Called with a line for a study that has none in the space.

    Raises:
        NotFoundError: There is no such study, or it has no complete trial.
        UnavailableError: The database cannot be used.
    """
    of_each = [_best(settings, name, space, note) for name in names]
    in_turn = [found for rank in zip_longest(*of_each) for found in rank if found is not None]
    return list(dict.fromkeys(in_turn))[:MOST]


def _best(settings: Settings, name: str, space: SearchSpace, note: Callable[[str], object]) -> list[Hyperparameters]:
    """Distinct configurations of one study that lie in the space, the best first."""
    complete = [row for row in leaderboard(load_own_study(settings, name)) if row.state == "COMPLETE"]
    if not complete:
        raise NotFoundError(f"--like {name}: must have a complete trial, got none: run it first")
    completed = [space.complete(_with_nearest(row.params, space)) for row in complete]
    inside = [Hyperparameters(**values) for values, problems in completed if not problems]
    if not inside:
        rule = completed[0][1][0]
        note(f"--like {name}: none of its {len(complete)} complete trials is in the space; the best one fails: {rule}")
    return list(dict.fromkeys(inside))[:MOST]


def _with_nearest(params: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """A configuration without a weight decay gets the least one of a space that always has some."""
    decay = space.dimensions.get("weight_decay")
    return {**({"weight_decay": decay.low} if isinstance(decay, Range) else {}), **params}
