"""The starts of a study, as it is recorded with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipelines.data.datasets import Dataset
from search.devices.work import Shape
from search.home.settings import Settings
from search.optimization.starts.effects import require_effective, require_effects
from search.optimization.starts.like import best_of
from search.optimization.studies import is_begun, keep_recorded_defaults
from search.spec.study_spec import StudySpec


def settle_starts(
    settings: Settings, spec: StudySpec, dataset: Dataset, note: Callable[[str], object] = str
) -> StudySpec:
    """The study with the configurations that it tries first.

    An existing study keeps those that it began with, unless the user names others, which ``open_study`` refuses. A
    new one has the best of its ``like``, then its ``[[start]]``, or without these the starts of its preset. All but the
    user's ``[[start]]`` take at most half of the budget, in trials and in time on a typical core.

    Args:
        settings: Places of this process.
        spec: The study.
        dataset: Its data.
        note: Called with a line about starts that are left out.

    Raises:
        SpecError: Something that the space fixes or a ``[[start]]`` names has no effect.
        NotFoundError: A study of ``like`` is not there, or has no complete trial.
    """
    if is_begun(settings, spec.name):
        return keep_recorded_defaults(settings, spec)
    require_effects(spec.space, dataset)
    own = () if spec.has_default_starts else spec.start
    require_effective(own, spec.space, dataset)
    liked = best_of(settings, spec.like, spec.space, dataset.task, note) if spec.like else []
    first = list(dict.fromkeys((*liked, *(spec.start if spec.has_default_starts else ()))))
    shape = Shape.of(dataset)
    costs_s = [dataset.n_folds * shape.nominal_s(start) for start in first]
    kept = within(costs_s, spec.trials, spec.timeout_s)
    if len(kept) < len(first):
        kinds = "earlier studies and of the preset" if len(first) > len(liked) > 0 else "earlier studies"
        kinds = kinds if liked else "the preset"
        note(f"starts: using {len(kept)} of {len(first)} configurations of {kinds}; {_share(costs_s, kept, spec)}")
    n_liked = sum(place < len(liked) for place in kept)
    start = tuple(dict.fromkeys((*(first[place] for place in kept), *own)))
    return replace(spec, start=start, n_liked=n_liked if spec.like else None)


def _share(costs_s: Sequence[float], kept: Sequence[int], spec: StudySpec) -> str:
    """The starts' share of the budget: more than half where the one that costs least is kept alone."""
    if spec.trials == 1:
        return "the budget is one trial"
    if spec.timeout_s is None or sum(costs_s[place] for place in kept) <= spec.timeout_s / 2:
        return "starts take at most half of the budget"
    return f"it costs least, and may still take more than half of {spec.timeout_s:g} s"


def within(costs_s: Sequence[float], trials: int | None, timeout_s: float | None) -> list[int]:
    """The places of the starts that half of a budget takes: those in their order that fit, or else the cheapest one.

    Args:
        costs_s: Seconds of each start in one slot, the most useful start first.
        trials: Budget in trials.
        timeout_s: Budget in seconds.
    """
    most = len(costs_s) if trials is None else max(1, trials // 2)
    left_s = math.inf if timeout_s is None else timeout_s / 2
    kept: list[int] = []
    for place, cost_s in enumerate(costs_s):
        if len(kept) < most and cost_s <= left_s:
            kept.append(place)
            left_s -= cost_s
    return kept or sorted(range(len(costs_s)), key=costs_s.__getitem__)[:1]
