"""A pool whose training takes virtual time: the scheduler's own work takes real time, and while it waits time jumps."""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipelines.config import count_parameters
from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.workers.pool import Event, Finished, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task


def metrics(loss: float, accuracy: float) -> dict[str, float]:
    """The metrics of an epoch that training and validation rows share."""
    return {"loss": loss, "accuracy": accuracy, "val_loss": loss, "val_accuracy": accuracy}


RECORD = Path(__file__).parent / "scale_record.json"
N_FEATURES, N_CLASSES = 64, 10  # of digits, which the record is of
_H5_BYTES = 30_000  # of an .h5 besides its weights


class VirtualClock:
    """Advances by the real seconds that pass and by the seconds that are skipped."""

    def __init__(self) -> None:
        self._at, self._mark = 0.0, time.perf_counter()

    def now(self) -> float:
        """Seconds since the start."""
        return self._at + time.perf_counter() - self._mark

    def set(self, at: float) -> None:
        """It is ``at`` now, whatever was done since somebody looked: that is not charged."""
        self._at, self._mark = at, time.perf_counter()


class SteppingClock(VirtualClock):
    """Advances by the seconds that are skipped alone, so that a replay is the same on any machine."""

    def now(self) -> float:
        """Seconds since the start."""
        return self._at


@dataclass(slots=True)
class _Training:
    """A task in a slot.

    Attributes:
        task: The task.
        curve: Validation accuracies over the recorded trial.
        epoch_s: Seconds that an epoch takes.
        history: Reports so far.
        trained_at: When the epoch in training ends, or has ended.
        answered: The last epoch that was answered, and when.
        stop: What the answer was.
        waits: Whether the epoch in training has ended, and the answer to the one before is not there.
        waited_s: Seconds that the slot has stood idle so.
    """

    task: Task
    curve: Sequence[float]
    epoch_s: float
    started: float
    history: list[EpochReport] = field(default_factory=list)
    trained_at: float = 0.0
    answered: int = 0
    answered_at: float = 0.0
    stop: StopReason | None = None
    waits: bool = False
    waited_s: float = 0.0


class VirtualPool:
    """Keeps the contract of ``search.pools.Pool``, with ``serving``'s rule: one epoch ahead of the answers, no more.

    Args:
        n_slots: How many slots.
        trial_s: The mean length of a trial that is trained to its end.
        clock: What the scheduler goes by too.

    Attributes:
        busy: Of each trial that has ended, when it began, when it ended, and for how long it waited for answers.
        n_tasks: Tasks submitted.
        last_submit: When the last one was.
        work_s: Real seconds between two polls: the scheduler's own work, one number a poll.
        costs: ``ask`` (ready to submit), ``report`` (an epoch to its answer) and ``tell`` (an end to the next poll) in
            seconds, with the number of tasks by then; measured where there is one slot.
    """

    def __init__(self, n_slots: int, trial_s: float, clock: VirtualClock) -> None:
        self.slots = [Slot(number, f"virtual:{number}") for number in range(n_slots)]
        record = json.loads(RECORD.read_text())
        self._curves: list[list[float]] = record["curves"]
        self._lengths_s = np.array(record["durations_s"]) * trial_s / np.mean(record["durations_s"])
        self._clock, self._ids = clock, itertools.count()
        self._agenda: list[tuple[float, int, Slot, bool]] = []  # at, order, slot, whether it is its Ready
        self._training: dict[Slot, _Training] = {}
        self.busy: list[tuple[float, float, float]] = []
        self.n_tasks, self.n_reports, self.last_submit, self.work_s = 0, 0, 0.0, 0.0
        self.costs: dict[str, list[tuple[int, float]]] = {"ask": [], "report": [], "tell": []}
        self._resumed, self._pending = 0.0, ""
        for slot in self.slots:
            self._note(0.0, slot, ready=True)

    def _note(self, at: float, slot: Slot, *, ready: bool = False) -> None:
        heapq.heappush(self._agenda, (at, next(self._ids), slot, ready))

    def submit(self, slot: Slot, task: Task) -> None:
        self._measured("ask")
        curve, epoch_s = self.training_of(task)
        now = self._clock.now()
        self._training[slot] = _Training(task, curve, epoch_s, now, trained_at=now + epoch_s)
        self._note(now + epoch_s, slot)
        self.n_tasks, self.last_submit = self.n_tasks + 1, now

    def training_of(self, task: Task) -> tuple[Sequence[float], float]:
        """A task's validation accuracies over its epochs, and the seconds that an epoch takes."""
        drawn = np.random.default_rng(task.seed).integers(len(self._curves))
        return self._curves[drawn], float(self._lengths_s[drawn]) / task.hyperparameters.epochs

    def _measured(self, what: str) -> None:
        """One slot has one event at a time, so what follows a poll belongs to it."""
        if len(self.slots) == 1 and self._pending == what:
            self.costs[what].append((self.n_tasks, self._clock.now() - self._resumed))
            self._pending = ""

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        self._measured("report")
        training = self._training.get(slot)
        if not training or training.stop:
            return
        training.answered, training.stop, training.answered_at = epoch, stop, self._clock.now()
        if training.waits:
            training.waits = False
            self._note(training.answered_at, slot)

    def poll(self, timeout_s: float) -> list[Event]:
        now = self._clock.now()
        self.work_s += now - self._resumed
        self._measured("tell")
        until = max(now, self._agenda[0][0]) if self._agenda else now + timeout_s
        if until > now + timeout_s:
            self._resumed = now + timeout_s
            self._clock.set(self._resumed)
            return []
        events: list[Event] = []
        while self._agenda and self._agenda[0][0] <= until:
            at, _, slot, ready = heapq.heappop(self._agenda)
            events += [Ready(slot)] if ready else self._train_on(slot, at)
        kinds = {Ready: "ask", Reported: "report", Finished: "tell"}
        self._pending = kinds[type(events[0])] if len(events) == 1 else ""
        self._resumed = until
        self._clock.set(until)
        return events

    def _train_on(self, slot: Slot, at: float) -> list[Event]:
        """The epoch in training has ended, and the answer to the one before may be there."""
        training = self._training[slot]
        if training.answered < len(training.history) and not training.stop:
            training.waits = True
            return []
        if training.answered_at > training.trained_at:
            training.waited_s += training.answered_at - training.trained_at
            at = training.answered_at
        if training.stop:
            return [self._end(slot, at, training.stop)]
        n_epochs = training.task.hyperparameters.epochs
        epoch = len(training.history) + 1
        accuracy = training.curve[-(-epoch * len(training.curve) // n_epochs) - 1]
        report = EpochReport(epoch, metrics(1 - accuracy, accuracy), 1e-3, training.epoch_s)
        training.history.append(report)
        self.n_reports += 1
        events: list[Event] = [Reported(slot, training.task.number, report)]
        if epoch == n_epochs:
            training.stop, training.trained_at = "finished", at
            self._note(at, slot)
        else:
            training.trained_at = at + training.epoch_s
            self._note(training.trained_at, slot)
        return events

    def _end(self, slot: Slot, at: float, stop: StopReason) -> Finished:
        training = self._training.pop(slot)
        self.busy.append((training.started, at, training.waited_s))
        best = max(training.history, key=lambda report: report.metrics["val_accuracy"])
        n_parameters = count_parameters(training.task.hyperparameters, N_FEATURES, N_CLASSES)
        model = bytes(_H5_BYTES + 4 * n_parameters)
        outcome = Outcome(
            tuple(training.history), best.epoch, best.metrics["val_accuracy"], model, "0" * 64, b"", n_parameters, stop,
            at - training.started, 0,
        )  # fmt: skip
        self._note(at, slot, ready=True)
        return Finished(slot, training.task.number, outcome)

    def in_training(self) -> list[tuple[float, float, float]]:
        """The jobs that have not ended; ``busy`` has those that have."""
        now = self._clock.now()
        return [(training.started, now, training.waited_s) for training in self._training.values()]

    def kill(self, slot: Slot) -> None:
        raise AssertionError("nothing hangs here")

    def close(self) -> None:
        pass
