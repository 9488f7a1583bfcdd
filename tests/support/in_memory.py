"""Studies in memory, whose trials are asked for one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from pipelines.config import DataConfig
from search.optimization.pruners import make_pruner
from search.optimization.samplers import TrialSampler
from search.spec.dimensions import Choice, Range
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.stored_study import StoredStudy

WIDE = SearchSpace(
    {"width": Range(8, 64), "learning_rate": Range(1e-3, 1e-1, log=True), "optimizer": Choice(("sgd", "adam"))}
)


def make_spec(**changes: Any) -> StudySpec:
    return replace(StudySpec(name="s", data=DataConfig("digits", folds=1), space=WIDE), **changes)


def make_study(spec: StudySpec) -> StoredStudy:
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MAXIMIZE], spec.name)
    study = StoredStudy(spec.name, storage, make_pruner(spec))
    study.sampler = TrialSampler(spec, study)
    return study


def ask(spec: StudySpec, study: StoredStudy) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    spec.space.suggest(trial)
    return trial, trial.params
