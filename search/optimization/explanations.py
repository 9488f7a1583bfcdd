"""A trial in a paragraph: why it won, was pruned or failed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.objectives import OBJECTIVES, Objective
from search.home.html import HtmlResult
from search.home.text import value_text
from search.optimization.leaderboard import TrialRow, leaderboard, objective_of, row_of
from search.optimization.pruners import rung
from search.storage.attributes import PRUNED_AT, REQUEUED, RESULT, SPEC

Result: TypeAlias = Mapping[str, Any]
"""The record of a training; see ``search.optimization.run_records.result_of``."""

_RULES = {
    "asha": "when it was pruned, fewer of these were known, and asha keeps the best third at a 27th, a ninth and a"
    " third of their own epochs",
    "hyperband": "when it was pruned, fewer of these were known, and hyperband keeps the best third of those of its"
    " bracket, at epochs that grow by a factor of three",
}


@dataclass(frozen=True, slots=True)
class Explanation(HtmlResult):
    """One trial: its row in the leaderboard, and the paragraph."""

    row: TrialRow
    text: str

    @property
    def _shown(self) -> Mapping[str, object]:
        return {"trial": self.row.number, "": self.text}


def explain(study: optuna.Study, number: int) -> Explanation:
    """Explains why a trial of an open study won, was pruned or failed.

    Raises:
        NotFoundError: The study has no such trial.
    """
    rows = leaderboard(study)
    row = row_of(rows, number, study.study_name)
    return _explain(row, _complete_rows(rows), study.get_trials(deepcopy=False), study.user_attrs)


def interrupted(row: TrialRow) -> Explanation:
    """Explains a trial that is in training by the record, but by no process."""
    text = f"Trial {row.number} was interrupted and is trained again once the study resumes"
    return Explanation(row, f"{text}; {row.epochs_trained} of its epochs are recorded.")


def explain_finished(study: optuna.Study, most: int) -> list[Explanation]:
    """Explains the trials of an open study that have ended, the best first, and no more than ``most`` of them."""
    rows, trials, attributes = leaderboard(study), study.get_trials(deepcopy=False), study.user_attrs
    complete = _complete_rows(rows)
    finished = [row for row in rows if trials[row.number].state.is_finished()]
    return [_explain(row, complete, trials, attributes) for row in finished[:most]]


def _complete_rows(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.state == "COMPLETE"]


def _explain(
    row: TrialRow, complete: Sequence[TrialRow], trials: Sequence[FrozenTrial], attributes: Mapping[str, Any]
) -> Explanation:
    number = row.number
    result = trials[number].user_attrs.get(RESULT, {})
    if row.state == "COMPLETE":
        text = _complete(row, complete, result)
    elif row.state == "PRUNED":
        text = _pruned(row, trials, result, attributes)
    elif row.state == "FAIL":
        text = f"failed after {row.epochs_trained} epochs: {result.get('message', 'no reason is recorded')}."
    else:
        waits = "is enqueued and waits"
        if REQUEUED in trials[number].user_attrs:
            has_begun = row.run_id or row.epochs_trained
            waits = "was interrupted and waits to be trained again" if has_begun else "waits to be trained"
        doing = "is in training" if row.state == "RUNNING" else waits
        text = f"{doing}; {row.epochs_trained} of its epochs are recorded."
    return Explanation(row, f"Trial {number} {text}{_origin(result)}")


def _complete(row: TrialRow, complete: Sequence[TrialRow], result: Result) -> str:
    rank, value = [other.number for other in complete].index(row.number) + 1, row.value or 0.0
    objective = OBJECTIVES[row.objective]
    text = (
        f"reached {objective.label} {value_text(value)}{_over_folds(row)} at epoch {row.best_epoch} of"
        f" {row.epochs_trained}, rank {rank}"
        f" of the {len(complete)} complete trials"
    )
    if len(complete) > 1:
        other = complete[1 if rank == 1 else 0]
        text += f": {_beside(value, other.value or 0.0, objective)} the {'next' if rank == 1 else 'best'},"
        text += f" trial {other.number}"
    if result.get("stop_reason") == "timeout":
        text += f". The study's timeout ended it before its {row.params.get('epochs')} planned epochs"
    return " ".join([f"{text}.", *row.comparison.sentences("this trial")])


def _beside(value: float, other: float, objective: Objective) -> str:
    """The comparison of a value with another one; values that are shown with the same digits are equal."""
    if value_text(value) == value_text(other):
        return "as good as"
    return f"{value_text(abs(value - other))} {'better' if objective.gain(value - other) > 0 else 'worse'} than"


def _over_folds(row: TrialRow) -> str:
    """The note that a value is a mean over folds, with its spread."""
    if row.folds == 1:
        return ""
    spread = "" if row.std is None else f", standard deviation {value_text(row.std)}"
    return f" (mean of {row.folds} folds{spread})"


def _pruned(row: TrialRow, trials: Sequence[FrozenTrial], result: Result, attributes: Mapping[str, Any]) -> str:
    pruner, objective = attributes.get(SPEC, {}).get("search", {}).get("pruner", ""), objective_of(attributes)
    epoch, params = row.epochs_trained, row.params
    if result.get("stop_reason") == "diverged":
        rate = f"{params.get('optimizer')} at learning rate {params.get('learning_rate'):.3g}"
        return (
            f"was ended in epoch {epoch + 1}: its loss was not a number, with {rate}. A lower learning rate keeps the"
            " loss finite."
        )
    text = f"was pruned after {epoch} of {params.get('epochs')} epochs"
    if pruner == "median":
        return f"{text}{_beside_median(trials[row.number], trials, objective)}."
    values, where = _compared(trials[row.number], trials, pruner)
    if row.number not in values:
        return f"{text}."
    own = values[row.number]
    rank = 1 + sum(objective.is_better(value, own) for value in values.values())
    rule = f"; {_RULES[pruner]}" if pruner in _RULES else ""
    return (
        f"{text}: its {objective.label} there, {value_text(own)}, is rank {rank} of the {len(values)} trials that"
        f" reached {where}, whose median is {value_text(statistics.median(values.values()))} and whose best is"
        f" {value_text(max(values.values(), key=objective.gain))}{rule}."
    )


def _beside_median(trial: FrozenTrial, trials: Sequence[FrozenTrial], objective: Objective) -> str:
    """The comparison of Optuna's median pruner: a trial's best value so far, and those of complete trials."""
    epoch = trial.last_step
    complete = [t for t in trials if t.state == TrialState.COMPLETE and epoch in t.intermediate_values]
    if epoch is None or not complete:
        return ""
    values = [t.intermediate_values[epoch] for t in complete]
    own = max(trial.intermediate_values.values(), key=objective.gain)
    return (
        f": its best {objective.label} until then was {value_text(own)}; at epoch {epoch} the {len(values)} complete"
        f" trials have a median of {value_text(statistics.median(values))} and a best value of"
        f" {value_text(max(values, key=objective.gain))}; the median pruner ends trials that are worse than the median"
    )


def _compared(trial: FrozenTrial, trials: Sequence[FrozenTrial], pruner: str) -> tuple[dict[int, float], str]:
    """The values that the pruner compared, by trial number, and the point of training at which they were reached."""
    if pruner == "asha":
        reached = rung(trial)
        values = {t.number: t.system_attrs[reached] for t in trials if reached in t.system_attrs}
        return values, "the same share of their epochs"
    epoch = trial.last_step
    return {t.number: t.intermediate_values[epoch] for t in trials if epoch in t.intermediate_values}, f"epoch {epoch}"


def _origin(result: Result) -> str:
    text = ""
    if "copied_from" in result:
        text += f" Its configuration equals that of trial {result['copied_from']}, whose result was copied."
    if PRUNED_AT in result:
        text += f" The pruner would have ended it after epoch {result[PRUNED_AT]}; it trained to its end as an audit."
    return text
