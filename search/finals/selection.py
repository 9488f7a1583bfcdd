"""The configurations that are trained again, the order of their runs, and which of them are out early.

The first place of a leaderboard is the best of many noisy values, so its accuracy is too good on average. Finalists
are trained with seeds that no trial had, the same ones for each configuration, and are compared by their means.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from pipelines.evaluation.metrics import standard_error
from pipelines.evaluation.tests import SAME
from search.finals.finalist import Candidate, Finalist
from search.optimization.leaderboard import trial_row


def candidates(study: optuna.Study, top: int) -> list[Candidate]:
    """The best distinct configurations of complete trials, the best first.

    Raises:
        NotFoundError: No trial is complete.
    """
    distinct: dict[str, Candidate] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        row = trial_row(trial, {})
        found = Candidate(row.number, Hyperparameters(**row.params), row.value or 0.0)
        distinct.setdefault(json.dumps(row.params, sort_keys=True), found)
    if not distinct:
        raise NotFoundError(f"study {study.study_name!r}: must have a complete trial, got none: run it first")
    return sorted(distinct.values(), key=lambda c: (-c.value, c.trial))[:top]


def order(n_candidates: int, n_seeds: int) -> list[tuple[int, int]]:
    """(candidate from 0, seed number from 1) in the order of training.

    The first two candidates are trained with every seed, so that the others have means to be compared with. Those
    are trained seed by seed: each of them gets its first run before any gets its second.
    """
    numbers = range(1, n_seeds + 1)
    first = [(rank, number) for rank in range(min(2, n_candidates)) for number in numbers]
    return first + [(rank, number) for number in numbers for rank in range(2, n_candidates)]


def is_out(finalist: Finalist, finalists: Sequence[Finalist], ceiling: float) -> bool:
    """Whether a configuration failed, or can come neither first nor second any more.

    The second holds where, with every missing run at the ceiling, its mean would be below the second best mean of the
    complete configurations and more than one standard error below the best.

    Args:
        finalist: The configuration.
        finalists: All configurations.
        ceiling: The highest validation accuracy of any run of the study.
    """
    if finalist.failure:
        return True
    complete = sorted((f for f in finalists if f.is_complete), key=lambda f: -f.mean)
    if finalist.is_complete or len(complete) < 2:
        return False
    missing = finalist.n_seeds - len(finalist.values)
    reachable = (sum(finalist.values) + missing * ceiling) / finalist.n_seeds
    best, second = complete[:2]
    return reachable < min(best.mean - standard_error(best.values), second.mean) - SAME
