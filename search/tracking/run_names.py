"""Names of runs: ``trial-0007``, ``finalist-0007-seed-2``, ``refit-0007-epochs-12``, ``train-20260131-101500-1f2e``."""

from __future__ import annotations

import re
import secrets
import time

_TRIAL = "trial-"
_FINALIST = "finalist-"

TRAININGS = "train-"
"""Begin of the names of single trainings, and of their experiments."""


def trial_run_name(trial: int) -> str:
    """The run of a trial."""
    return f"{_TRIAL}{trial:04d}"


def trial_number(run_name: str) -> int | None:
    """The trial that a run belongs to; None for a run that is not a trial's."""
    return _number(rf"{_TRIAL}(\d+)", run_name)


def finalist_run_name(trial: int, seed_number: int) -> str:
    """The run of a finalist: a trial's configuration trained again with its n-th new seed, n from 1."""
    return f"{_FINALIST}{trial:04d}-seed-{seed_number}"


def finalist_trial(run_name: str) -> int | None:
    """The trial whose configuration the run of a finalist trained; None for another run."""
    return _number(rf"{_FINALIST}(\d+)-seed-\d+", run_name)


def _number(pattern: str, run_name: str) -> int | None:
    """The number in a name of ours; users may rename runs in MLflow."""
    found = re.fullmatch(pattern, run_name, re.ASCII)
    return int(found[1]) if found else None


def refit_run_name(trial: int, epochs: int, seed_number: int = 1) -> str:
    """The run of a refit: a trial's configuration trained on training and validation rows together."""
    return f"refit-{trial:04d}-epochs-{epochs}" + (f"-seed-{seed_number}" if seed_number > 1 else "")


def ensemble_run_name(trial: int, n_seeds: int) -> str:
    """The run of an ensemble: the networks of a trial's configuration with the first n seeds as one model."""
    return f"ensemble-{trial:04d}-seeds-{n_seeds}"


def refit_ensemble_run_name(trial: int, epochs: int, n_seeds: int) -> str:
    """The run of an ensemble of refits."""
    return f"ensemble-{trial:04d}-epochs-{epochs}-seeds-{n_seeds}"


def training_run_name() -> str:
    """A new name for the run of a single training."""
    return f"{TRAININGS}{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
