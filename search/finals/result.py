"""The result of the finals, and the model that they choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from search.finals.ensemble import Ensemble
from search.finals.selection import Verdict
from search.home.html import HtmlResult
from search.home.text import times

Model = Literal["finalist", "refit", "ensemble", "refit-ensemble"]
"""The model of a study: its median finalist, its winner trained once more, the winner's networks of all seeds as one
model, or as many refits as one model."""


@dataclass(frozen=True, slots=True)
class FinalistsResult(HtmlResult):
    """The result of the finals.

    Attributes:
        study: The study's name.
        verdict: The winner and the others; None if the finals were interrupted before.
        refit_run_id: The run that trained the winner on training and validation rows together; None without a refit.
        refit_failure: The refits that failed, each with the reason; "" where none did.
        used_run: The run whose model is evaluated and promoted; "" where MLflow does not have it yet.
        seal_opened: How often the held-out test of the study was read.
        interrupted: Whether Ctrl-C ended it; the same call resumes it.
        undelivered: Runs that were not sent to MLflow yet; they wait in the spool.
        majority: Accuracy of always predicting the validation rows' most frequent class; None in a regression.
        baselines: Metrics on the validation rows of each baseline; see ``TrialRow``.
        folds: Number of folds that the value of each run is the mean of; 1 with one split.
        ensemble: The winner's networks of all seeds as one model; None without one.
        model: Of the study; None before the finals ended, and where an earlier version did not record it.
    """

    study: str
    verdict: Verdict | None
    refit_run_id: str | None
    seal_opened: int
    interrupted: bool
    undelivered: int = 0
    majority: float | None = None
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    folds: int = 1
    ensemble: Ensemble | None = None
    model: Model | None = None
    refit_failure: str = ""
    used_run: str = ""

    @property
    def _shown(self) -> Mapping[str, object]:
        finalists = self.verdict.finalists if self.verdict else ()
        means = {f"trial {found.candidate.trial}": found.mean if found.values else None for found in finalists}
        explanation = self.verdict.explanation if self.verdict else "interrupted: call it again to continue"
        read = {"held-out test": f"read {times(self.seal_opened)}" if self.seal_opened else "never read"}
        return {"study": self.study, "winner": explanation, "mean over seeds": means, **read}
