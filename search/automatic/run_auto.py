"""Spends one budget on trials and then on new seeds of the best of them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.errors import SpecError
from search.automatic.rounds import Rounds
from search.automatic.shares import MIN_BUDGET, TIME_SHARE, n_search, rounds_for, rounds_within
from search.finals.finals import FinalistsResult, run_plan
from search.home.settings import read_settings
from search.home.text import value_text
from search.optimization.studies import load_study
from search.scheduling.progress import Observer
from search.scheduling.run_study import StudyResult, run_study
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED

_N_TIMED = 4
"""Of the best trials, whose durations say how long a finalist trains."""
_START_S = 5.0
"""To start the workers again."""


@dataclass(frozen=True, slots=True)
class AutomaticResult:
    """The result of a budget for trials and seeds.

    Attributes:
        search: The search.
        finals: Its finalists; None where the search was interrupted, or nothing was left for them.
        changed_over: Why the search ended and its finals began, as a line.
    """

    search: StudyResult
    finals: FinalistsResult | None = None
    changed_over: str = ""


def run_automatically(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> AutomaticResult:
    """Searches with a part of a study's budget and spends the rest on new seeds of its best configurations.

    Called again it resumes, in whichever of the two parts it was interrupted.

    Args:
        spec: The study; its trials count all trainings, its timeout all of the time.
        home: As for ``run_study``, like the others.
        pool: See there.
        observer: See there.

    Raises:
        SpecError: The budget is too small to be shared; and as for ``run_study``, like the others.
        DataError: See there.
        UnavailableError: See there.
    """
    if spec.trials is not None and spec.trials < MIN_BUDGET:
        rule = f"must be at least {MIN_BUDGET} where trials and seeds share the budget, got {spec.trials}"
        raise SpecError(f"study.trials (--trials): {rule}: raise it, or leave --auto out")
    observer = observer or Observer()
    found = run_study(searching(spec), home=home, pool=pool, observer=observer)
    if found.interrupted or found.best is None:
        return AutomaticResult(found)
    rounds, reason = _change_over(spec, found, home)
    observer.note(reason)
    if rounds is None:
        return AutomaticResult(found, None, reason)
    return AutomaticResult(found, run_plan(spec.name, rounds, home=home, pool=pool, observer=observer), reason)


def searching(spec: StudySpec) -> StudySpec:
    """The study with the part of its budget that searches."""
    trials = None if spec.trials is None else n_search(spec.trials)
    timeout_s = None if spec.timeout_s is None else TIME_SHARE * spec.timeout_s
    return replace(spec, trials=trials, timeout_s=timeout_s)


def _change_over(spec: StudySpec, found: StudyResult, home: Path | None) -> tuple[Rounds | None, str]:
    """The finals that the rest of the budget has room for, and why the search ends here, as a line."""
    n_trained = sum(found.count(state) for state in ("COMPLETE", "PRUNED", "FAIL"))
    left = math.inf if spec.trials is None else spec.trials - n_trained
    rounds = rounds_for(int(left)) if spec.timeout_s is None else _rounds_in_time(spec, found, home, left)
    used = f"{n_trained} of {spec.trials} trainings" if spec.timeout_s is None else f"{n_trained} trials"
    if rounds is None:
        return None, f"study {spec.name}: no finalists after {used}: the rest of the budget is too small for new seeds"
    complete = [row for row in found.rows if row.state == "COMPLETE"][: rounds.sizes[0]]
    gap = abs((complete[0].value or 0.0) - (complete[-1].value or 0.0))
    why = f"the best {len(complete)} trials differ by {value_text(gap)}, each measured with one seed"
    if len(complete) == 1:
        why = "only one trial is complete; new seeds estimate its expected value"
    return rounds, f"study {spec.name}: switching from trials to new seeds after {used}: {why}"


def _rounds_in_time(spec: StudySpec, found: StudyResult, home: Path | None, left: float) -> Rounds | None:
    """The finals that end before the timeout, with those of their runs that were trained before."""
    elapsed_s = float(load_study(read_settings(home), spec.name).user_attrs.get(ELAPSED, 0.0))
    complete = [row for row in found.rows if row.state == "COMPLETE"][:_N_TIMED]
    training_s = statistics.fmean(row.duration_s or 0.0 for row in complete)
    n_slots = spec.workers.slots or len({row.device for row in found.rows if row.device})
    return rounds_within((spec.timeout_s or 0.0) - elapsed_s - _START_S, training_s, n_slots, left)
