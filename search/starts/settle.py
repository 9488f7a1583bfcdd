"""The starts of a study, as it is recorded with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipelines.data.datasets import Dataset
from search.home.settings import Settings
from search.optimization.studies import is_begun, keep_recorded_defaults
from search.spec.study_spec import StudySpec
from search.starts.like import best_of
from search.starts.room import nominal_s, within


def settle_starts(
    settings: Settings, spec: StudySpec, dataset: Dataset, note: Callable[[str], object] = str
) -> StudySpec:
    """The study with the configurations that it tries first.

    An existing study keeps those that it began with, unless the user names others, which ``open_study`` refuses. A
    new one has the best of its ``like``, then its ``[[start]]``; without either, those of its preset. All but the
    user's ``[[start]]`` take at most half of the budget.

    Args:
        settings: Places of this process.
        spec: The study.
        dataset: Its data.
        note: Called with a line about starts that are left out.

    Raises:
        NotFoundError: A study of ``like`` is not there, or has no complete trial.
    """
    if is_begun(settings, spec.name):
        return keep_recorded_defaults(settings, spec)
    own = () if spec.has_default_starts else spec.start
    liked = best_of(settings, spec.like, spec.space, dataset.task, note) if spec.like else []
    first = liked
    if not first and spec.has_default_starts:
        first = list(spec.start)
    kept = within(first, [nominal_s(start, dataset) for start in first], spec.trials, spec.timeout_s)
    if len(kept) < len(first):
        kinds = "configurations of earlier studies" if liked else "configurations of the preset"
        note(f"starts: using {len(kept)} of {len(first)} {kinds}; starts take at most half of the budget")
    return replace(spec, start=tuple(dict.fromkeys((*(first[place] for place in kept), *own))))
