"""Studies in memory, whose trials are asked for one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna

from pipelines.config import DataConfig
from search.optimization.pruners import make_pruner
from search.optimization.samplers import TrialSampler, draw
from search.spec.space import Choice, Range, SearchSpace
from search.spec.study_spec import StudySpec

WIDE = SearchSpace(
    {"width": Range(8, 64), "learning_rate": Range(1e-3, 1e-1, log=True), "optimizer": Choice(("sgd", "adam"))}
)


def make_spec(**changes: Any) -> StudySpec:
    return replace(StudySpec(name="s", data=DataConfig("digits"), space=WIDE), **changes)


def make_study(spec: StudySpec) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name=spec.name, pruner=make_pruner(spec))
    study.sampler = TrialSampler(spec, study)
    return study


def ask(spec: StudySpec, study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
    trial = study.ask()
    return trial, dict(trial.params or draw(study, trial, spec.space.distributions()))
