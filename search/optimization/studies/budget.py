"""Whether a study has used its budget or its space, so that nothing is left to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.home.settings import Settings
from search.home.text import counted
from search.optimization.run_records import unknown_runs
from search.optimization.samplers import is_exhausted
from search.optimization.studies.loading import is_begun
from search.optimization.studies.opening import open_study
from search.spec import StudySpec
from search.storage import StoredStudy
from search.storage.attributes import CHANGED_OVER, ELAPSED, TIMED_OUT
from search.tracking.spool import has_spooled


def spent_study(settings: Settings, spec: StudySpec, fingerprint: str) -> StoredStudy | None:
    """The study where its budget or its space is used up, so that no worker has to start; else None."""
    if not is_begun(settings, spec.name):
        return None
    study = open_study(settings, spec, fingerprint)
    changed_over = _has_changed_over(study, spec)
    has_finals = changed_over and bool(study.user_attrs[CHANGED_OVER].get("sizes"))
    if has_spooled(settings, spec.name) and not has_finals:  # which deliver what is left
        return None
    trials = study.get_trials(deepcopy=False)
    if any(trial.state.name == "RUNNING" for trial in trials) or unknown_runs(study):  # a process died
        return None
    is_over = has_used_budget(study, spec) or changed_over or is_exhausted(study, spec.space)
    return study if is_over else None


def has_used_budget(study: StoredStudy, spec: StudySpec) -> bool:
    """Whether a study has ended as many trials, or has taken as long, as its budget allows."""
    n_ended = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    out_of_trials = spec.trials is not None and n_ended >= spec.trials
    return out_of_trials or (spec.timeout_s is not None and used_s(study.user_attrs) >= spec.timeout_s)


def used_s(attributes: Mapping[str, Any]) -> float:
    """The seconds of a timeout that a study with these attributes has used, in all of its runs.

    The rest of a timeout that is too short for an epoch counts as used.
    """
    return max(float(attributes.get(ELAPSED, 0.0)), float(attributes.get(TIMED_OUT, 0.0)))


def timeout_note(study: StoredStudy, spec: StudySpec) -> str | None:
    """The note on a search that its timeout ended before its number of trials; None for any other one."""
    n_ended = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    if spec.trials is None or spec.timeout_s is None or n_ended >= spec.trials or is_exhausted(study, spec.space):
        return None
    limit = f"the timeout of {spec.timeout_s:,.10g} s"
    if spec.budget == "auto":
        limit = f"the trials' part of the timeout, {spec.timeout_s:,.10g} s,"
    return f"{limit} ended the search after {n_ended:,} of {spec.trials:,} trials"


def used_note(spec: StudySpec) -> str:
    """The note on a study that has used its budget, with the budget and the options that continue it."""
    limits = [] if spec.trials is None else [counted(spec.trials, "trial")]
    limits += [] if spec.timeout_s is None else [f"{spec.timeout_s:,.10g} s"]
    of = "its budget's part for trials," if spec.budget == "auto" else "its budget of"
    return f"study {spec.name} has used {of} {' or '.join(limits)}; raise --trials or --timeout to continue"


def _has_changed_over(study: StoredStudy, spec: StudySpec) -> bool:
    """Whether this part of a shared budget was searched, and new seeds are next."""
    known = study.user_attrs.get(CHANGED_OVER, {})
    return spec.budget == "auto" and known.get("searched") == [spec.trials, spec.timeout_s]
