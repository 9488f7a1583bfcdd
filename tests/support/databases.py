"""Studies on each kind of database that they can lie in."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from search.home.settings import Settings
from search.optimization.samplers import TrialSampler
from search.optimization.studies import open_study
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import RESULT
from search.storage.stored_study import StoredStudy

DATABASES = ["sqlite", "postgresql"]
SPACE = SearchSpace({"width": Range(8, 64), "learning_rate": Range(1e-3, 1e-1, log=True), "depth": Choice((1, 2))})


def opened(places: Settings, spec: StudySpec, fingerprint: str = "f00d") -> StoredStudy:
    """The study as a search opens it."""
    study = open_study(places, spec, fingerprint)
    study.sampler = TrialSampler(spec, study)
    return study


def ask(study: StoredStudy) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    SPACE.suggest(trial)
    return trial, trial.params


def finish(study: optuna.Study, trial: optuna.Trial, state: str, value: float | None) -> None:
    trial.set_user_attr(RESULT, {"best_val_accuracy": value, "params": trial.params, "best_epoch": 1})
    study.tell(trial, value if state == "COMPLETE" else None, TrialState[state])
