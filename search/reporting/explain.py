"""Why one trial won, was pruned or failed, in a paragraph, with the figures that decided it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from pipelines.errors import NotFoundError
from search.home.settings import read_settings
from search.optimization.leaderboard import TrialRow, leaderboard
from search.optimization.pruners import rung
from search.optimization.studies import load_study
from search.storage.attributes import RESULT, SPEC

_RULES = {
    "asha": "asha keeps the best third of those that reached a 27th, a ninth and a third of their own epochs",
    "hyperband": "hyperband keeps the best third of those of its bracket, at epochs that grow by three",
    "median": "the median pruner ends what is below the median of the others at that epoch",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One trial: its row in the leaderboard, and the paragraph."""

    row: TrialRow
    text: str


def explain_trial(study: str, number: int, *, home: Path | None = None) -> Explanation:
    """Says why a trial won, was pruned or failed.

    Raises:
        NotFoundError: There is no such study or trial.
    """
    found = load_study(read_settings(home), study)
    rows, spec = leaderboard(found), found.user_attrs.get(SPEC, {})
    row = next((row for row in rows if row.number == number), None)
    if row is None:
        there = f"the trials are 0 to {len(rows) - 1}" if rows else "it has none yet"
        raise NotFoundError(f"trial {number}: must be one of study {study!r}; {there}")
    trials = found.get_trials(deepcopy=False)
    result = trials[number].user_attrs.get(RESULT, {})
    pruner = spec.get("search", {}).get("pruner", "")
    return Explanation(row, " ".join([_what_happened(row, rows, trials, result, pruner), *_origin(result)]))


def _what_happened(
    row: TrialRow, rows: Sequence[TrialRow], trials: Sequence[FrozenTrial], result: dict[str, Any], pruner: str
) -> str:
    if row.state == "COMPLETE":
        return _complete(row, rows, result)
    if row.state == "PRUNED":
        return _pruned(row, trials, result, pruner)
    if row.state == "FAIL":
        reason = result.get("message", "no reason is known")
        return f"Trial {row.number} failed after {row.epochs_trained} epochs: {reason}."
    doing = "is in training" if row.state == "RUNNING" else "waits to be trained again: it was interrupted"
    return f"Trial {row.number} {doing}; {row.epochs_trained} epochs are known of it."


def _complete(row: TrialRow, rows: Sequence[TrialRow], result: dict[str, Any]) -> str:
    complete = [other for other in rows if other.state == "COMPLETE"]
    rank, value = complete.index(row) + 1, row.value or 0.0
    text = (
        f"Trial {row.number} reached a validation accuracy of {value:.4f} at epoch {row.best_epoch} of"
        f" {row.epochs_trained}, rank {rank} of {len(complete)} that were trained to their end"
    )
    if others := [other for other in complete if other is not row][:1]:
        gap = value - (others[0].value or 0.0)
        text += f": {abs(gap):.4f} {'below' if gap < 0 else 'above'} the {'next' if rank == 1 else 'best'},"
        text += f" trial {others[0].number}"
    text += "."
    if result.get("stop_reason") == "timeout":
        planned = row.params.get("epochs")
        text += f" The study's time ended it there, before the {planned} epochs it was to train."
    return text


def _pruned(row: TrialRow, trials: Sequence[FrozenTrial], result: dict[str, Any], pruner: str) -> str:
    epoch, params = row.epochs_trained, row.params
    if result.get("stop_reason") == "diverged":
        rate = f"{params.get('optimizer')} at learning rate {params.get('learning_rate'):.3g}"
        return (
            f"Trial {row.number} was ended in epoch {epoch + 1}: its loss was no longer a number, with {rate}."
            " A lower learning rate keeps it finite."
        )
    values, where = _compared(row.number, epoch, trials, pruner)
    if row.number not in values:
        return f"Trial {row.number} was pruned after {epoch} of {params.get('epochs')} epochs."
    own = values[row.number]
    rank = 1 + sum(value > own for value in values.values())
    return (
        f"Trial {row.number} was pruned after {epoch} of {params.get('epochs')} epochs: its validation accuracy there,"
        f" {own:.4f}, is rank {rank} of the {len(values)} trials that reached {where}, whose median is"
        f" {statistics.median(values.values()):.4f} and whose best is {max(values.values()):.4f}"
        + (f"; {_RULES[pruner]}." if pruner in _RULES else ".")
    )


def _compared(number: int, epoch: int, trials: Sequence[FrozenTrial], pruner: str) -> tuple[dict[int, float], str]:
    """The values that a trial's was held against, with its own, by trial number; and where they were reached."""
    if pruner == "asha":
        reached = next((rung(t) for t in trials if t.number == number), None)
        values = {t.number: t.system_attrs[reached] for t in trials if reached in t.system_attrs}
        return values, "the same share of their epochs"
    return {t.number: t.intermediate_values[epoch] for t in trials if epoch in t.intermediate_values}, f"epoch {epoch}"


def _origin(result: dict[str, Any]) -> list[str]:
    said = []
    if (source := result.get("copied_from")) is not None:
        said.append(f"Its configuration is that of trial {source}, so that result was taken over.")
    if (epoch := result.get("would_be_pruned_at")) is not None:
        said.append(f"It would have been pruned after epoch {epoch}, and ran on as a sample of what pruning misses.")
    return said
