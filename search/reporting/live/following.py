"""Follows a search that another process makes, by Optuna's database alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import SpecError
from pipelines.training.history import EpochReport
from search.home.settings import read_settings
from search.optimization.leaderboard import leaderboard, objective_of
from search.optimization.studies import load_own_study
from search.scheduling.progress import Observer, Progress, SlotView
from search.spec import StudySpec, spec_from_dict
from search.storage import StoredStudy
from search.storage.attributes import ELAPSED, SPEC
from search.tracking.run_names import trial_run_name

POLL_S = 1.0
_IDLE_LOOKS = 3
"""Looks without a trial in training after which a search has ended: a trial may end before the next one begins."""


def follow(
    name: str, *, home: Path | None = None, observer: Observer | None = None, poll_s: float = POLL_S
) -> Progress:
    """Watches a search of another process, on this machine or another one, until no process searches any more.

    Args:
        name: The study.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        observer: Is told of the progress after each look; None for nobody.
        poll_s: Seconds between two looks.

    Returns:
        The progress at the last look.

    Raises:
        NotFoundError: There is no such study.
        UnavailableError: The database cannot be used.
    """
    study = load_own_study(read_settings(home), name)
    n_idle = 0
    while True:
        progress = progress_of(study)
        if observer:
            observer.update(progress)
        n_idle = 0 if progress.slots else n_idle + 1
        if is_spent(progress) or n_idle >= _IDLE_LOOKS:
            return progress
        time.sleep(poll_s)


def is_spent(progress: Progress) -> bool:
    """Whether a study has used its budget and trains nothing."""
    out_of_trials = progress.budget is not None and progress.done >= progress.budget
    return not progress.slots and (out_of_trials or progress.time_left_s == 0)


def progress_of(study: StoredStudy) -> Progress:
    """The progress of a study as its database has it; a slot for each trial in training, whose device is unknown."""
    attributes = study.user_attrs
    spec, elapsed_s = spec_from_dict(attributes[SPEC], "recorded study"), float(attributes.get(ELAPSED, 0.0))
    progress = Progress(study.study_name, budget=spec.trials, objective=objective_of(attributes).name)
    progress.elapsed_s = elapsed_s
    if spec.timeout_s is not None:
        progress.timeout_s, progress.time_left_s = spec.timeout_s, max(0.0, spec.timeout_s - elapsed_s)
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
