"""Spends one budget on trials and then on new seeds of the best of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.errors import MlpSearchError, SpecError
from search.automatic.rounds import Rounds
from search.automatic.shares import (
    MIN_BUDGET,
    MIN_BUDGET_BEFORE,
    TIME_SHARE,
    fewest,
    n_search,
    rounds_for,
    rounds_within,
)
from search.finals.finals import run_plan
from search.finals.result import FinalistsResult
from search.home.settings import Settings, read_settings
from search.home.text import value_text
from search.optimization.leaderboard import TrialRow
from search.optimization.run_records import recorded_results
from search.optimization.studies import is_begun, load_study, load_writable_study
from search.optimization.studies.loading import recorded_spec
from search.optimization.studies.resuming import with_whole_budget
from search.scheduling.progress import Observer
from search.scheduling.run_study import StudyResult, run_study
from search.spec.study_spec import NOTHING, StudySpec
from search.storage import StoredStudy, storage_errors
from search.storage.attributes import CHANGED_OVER, ELAPSED, FINALS_ELAPSED, SPEC
from search.tracking.run_names import finalist_trial

_START_S = 5.0
"""To start the workers again."""


@dataclass(frozen=True, slots=True)
class AutomaticResult:
    """The result of a budget for trials and seeds.

    Attributes:
        search: The search.
        finals: Its finalists; None where the search was interrupted, or nothing was left for them.
        changed_over: Why the search ended and its finals began, as a line.
        error: What ended the finals before their verdict, such as another process that trains them; None if nothing.
    """

    search: StudyResult
    finals: FinalistsResult | None = None
    changed_over: str = ""
    error: MlpSearchError | None = None


def run_automatically(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> AutomaticResult:
    """Spends a budget on trials and on new seeds; see ``search.notebook.automatic.run_automatically``."""
    settings, observer = read_settings(home), observer or Observer()
    spec, part = _shared(spec, settings)
    found = run_study(part, home=home, pool=pool, observer=observer)
    if found.asked_to_stop or found.best is None:
        return AutomaticResult(found)
    rounds, reason = _changed_over(spec, part, found, settings)
    observer.note(reason)
    if rounds is None:
        return AutomaticResult(found, None, reason)
    try:
        with _recorded_time(spec, settings):
            finals = run_plan(spec.name, rounds, home=home, pool=pool, observer=observer)
    except MlpSearchError as error:  # what was found is shown first
        return AutomaticResult(found, None, reason, error)
    return AutomaticResult(found, finals, reason)


@contextmanager
def _recorded_time(spec: StudySpec, settings: Settings) -> Iterator[None]:
    """Adds the time of finals that train something to that of earlier ones: a larger timeout counts all of it."""
    began, n_before = time.monotonic(), len(recorded_results(load_study(settings, spec.name)))
    try:
        yield
    finally:
        with storage_errors(settings):
            study = load_writable_study(settings, spec.name)
            if len(recorded_results(study)) > n_before:
                elapsed_s = study.user_attrs.get(FINALS_ELAPSED, 0.0) + time.monotonic() - began
                study.set_user_attr(FINALS_ELAPSED, elapsed_s)


def _shared(spec: StudySpec, settings: Settings) -> tuple[StudySpec, StudySpec]:
    """The study with its whole budget, by default its recorded one, and with the part of it that searches."""
    with storage_errors(settings):
        study = load_study(settings, spec.name) if is_begun(settings, spec.name) else None
        if study and spec.has_default_budget and not _is_part_of(spec, study):
            spec = with_whole_budget(spec, study.user_attrs)
        _require_enough(spec, study)
        part = searching(spec, _earlier(spec, study) if study else NOTHING)
        if study and part.trials is not None:  # a search with a budget of its own may have trained more
            n_ended = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
            part = replace(part, trials=max(part.trials, n_ended))
        if study and part.timeout_s == 0:
            used = f"the {study.user_attrs[FINALS_ELAPSED]:,.0f} s that the study's finalists took"
            rule = f"must be above {used}, got {spec.timeout_s:,.10g}"
            raise SpecError(f"study.timeout_s (--timeout): {rule}: raise it, or leave it out")
        return spec, part


def _is_part_of(spec: StudySpec, study: StoredStudy) -> bool:
    """Whether a study was interrupted before its finals, in the part of this budget that searches."""
    then, part = recorded_spec(study.user_attrs[SPEC]), searching(spec)
    is_same = (then.trials, then.timeout_s) == (part.trials, part.timeout_s)
    return is_same and then.budget == "auto" and CHANGED_OVER not in study.user_attrs


def _require_enough(spec: StudySpec, study: StoredStudy | None) -> None:
    """Checks the budget of a new study; one that an earlier version began keeps a smaller one."""
    if spec.trials is None or spec.trials >= MIN_BUDGET:
        return
    searched = recorded_spec(study.user_attrs[SPEC]).trials if study else None
    if spec.trials >= MIN_BUDGET_BEFORE and searched == n_search(spec.trials):
        return
    rule = f"must be at least {MIN_BUDGET} where trials and seeds share the budget, got {spec.trials}"
    raise SpecError(f"study.trials (--trials): {rule}: raise it, or leave --auto out")


def _earlier(spec: StudySpec, study: StoredStudy) -> dict[str, Any]:
    """The record of an existing study's finals, their number of trainings and their time."""
    elapsed_s = study.user_attrs.get(FINALS_ELAPSED, 0.0)
    return {**study.user_attrs.get(CHANGED_OVER, {}), "finals": _n_before(spec, study), FINALS_ELAPSED: elapsed_s}


def _n_before(spec: StudySpec, study: StoredStudy) -> int:
    """Number of trainings of the finals of other budgets. A version that did not record the budget had one."""
    known = study.user_attrs.get(CHANGED_OVER, {})
    if known.get("budget") in (None, [spec.trials, spec.timeout_s]):
        return 0
    return sum(finalist_trial(name) is not None for name in recorded_results(study))


def searching(spec: StudySpec, known: Mapping[str, Any] = NOTHING) -> StudySpec:
    """The study with the part of its budget that searches.

    Args:
        spec: The study.
        known: The record of earlier finals. Those of another budget are spent: the rest is shared anew.
    """
    trials, timeout_s = spec.trials, spec.timeout_s
    if known.get("budget") == [trials, timeout_s]:
        trials, timeout_s = known["searched"]
    else:
        done = known.get("trained", 0)
        trials = None if trials is None else done + n_search(max(0, trials - done - known.get("finals", 0)))
        timeout_s = None if timeout_s is None else TIME_SHARE * max(0.0, timeout_s - known.get(FINALS_ELAPSED, 0.0))
    return replace(spec, trials=trials, timeout_s=timeout_s, budget="auto", has_default_trials=False)


def _changed_over(
    spec: StudySpec, part: StudySpec, found: StudyResult, settings: Settings
) -> tuple[Rounds | None, str]:
    """The plan of the finals for this budget: the stored one, so that interrupted finals resume, or a new one."""
    n_trained = sum(found.count(state) for state in ("COMPLETE", "PRUNED", "FAIL"))
    now = {"budget": [spec.trials, spec.timeout_s], "searched": [part.trials, part.timeout_s], "trained": n_trained}
    with storage_errors(settings):
        study = load_writable_study(settings, spec.name)
        known = study.user_attrs.get(CHANGED_OVER, {})
        if now.items() <= known.items():
            return Rounds(tuple(known["sizes"])) if known["sizes"] else None, known["reason"]
        rounds, reason = _change_over(spec, found, study)
        study.set_user_attr(CHANGED_OVER, now | {"sizes": rounds and list(rounds.sizes), "reason": reason})
    return rounds, reason


def _change_over(spec: StudySpec, found: StudyResult, study: StoredStudy) -> tuple[Rounds | None, str]:
    """The finals that the rest of the budget has room for, and why the search ends here, as a line."""
    n_trained = sum(found.count(state) for state in ("COMPLETE", "PRUNED", "FAIL"))
    left = math.inf if spec.trials is None else spec.trials - n_trained - _n_before(spec, study)
    if spec.timeout_s is None:
        rounds = rounds_for(int(left), fewest(spec.trials))
    else:
        elapsed_s = sum(study.user_attrs.get(key, 0.0) for key in (ELAPSED, FINALS_ELAPSED))
        rounds = _rounds_in_time(spec, found, elapsed_s, left)
    used = f"{n_trained} of {spec.trials} trainings" if spec.timeout_s is None else f"{n_trained} trials"
    if rounds is None:
        return None, f"study {spec.name}: no finalists after {used}: the rest of the budget is too small for new seeds"
    complete = [row for row in found.rows if row.state == "COMPLETE"][: rounds.sizes[0]]
    gap = abs((complete[0].value or 0.0) - (complete[-1].value or 0.0))
    why = f"the best {len(complete)} trials differ by {value_text(gap)}, each measured with one seed"
    if len(complete) == 1:
        why = "only one trial is complete; new seeds estimate its expected value"
    return rounds, f"study {spec.name}: switching from trials to new seeds after {used}: {why}"


def _rounds_in_time(spec: StudySpec, found: StudyResult, elapsed_s: float, left: float) -> Rounds | None:
    """The finals that end before the timeout."""
    n_slots = found.n_slots or spec.workers.slots or len({row.device for row in found.rows if row.device})
    left_s = (spec.timeout_s or 0.0) - elapsed_s - _START_S
    return rounds_within(left_s, costs_s(found.rows), n_slots, left, fewest(spec.trials))


def costs_s(rows: Sequence[TrialRow]) -> list[float]:
    """Seconds of a training to its last epoch of each complete trial, the best first.

    A timeout may have ended a trial before, in which case it took less. A trial that is a copy of another one, with
    the same configuration, took nothing and is left out.
    """
    timed = [row for row in rows if row.state == "COMPLETE" and row.duration_s and row.epochs_trained]
    return [(row.duration_s or 0.0) * row.params["epochs"] / row.epochs_trained for row in timed]
