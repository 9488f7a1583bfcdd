"""The studies of a home, each with its trials and its best value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search.home.settings import read_settings
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_study, study_names
from search.storage.attributes import ELAPSED, SPEC


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study in a line.

    Attributes:
        name: The study's name.
        source: Its dataset.
        complete: Complete trials.
        pruned: Trials that the pruner ended.
        failed: Trials that failed.
        budget: The budget in trials; None without one.
        best_value: The best validation accuracy of a complete trial.
        elapsed_s: Duration of its runs together, in seconds.
    """

    name: str
    source: str
    complete: int
    pruned: int
    failed: int
    budget: int | None
    best_value: float | None
    elapsed_s: float


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
            )
        )
    return found
