"""Compares studies or trials that are given by their names or as results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from search.notebook.trial import Trial
from search.reporting import comparison

if TYPE_CHECKING:
    from search.notebook.results import StudyResult


def compare(names: Sequence[str | int | StudyResult | Trial], *, home: Path | None = None) -> comparison.Comparison:
    """Puts trials or studies side by side, what differs first.

    Args:
        names: Studies, ``["digits", "fashion"]``; a study and numbers of its trials, ``["digits", 3, 17]``; results, or
            trials of results.
        home: Where the databases are; by default that of the first result, else as in ``run_study``.

    Raises:
        InputError: There are fewer than two.
        NotFoundError: There is no such study or trial.
    """
    trials = [item for item in names if isinstance(item, Trial)]
    if trials and (len(trials) < len(names) or len({trial.study for trial in trials}) > 1):
        raise InputError("compare: must have trials of one study, or studies, got a mix: compare their studies instead")
    given = [item for item in names if not isinstance(item, str | int)]
    where = home if home or not given else given[0].home
    if trials:
        return comparison.compare([trials[0].study, *(str(trial.number) for trial in trials)], home=where)
    texts = [str(item) if isinstance(item, str | int) else item.study for item in names]
    return comparison.compare(texts, home=where)
