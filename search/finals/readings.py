"""The result of a held-out test, and the record that a study keeps of every reading of its test rows."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna

from pipelines.errors import RefusedError
from pipelines.evaluation.metrics import Evaluation
from search.finals.winner import Winner
from search.home.text import times
from search.storage.attributes import SEAL


@dataclass(frozen=True, slots=True)
class SealedResult:
    """The result of a held-out test.

    Attributes:
        winner: The model that was tested.
        evaluation: Scores, interval, per-class table and confusion matrix.
        untrained_accuracy: Of the same network before training.
        seal_opened: How often the test rows of the study were read, this time included.
        test_rows: Hash of the test rows and their labels.
        ordinal: 7 for the 7th model tested on these rows, over all studies of the home or tracking server.
    """

    winner: Winner
    evaluation: Evaluation
    untrained_accuracy: float
    seal_opened: int
    test_rows: str
    ordinal: int

    @property
    def gap(self) -> float:
        """Accuracy on the leaderboard minus test accuracy: above 0 where the leaderboard was too good."""
        return self.winner.candidate.value - self.evaluation.accuracy

    @property
    def figures(self) -> dict[str, object]:
        """The figures that are kept and shown, in plain values."""
        evaluation = self.evaluation
        return {
            "test_accuracy": evaluation.accuracy,
            "interval": list(evaluation.interval),
            "test_loss": evaluation.loss,
            "right": evaluation.n_right,
            "wrong": evaluation.n_wrong,
            "untrained_accuracy": self.untrained_accuracy,
            "majority": evaluation.majority,
            "test_rows": self.test_rows,
            "ordinal": self.ordinal,
        }

    @property
    def record(self) -> dict[str, object]:
        """The figures, the model and the accuracy that was expected of it, as the study keeps them."""
        winner = self.winner
        return {"model_sha256": winner.model_sha256, **self.figures, "promised": winner.candidate.value}


def seal_opened(attributes: Mapping[str, Any]) -> int:
    """How often the held-out test of a study was read, from the study's attributes."""
    return len(attributes.get(SEAL, ()))


def latest_reading(study: optuna.Study) -> dict[str, Any] | None:
    """The record of the last reading that was completed."""
    readings = reversed(study.user_attrs.get(SEAL, ()))
    return next((reading for reading in readings if "test_accuracy" in reading), None)


def previous_readings(study: optuna.Study, *, again: bool) -> list[dict[str, Any]]:
    """The records of the readings before a new one.

    A last reading that was cut off is left out: nobody saw its result, so the new one takes its place.

    Raises:
        RefusedError: The test was read before and is not to be read ``again``.
    """
    readings = list(study.user_attrs.get(SEAL, ()))
    if not readings or "test_accuracy" not in readings[-1]:
        return readings[:-1]
    if again:
        return readings
    last = readings[-1]
    raise RefusedError(
        f"study {study.study_name!r}: the held-out test may be read once; it was read {times(len(readings))},"
        f" last on {last['at']} for {last['run_name']} with test accuracy {last['test_accuracy']:.4f}: a test that is"
        " read again to choose a model is no longer a test; --again reads it anyway and records that"
    )


def authorship() -> dict[str, str]:
    """When and by whom something is done: ``at`` and ``by``; the latter is "" if the system does not know the user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": user}
