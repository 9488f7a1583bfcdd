"""Follows a search that another process makes, by Optuna's database alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import NotFoundError, SpecError
from pipelines.files.sources import SOURCES
from pipelines.training.history import EpochReport
from search.home.locks import is_study_held
from search.home.settings import Settings, read_settings
from search.home.text import counted
from search.optimization.leaderboard import leaderboard, objective_of
from search.optimization.studies import load_own_study
from search.optimization.studies.budget import used_s
from search.reporting.display import command
from search.scheduling.progress import Observer, Progress, SlotView
from search.spec import StudySpec, spec_from_dict
from search.storage import StoredStudy
from search.storage.attributes import ELAPSED, SPEC
from search.storage.sharing import is_searched
from search.tracking.run_names import trial_run_name

POLL_S = 1.0
PATIENCE_S = 10.0
"""The longest start of a search that is not known to run: it reads its data before it locks its study."""


def follow(
    name: str,
    *,
    home: Path | None = None,
    observer: Observer | None = None,
    poll_s: float = POLL_S,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
) -> Progress:
    """Watches a search of another process, on this machine or another one, until no process searches any more.

    Args:
        name: The study.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        observer: Is told of the progress after each look; None for nobody.
        poll_s: Seconds between two looks.
        patience_s: Seconds without a process that searches, and without a new epoch, after which there is no search.
        now: Seconds since some moment.

    Returns:
        The progress at the last look.

    Raises:
        NotFoundError: There is no such study, and no process starts it.
        UnavailableError: The database cannot be used.
    """
    settings, observer = read_settings(home), observer or Observer()
    state = _State(observer, name, patience_s, now)
    while True:
        is_held = _is_held(settings, name)
        study = _opened(settings, name, is_starting=bool(is_held))
        if study is None:
            observer.waiting(f"study {name} is being started")
        else:
            is_alive = bool(is_held) or (settings.is_shared and is_searched(settings, study))
            progress = progress_of(study)
            observer.update(progress)
            if is_spent(progress) or state.has_ended(progress, is_alive=is_alive):
                return progress
        time.sleep(poll_s)


class _State:
    """Whether a search goes on, from one look to the next.

    Args:
        observer: Is told what is waited for.
        name: The study.
        patience_s: See ``follow``.
        now: See ``follow``.
    """

    def __init__(self, observer: Observer, name: str, patience_s: float, now: Callable[[], float]) -> None:
        self._observer = observer
        self._name = name
        self._patience_s = patience_s
        self._now = now
        self._until = now() + patience_s
        self._seen: object = None
        self._was_alive = False
        self._has_noted = False

    def has_ended(self, progress: Progress, *, is_alive: bool) -> bool:
        """Whether the search has ended: a process searched before and none does, or none has begun."""
        seen = (progress.done, {view.run_name: view.report.epoch for view in progress.slots.values() if view.report})
        if is_alive or (self._seen is not None and seen != self._seen):  # or a process whose lock cannot be seen here
            self._until = self._now() + self._patience_s
        self._seen = seen
        if is_alive:
            self._was_alive = True
            return False
        if self._was_alive or self._now() >= self._until:
            return True
        if not self._has_noted:
            self._has_noted = True
            self._observer.note(f"no process searches study {self._name}; waiting {self._patience_s:.0f} s for one")
        return False


def is_being_searched(name: str, home: Path | None = None) -> bool:
    """Whether a process searches a study, as far as locks and heartbeats tell."""
    settings = read_settings(home)
    study = load_own_study(settings, name)
    return bool(_is_held(settings, name)) or (settings.is_shared and is_searched(settings, study))


def _is_held(settings: Settings, name: str) -> bool | None:
    """Whether a process of this home has the study locked; None where that cannot be known."""
    try:
        return is_study_held(settings, name)
    except OSError:
        return None


def _opened(settings: Settings, name: str, *, is_starting: bool) -> StoredStudy | None:
    """The study; None where a process is about to make it."""
    try:
        return load_own_study(settings, name)
    except NotFoundError:
        if not is_starting:
            raise
        return None


def ending(progress: Progress, home: Path | None = None) -> str:
    """The reason why a study of a home shows nothing more, in a line."""
    if is_spent(progress):
        part = "'s part for trials" if progress.shares_budget else ""
        return f"study {progress.study} has used its budget{part}"
    n_left = len(progress.slots)
    left = f", which left {counted(n_left, 'trial')} in training" if n_left else ""
    # Of a shared budget the record has the part for trials; and run takes the name of a dataset for the data.
    is_known = not progress.shares_budget and progress.study not in SOURCES
    resume = "the command that started it" if not is_known else command("run", progress.study, home=home)
    return f"no process searches study {progress.study} any more{left}; {resume} resumes it"


def is_spent(progress: Progress) -> bool:
    """Whether a study has used its budget and trains nothing."""
    out_of_trials = progress.budget is not None and progress.done >= progress.budget
    return not progress.slots and (out_of_trials or progress.time_left_s == 0)


def progress_of(study: StoredStudy) -> Progress:
    """The progress of a study as its database has it; a slot for each trial in training, whose device is unknown."""
    attributes = study.user_attrs
    spec, elapsed_s = spec_from_dict(attributes[SPEC], "recorded study"), float(attributes.get(ELAPSED, 0.0))
    progress = Progress(study.study_name, budget=spec.trials, objective=objective_of(attributes).name)
    progress.elapsed_s, progress.shares_budget = elapsed_s, spec.budget == "auto"
    if spec.timeout_s is not None:
        progress.timeout_s, progress.time_left_s = spec.timeout_s, max(0.0, spec.timeout_s - used_s(attributes))
    for row in leaderboard(study):
        if row.state != "RUNNING":
            progress.count(row.state, row.number, row.value, row.params)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for index, trial in enumerate(running):
        _show(progress, index, trial, spec)
    return progress


def _show(progress: Progress, index: int, trial: FrozenTrial, spec: StudySpec) -> None:
    """Shows a trial in training with its epochs."""
    try:
        hyperparameters = spec.space.hyperparameters(trial.params)
    except SpecError:  # it has no configuration yet
        hyperparameters = None
    progress.slots[index] = SlotView(str(index + 1), trial_run_name(trial.number), hyperparameters)
    for epoch, value in sorted(trial.intermediate_values.items()):
        progress.report(index, EpochReport(epoch, {progress.objective: value}, 0.0, 0.0))


def document(progress: Progress) -> dict[str, Any]:
    """The progress as a document."""
    leader = progress.leader
    running = [
        {
            "run": view.run_name,
            "epoch": view.report.epoch if view.report else 0,
            "epochs": view.hyperparameters.epochs if view.hyperparameters else None,
            "value": view.report.metrics.get(progress.objective) if view.report else None,
            "best": view.best_value,
            "params": view.hyperparameters.to_json() if view.hyperparameters else None,
        }
        for view in progress.slots.values()
    ]
    best = {"number": progress.best_number, "value": progress.best_value, "params": dict(progress.best_params)}
    return {
        "study": progress.study,
        "trials": {"complete": progress.complete, "pruned": progress.pruned, "failed": progress.failed},
        "budget": progress.budget,
        "elapsed_s": progress.elapsed_s,
        "time_left_s": progress.time_left_s,
        "objective": progress.objective,
        "best": best if progress.best_number is not None else None,
        "best_so_far": {"run": leader.run_name, "value": leader.value, "state": leader.state} if leader else None,
        "running": running,
    }
