"""A study with its surroundings, and its clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.config import Hyperparameters
from search.devices.work import Shape
from search.home.settings import Settings
from search.scheduling.progress import Observer
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED
from search.storage.stored_study import StoredStudy
from search.tracking import RunStart, Tracker, now_ms
from search.tracking.experiment_view import NOTE

_ROLES = {
    "finalist": "trained again with a seed that no trial had",
    "refit": "trained once more, on training and validation rows together",
    "ensemble": "as the mean of the networks that its finalists trained",
    "refit-ensemble": "as the mean of networks that were trained on training and validation rows together",
}
"""Kinds of runs that are no trials, in words for the description on MLflow's page."""


@dataclass(frozen=True, slots=True)
class StudyContext:
    """The study and its shared services.

    Attributes:
        spec: The study as the user specified it.
        study: The study in Optuna's database.
        settings: Places of this process, such as its spool.
        tracker: Sends runs to MLflow.
        observer: Watches.
        shape: Of the dataset, with the rule of its precision that was settled when the study was started.
        run_tags: Tags that every run of this process carries.
    """

    spec: StudySpec
    study: StoredStudy
    settings: Settings
    tracker: Tracker
    observer: Observer
    shape: Shape
    run_tags: Mapping[str, str]

    def run_start(self, run_name: str, hyperparameters: Hyperparameters, seed: int, **tags: str) -> RunStart:
        """The start of a run of this study that begins now; ``tags`` are the run's own."""
        params = hyperparameters.to_json() | {"seed": seed, "n_parameters": self.shape.n_weights(hyperparameters)}
        own = {"study": self.spec.name, "precision": self.shape.precision(hyperparameters)}
        n_folds = self.spec.data.folds or 1
        if n_folds > 1 and tags.get("role") not in ("refit", "refit-ensemble"):  # which is one network
            own["folds"] = str(n_folds)
        if tags.get("role") in _ROLES:
            own[NOTE] = f"Trial {tags.get('trial')}, {_ROLES[tags['role']]}."
        all_tags = {**own, **tags, **self.run_tags}
        return RunStart(self.spec.name, run_name, now_ms(), params, all_tags)


class StudyClock:
    """Measures the time that a study has used, over all of its runs.

    Args:
        study: Stores the time between runs.
        timeout_s: Limit over all runs, in seconds; None for no limit.
        started: Value of ``now`` when this run began.
        now: Seconds since some moment; a simulation passes its own.
    """

    def __init__(self, study: StoredStudy, timeout_s: float | None, started: float, now: Callable[[], float]) -> None:
        self.now = now
        self._study = study
        self._timeout_s = math.inf if timeout_s is None else timeout_s
        self._began = started - float(study.user_attrs.get(ELAPSED, 0.0))

    def left_s(self) -> float:
        """Seconds left, negative after the timeout; infinite without a limit."""
        return self._timeout_s - (self.now() - self._began)

    def record(self) -> None:
        """Stores the time used, for the next run."""
        self._study.set_user_attr(ELAPSED, round(self.now() - self._began, 1))
