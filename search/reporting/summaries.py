"""The studies of a home in a line each, and the explanation of one of their trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from search.home.html import HtmlResult
from search.home.settings import read_settings
from search.optimization.explanations import Explanation, explain, interrupted
from search.optimization.leaderboard import TrialRow, leaderboard, objective_of
from search.optimization.studies import load_study, study_names
from search.reporting.live.following import is_being_searched
from search.storage.attributes import ELAPSED, SPEC


@dataclass(frozen=True, slots=True)
class StudySummary(HtmlResult):
    """One study in a line.

    Attributes:
        name: The study's name.
        source: Its dataset.
        complete: Complete trials.
        pruned: Trials that the pruner ended.
        failed: Trials that failed.
        budget: The budget in trials; None without one.
        timeout_s: The budget in seconds; None without one.
        best_value: The best objective of a complete trial.
        elapsed_s: Duration of its runs together, in seconds.
        majority: Accuracy of always predicting the validation rows' most frequent class; None if unknown.
        objective: The validation metric that ranks its trials.
        baselines: Metrics of its baselines by name; see ``TrialRow``.
        linear: The objective of the linear model; None if unknown.
        constant: The objective of predicting the most frequent class, or the mean; None if unknown.
    """

    name: str
    source: str
    complete: int
    pruned: int
    failed: int
    budget: int | None
    best_value: float | None
    elapsed_s: float
    majority: float | None = None
    objective: str = "val_accuracy"
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    linear: float | None = None
    constant: float | None = None
    timeout_s: float | None = None


def studies(*, home: Path | None = None) -> list[StudySummary]:
    """The studies of a home, the oldest first.

    Raises:
        UnavailableError: The database cannot be used.
    """
    settings = read_settings(home)
    found = []
    for name in study_names(settings):
        study = load_study(settings, name)
        attributes, rows = study.user_attrs, leaderboard(study)
        spec = attributes.get(SPEC, {})
        states = [row.state for row in rows]
        beside = rows[0].comparison.baselines if rows else {}
        found.append(
            StudySummary(
                name=name,
                source=spec.get("data", {}).get("source", ""),
                complete=states.count("COMPLETE"),
                pruned=states.count("PRUNED"),
                failed=states.count("FAIL"),
                budget=spec.get("study", {}).get("trials"),
                best_value=next((row.value for row in rows if row.state == "COMPLETE"), None),
                elapsed_s=attributes.get(ELAPSED, 0.0),
                majority=rows[0].majority if rows else None,
                objective=objective_of(attributes).name,
                baselines=rows[0].baselines if rows else {},
                linear=beside.get("linear"),
                constant=next((beside[name] for name in ("majority", "mean", "median") if name in beside), None),
                timeout_s=spec.get("study", {}).get("timeout_s"),
            )
        )
    return found


def explain_trial(study: str, number: int, *, home: Path | None = None) -> Explanation:
    """Explains why a trial is the best, was pruned or failed.

    Raises:
        NotFoundError: There is no such study or trial.
    """
    found = explain(load_study(read_settings(home), study), number)
    is_left = found.row.state == "RUNNING" and not is_being_searched(study, home)
    return interrupted(found.row) if is_left else found


def trials(name: str, *, home: Path | None = None) -> list[TrialRow]:
    """The trials of a study, the best first.

    Raises:
        NotFoundError: There is no study of that name.
    """
    return leaderboard(load_study(read_settings(home), name))
