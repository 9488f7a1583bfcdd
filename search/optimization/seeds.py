"""The lineage of every seed: each follows from the study's seed and a number alone, and no two uses share one.

===========================  ============================================
a draw of the sampler        study's seed, trial, attempt
the training of a trial      study's seed, trial, 0, 1
the training of a finalist   study's seed, number of the seed, 0, 2
the refits of the winner     study's seed, number of the refit from 0, 0, 3
the audit of a trial         study's seed, trial, 0, 4
===========================  ============================================
"""

from __future__ import annotations

import numpy as np

_TRIAL, _FINALIST, _REFIT, _AUDIT = 1, 2, 3, 4


def _derive(*parts: int) -> int:
    """A seed of 32 bits that follows from all parts; trailing zeros change nothing."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def draw_seed(study_seed: int, number: int, attempt: int = 0) -> int:
    """The seed with which the sampler draws the configuration of a trial, for the given attempt."""
    return _derive(study_seed, number, attempt)


def trial_seed(study_seed: int, number: int) -> int:
    """The seed with which a trial is trained."""
    return _derive(study_seed, number, 0, _TRIAL)


def finalist_seed(study_seed: int, number: int) -> int:
    """The seed number ``number``, from 1, with which every finalist is trained."""
    return _derive(study_seed, number, 0, _FINALIST)


def refit_seed(study_seed: int, number: int = 1) -> int:
    """The seed number ``number``, from 1, with which the winner is trained on training and validation rows together."""
    return _derive(study_seed, number - 1, 0, _REFIT)


def audit_seed(study_seed: int, number: int) -> int:
    """The seed of the draw that decides whether a trial trains on where it would be pruned."""
    return _derive(study_seed, number, 0, _AUDIT)
