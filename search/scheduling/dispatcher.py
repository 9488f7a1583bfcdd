"""Attempts in the slots of a pool: who trains where, who trains again and why, and slots that come and go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from pipelines.config import Hyperparameters
from search.devices.slots import Slot
from search.scheduling.progress import Observer, Progress, SlotView
from search.tracking.entries import Epoch, RunStart
from search.workers.pool import Failed, Gone, Lost, Pool, Ready
from search.workers.tasks import Task

MAX_ATTEMPTS = 3
"""What a process died of is trained again, at most twice."""


class Trained(Protocol):
    """One try to train a configuration: a trial, or a run that is none.

    Attributes:
        start: What its run begins with.
        slot: Where it trains, or trained last.
        number: From 1; one whose process died gets another.
        epochs: What was reported since.
        alone: Whether it is to have its device for itself.
    """

    start: RunStart
    slot: Slot
    number: int
    epochs: list[Epoch]
    alone: bool

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Its configuration."""


_T = TypeVar("_T", bound=Trained)


class Dispatcher(Generic[_T]):
    """Gives attempts to slots; what is lost, or lacks memory in its share of a device, it keeps to give out again.

    Args:
        pool: The slots.
        observer: Is told why something trains again.
        progress: Shows each slot.
        fail: Ends an attempt that is not to be trained again: it, a message and a traceback.
        limit_s: The longest that one may take; None means no limit.
        now: Seconds since some moment; a simulation has its own.

    Attributes:
        running: What is in training, by its task's number.
        again: What is to be trained again.
    """

    def __init__(
        self,
        pool: Pool,
        observer: Observer,
        progress: Progress,
        fail: Callable[[_T, str, str], None],
        limit_s: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._observer, self._progress, self._fail = pool, observer, progress, fail
        self.running: dict[int, _T] = {}
        self.again: list[_T] = []
        self._free: list[Slot] = []
        self._limit_s, self._now = limit_s, now
        self._due: dict[int, float] = {}
        self._hung: set[int] = set()

    def __iter__(self) -> Iterator[_T]:
        """Everything that has not ended."""
        return iter((*self.running.values(), *self.again))

    def free_slots(self) -> list[Slot]:
        """Those that can take one; a device that one is to have alone has none until all of its slots are free."""
        kept = {attempt.slot.device for attempt in self if attempt.alone}
        busy = {slot.device for slot in self._pool.slots if slot not in self._free} if kept else set()
        return [slot for slot in self._free if slot.device not in kept & busy]

    def take_again(self) -> tuple[_T, Slot] | None:
        """One that is to be trained again, with the slot for it; None where none can be now."""
        for slot in self.free_slots():
            for attempt in self.again:
                if not attempt.alone or attempt.slot.device == slot.device:
                    self.again.remove(attempt)
                    return attempt, slot
        return None

    def submit(self, attempt: _T, slot: Slot, task: Task) -> None:
        """Starts one in a slot."""
        self._free.remove(slot)
        attempt.slot, attempt.epochs = slot, []
        attempt.start = replace(attempt.start, tags={**attempt.start.tags, "device": slot.device})
        self.running[task.number] = attempt
        self._progress.slots[slot.number] = SlotView(slot.device, attempt.start.run_name, attempt.hyperparameters)
        self._hung.discard(task.number)
        if self._limit_s:
            self._due[task.number] = self._now() + self._limit_s
        self._pool.submit(slot, task)

    def end_hung(self) -> None:
        """Ends the process of what takes longer than it may: that has failed."""
        for number, attempt in self.running.items():
            if number not in self._hung and self._now() > self._due.get(number, math.inf):
                self._hung.add(number)
                self._pool.kill(attempt.slot)

    def handle(self, event: Ready | Gone | Failed | Lost) -> None:
        """Takes note of a slot that came or went, and decides what becomes of an attempt without a result."""
        if isinstance(event, Ready | Gone):  # an idle slot that died and came back is there already
            self._free = [slot for slot in self._free if slot != event.slot]
        if isinstance(event, Ready):
            self._free.append(event.slot)
            self._progress.slots[event.slot.number] = SlotView(event.slot.device)
        elif isinstance(event, Gone):
            self._leave(event)
        elif isinstance(event, Lost):
            self._retry(event)
        elif event.out_of_memory:
            self._train_alone(event)
        else:
            self._fail(self.running[event.number], event.message, event.traceback)

    def _leave(self, event: Gone) -> None:
        self._progress.slots.pop(event.slot.number, None)
        for attempt in self.again:
            attempt.alone = attempt.alone and attempt.slot.device != event.slot.device
        why = f": {event.message}" if event.message else ""
        self._observer.note(f"{event.slot.device} is gone{why}; the study goes on without it")

    def _retry(self, event: Lost) -> None:
        attempt = self.running[event.number]
        if event.number in self._hung:
            what = f"took longer than {self._limit_s:g} s and was ended"
            self._fail(attempt, f"workers.trial_timeout_s: {what}", "")
        elif attempt.number >= MAX_ATTEMPTS:
            self._fail(attempt, f"{event.message}, {attempt.number} times with this configuration", "")
        else:
            self._queue(event, f"{event.message}; it is trained again")

    def _train_alone(self, event: Failed) -> None:
        """Gives one that a share of its device's memory did not suffice for all of the device, once."""
        attempt, device = self.running[event.number], event.slot.device
        if attempt.alone or sum(slot.device == device for slot in self._pool.slots) < 2:
            advice = f"{device} has not enough memory for it alone: lower the space's width, depth or batch_size"
            self._fail(attempt, f"{advice} ({event.message})", event.traceback)
        else:
            attempt.alone = True
            self._queue(event, f"ran out of its share of {device}'s memory; it is trained again, alone there")

    def _queue(self, event: Failed | Lost, note: str) -> None:
        attempt = self.running.pop(event.number)
        attempt.number += 1
        self.again.append(attempt)
        self.vacate(attempt)
        self._observer.note(f"{attempt.start.run_name}: {note}")

    def vacate(self, attempt: _T) -> None:
        """Shows the slot of one that has ended as idle."""
        view = self._progress.slots.get(attempt.slot.number)
        if view and view.run_name == attempt.start.run_name:
            self._progress.slots[attempt.slot.number] = SlotView(attempt.slot.device)
