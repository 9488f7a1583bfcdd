"""The trials that keep their model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.optimization.leaderboard import TrialRow
from search.optimization.run_records import has_model
from search.storage.attributes import RECORD, RESULT, SEAL, VERDICT
from search.tracking.run_names import finalist_trial


def needed_trials(attributes: Mapping[str, Any], rows: Sequence[TrialRow], keep: int) -> set[int]:
    """Numbers of the trials whose model files something needs, as far as Optuna's database tells.

    These are the best ones, those in training, finalists, and the model that the held-out test was opened for.

    Args:
        attributes: Of the study.
        rows: Its trials, the best first.
        keep: Number of the best complete trials that keep theirs.
    """
    complete = [row for row in rows if row.state == "COMPLETE"]
    needed = {row.number for row in complete[:keep]}
    needed |= {row.number for row in rows if row.state in ("RUNNING", "WAITING")}
    needed |= set(attributes.get(VERDICT, {}).get("trials", ()))
    finalists = (finalist_trial(key.removeprefix(RECORD)) for key in attributes if key.startswith(RECORD))
    needed |= {number for number in finalists if number is not None}
    tested = {reading.get("run_id") for reading in attributes.get(SEAL, ())} - {None}
    return needed | {row.number for row in rows if row.run_id in tested}


def has_model_file(trial: FrozenTrial) -> bool:
    """Whether a trial had a model file when it ended; one with the result of an equal trial had none."""
    result = trial.user_attrs.get(RESULT, {})
    return has_model(result) and "copied_from" not in result
