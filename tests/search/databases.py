"""Studies on each kind of database that they can lie in."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from search.sampling import TrialSampler, draw
from search.settings import Settings
from search.space import Choice, Range, SearchSpace
from search.spec import StudySpec
from search.storage import (
    RESULT,
    open_study,
)

DATABASES = ["sqlite", "postgresql"]
SPACE = SearchSpace({"width": Range(8, 64), "learning_rate": Range(1e-3, 1e-1, log=True), "depth": Choice((1, 2))})


def opened(places: Settings, spec: StudySpec, fingerprint: str = "f00d") -> optuna.Study:
    """The study as a search opens it."""
    study = open_study(places, spec, fingerprint)
    study.sampler = TrialSampler(spec, study)
    return study


def ask(study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    return trial, draw(study, trial, SPACE.distributions())


def finish(study: optuna.Study, trial: optuna.Trial, state: str, value: float | None) -> None:
    trial.set_user_attr(RESULT, {"best_val_accuracy": value, "params": trial.params, "best_epoch": 1})
    study.tell(trial, value if state == "COMPLETE" else None, TrialState[state])
