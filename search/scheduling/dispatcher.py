"""Jobs in the slots of a pool: which job trains where, which is retried, and slots that join or leave."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from pipelines.config import Hyperparameters
from search.devices.slots import Slot
from search.scheduling.progress import Observer, Progress, SlotView
from search.tracking.entries import Epoch, RunStart
from search.workers.pool import Failed, Gone, Lost, Pool, Ready
from search.workers.tasks import Task

MAX_ATTEMPTS = 3
"""A job whose process dies is retried twice."""
_NO_SLOT = Slot(-1, "")


@dataclass(slots=True)
class Job:
    """A configuration to train: a trial, a finalist, a single training or a probe fit.

    Attributes:
        start: The facts of its run that are known at the start.
        task: The task of the slot; its number identifies the job.
        slot: Where it trains, or trained last.
        metrics: Names of the metrics that are logged of each epoch; None for all.
        attempt: From 1; a retry counts one more.
        epochs: Those of this attempt that have ended.
        exclusive: Whether it needs a whole device.
        replaces_run: Whether MLflow may have a run of this name already.
        limit_s: Time limit of one attempt, in seconds, for each seed that it trains; None for no limit.
        deadline: Value of ``time.monotonic`` at which the attempt takes too long.
    """

    start: RunStart
    task: Task
    slot: Slot = _NO_SLOT
    metrics: tuple[str, ...] | None = None
    attempt: int = 1
    epochs: list[Epoch] = field(default_factory=list)
    exclusive: bool = False
    replaces_run: bool = False
    limit_s: float | None = None
    deadline: float = math.inf

    @property
    def number(self) -> int:
        """The task's number."""
        return self.task.number

    @property
    def name(self) -> str:
        """The run's name."""
        return self.start.run_name

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The configuration."""
        return self.task.hyperparameters

    @property
    def n_seeds(self) -> int:
        """Number of seeds that its task trains."""
        return 1 + len(self.task.more_seeds)


J = TypeVar("J", bound=Job)


class Dispatcher(Generic[J]):
    """Assigns jobs to free slots and retries those that were lost or ran out of memory.

    Args:
        pool: The slots.
        observer: Is told why a job is retried.
        progress: Shows each slot.
        fail: Called for a job that is not retried: the job, a message and a traceback.

    Attributes:
        running: Jobs in training, by number.
        retries: Jobs that wait for another attempt.
    """

    def __init__(self, pool: Pool, observer: Observer, progress: Progress, fail: Callable[[J, str, str], None]) -> None:
        self._pool = pool
        self._observer = observer
        self._progress = progress
        self._fail = fail
        self.running: dict[int, J] = {}
        self.retries: list[J] = []
        self._free: list[Slot] = []

    def __iter__(self) -> Iterator[J]:
        """All jobs that have not ended."""
        return iter((*self.running.values(), *self.retries))

    def free_slots(self) -> list[Slot]:
        """Slots that can take a job; a device reserved for an exclusive job has none until all of its slots idle."""
        reserved = {job.slot.device for job in self if job.exclusive}
        busy = {slot.device for slot in self._pool.slots if slot not in self._free} if reserved else set()
        return [slot for slot in self._free if slot.device not in reserved & busy]

    def stuck(self) -> set[int]:
        """Jobs to retry that perhaps no slot can take before a job in training has ended."""
        if len(self._free) + len(self.running) < len(self._pool.slots):
            return set()  # a slot has neither a job nor a process yet
        free = self.free_slots()
        return {job.number for job in self.retries if not any(_suits(slot, job) for slot in free)}

    def next_retry(self) -> tuple[J, Slot] | None:
        """A job to retry and the slot for it; None where no free slot suits one."""
        for slot in self.free_slots():
            for job in self.retries:
                if _suits(slot, job):
                    self.retries.remove(job)
                    return job, slot
        return None

    def submit(self, job: J, slot: Slot) -> None:
        """Starts an attempt in a free slot."""
        self._free.remove(slot)
        job.slot = slot
        job.epochs = []
        job.start = replace(job.start, tags={**job.start.tags, "device": slot.device})
        self.running[job.number] = job
        self._progress.slots[slot.number] = SlotView(slot.device, job.name, job.hyperparameters)
        job.deadline = time.monotonic() + (job.limit_s or math.inf) * job.n_seeds
        self._pool.submit(slot, replace(job.task, exclusive=job.exclusive))

    def kill_overdue(self) -> None:
        """Kills the processes of attempts beyond the time limit; their jobs fail."""
        for job in self.running.values():
            if time.monotonic() > job.deadline:
                self._pool.kill(job.slot)

    def handle(self, event: Ready | Gone | Failed | Lost) -> None:
        """Updates the slots, and retries or fails a job that ended without an outcome."""
        if isinstance(event, Ready | Gone):  # a slot that died while idle is in the list when it comes back
            self._free = [slot for slot in self._free if slot != event.slot]
        if isinstance(event, Ready):
            self._free.append(event.slot)
            self._progress.slots[event.slot.number] = SlotView(event.slot.device)
        elif isinstance(event, Gone):
            self._remove_slot(event)
        elif isinstance(event, Lost):
            self._retry_lost(event)
        elif event.out_of_memory:
            self._retry_exclusively(event)
        else:
            self._fail(self.running[event.number], event.message, event.traceback)

    def _remove_slot(self, event: Gone) -> None:
        self._progress.slots.pop(event.slot.number, None)
        for job in self.retries:
            job.exclusive = job.exclusive and job.slot.device != event.slot.device
        reason = f": {event.message}" if event.message else ""
        self._observer.note(f"{event.slot.device} is gone{reason}; training continues on the other slots")

    def _retry_lost(self, event: Lost) -> None:
        job = self.running[event.number]
        if time.monotonic() > job.deadline:
            each = f" for each of {job.n_seeds} seeds" if job.n_seeds > 1 else ""
            self._fail(job, f"workers.trial_timeout_s: took longer than {job.limit_s:,.10g} s{each} and was ended", "")
        elif job.attempt >= MAX_ATTEMPTS:
            self._fail(job, f"{event.message}, {job.attempt} times with this configuration", "")
        else:
            self._retry(job, f"{event.message}; retrying")

    def _retry_exclusively(self, event: Failed) -> None:
        """Retries a job once with its whole device, where a share of the device's memory was too small."""
        job, device = self.running[event.number], event.slot.device
        if job.exclusive or sum(slot.device == device for slot in self._pool.slots) < 2:
            advice = f"{device} has too little memory even for this trial alone: lower width, depth or batch_size"
            self._fail(job, f"{advice} ({event.message})", event.traceback)
        else:
            job.exclusive = True
            self._retry(job, f"ran out of memory in its share of {device}; retrying with the whole device")

    def _retry(self, job: J, note: str) -> None:
        del self.running[job.number]
        job.attempt += 1
        job.replaces_run = True
        self.retries.append(job)
        self.release(job)
        self._observer.note(f"{job.name}: {note}")

    def release(self, job: Job) -> None:
        """Shows the slot of a job that has ended as idle."""
        view = self._progress.slots.get(job.slot.number)
        if view and view.run_name == job.name:
            self._progress.slots[job.slot.number] = SlotView(job.slot.device)


def _suits(slot: Slot, job: Job) -> bool:
    """Whether a free slot may take a job to retry: an exclusive one keeps its device."""
    return not job.exclusive or job.slot.device == slot.device
