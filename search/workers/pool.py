"""Pools of slots: the events that a pool returns, its contract, and what the local and the Ray pool share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from pipelines.data.datasets import Dataset
from pipelines.training.history import EpochReport
from search.devices.gpus import find_gpus
from search.devices.precision import have_bfloat16
from search.devices.slots import Slot
from search.workers.tasks import Outcome, StopReason, Task

_MAX_FAILED_STARTS = 5
"""Processes of a slot, one after the other, that may end before they could take a task."""
_CUDA_HOST_MB = 4000
"""Host memory that CUDA's libraries hold in each process that uses a GPU. An assumption."""


class Ready(NamedTuple):
    """A slot can take its next task."""

    slot: Slot


class Reported(NamedTuple):
    """An epoch has ended; the pool expects ``answer`` for it unless it was the task's last."""

    slot: Slot
    number: int
    report: EpochReport


class Finished(NamedTuple):
    """A task has ended with an outcome."""

    slot: Slot
    number: int
    outcome: Outcome


class Failed(NamedTuple):
    """A task raised an error: the same task would raise it again.

    Attributes:
        slot: The slot of the task.
        number: The task's number.
        message: One line for people.
        traceback: The error's traceback; "" for an error that the user can correct.
        out_of_memory: Whether the device's memory was too small; with exclusive use of the device it may suffice.
    """

    slot: Slot
    number: int
    message: str
    traceback: str = ""
    out_of_memory: bool = False


class Lost(NamedTuple):
    """The slot's process or machine died while it trained a task; the task can be submitted again."""

    slot: Slot
    number: int
    message: str


class Gone(NamedTuple):
    """A slot has left the pool, with its machine or its GPU. Its task, if it had one, was reported as lost.

    Attributes:
        slot: The slot.
        message: The reason, as one line for people; "" where ``Lost`` or the device's name says enough.
    """

    slot: Slot
    message: str = ""


Event = Ready | Reported | Finished | Failed | Lost | Gone


@dataclass(eq=False, kw_only=True)
class Worker:
    """The pool's end of one slot's process.

    Attributes:
        slot: The slot.
        send: Sends it a task or an answer.
        kill: Ends it at once.
        task: The task in training; None for an idle worker.
        failed_starts: Processes of the slot in a row that ended before they could take a task.
    """

    slot: Slot
    send: Callable[[object], object]
    kill: Callable[[], object]
    task: Task | None = None
    failed_starts: int = 0

    def lost(self, message: str) -> list[Event]:
        """The event that ends its task, if it has one."""
        return [Lost(self.slot, self.task.number, message)] if self.task else []


_W = TypeVar("_W", bound=Worker)


class BasePool(ABC, Generic[_W]):
    """Slots that train tasks. One thread uses a pool; ``close`` may come at any time.

    Every submitted task ends in exactly one ``Finished``, ``Failed`` or ``Lost``. Its reports come before that, in
    order. A slot is ``Ready`` before it takes a task: at first, and after the end of each task.

    Args:
        memory_mb: A process that holds more memory after a task, beside its rows, is replaced by a new one.
        dataset: The dataset of the tasks. A process maps its rows, and may copy them.
    """

    def __init__(self, memory_mb: int, dataset: Dataset) -> None:
        self._memory_mb = memory_mb + (2 * dataset.n_bytes >> 20)
        self._workers: dict[Slot, _W] = {}

    @abstractmethod
    def poll(self, timeout_s: float) -> list[Event]:
        """Returns the events since the last call; waits up to ``timeout_s`` for the first one."""

    @abstractmethod
    def close(self) -> None:
        """Ends every process at once and drops the tasks in training."""

    @abstractmethod
    def _replace(self, worker: _W) -> None:
        """Ends a worker's process and starts another one in its slot."""

    @abstractmethod
    def _remove(self, slot: Slot, message: str) -> list[Event]:
        """Removes a slot that cannot be used any more; raises UnavailableError where the pool is of no use then."""

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots that the pool has now."""
        return list(self._workers)

    def has_bfloat16(self) -> bool:
        """Whether the processor of every slot multiplies bfloat16 natively."""
        return have_bfloat16(self.slots)

    def submit(self, slot: Slot, task: Task) -> None:
        """Starts a task in a slot that is ready. For an exclusive task the device's other slots must be idle."""
        self._workers[slot].task = task
        self._send(slot, task)

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        """Lets the slot's task continue after that epoch, or ends it there."""
        if slot in self._workers:  # it may have left together with another slot of its device
            self._send(slot, (epoch, stop))

    def _send(self, slot: Slot, message: object) -> None:
        with suppress(OSError):  # its process has just died: the next poll finds that out
            self._workers[slot].send(message)

    def kill(self, slot: Slot) -> None:
        """Ends the slot's process at once; its task is reported as lost."""
        self._workers[slot].kill()

    def _receive(self, worker: _W, event: Event) -> list[Event]:
        """Returns the events that follow from one that a worker has sent."""
        slot = worker.slot
        if isinstance(event, Gone):
            return self._remove(slot, event.message)
        if isinstance(event, Failed) and event.traceback and _is_device_gone(slot):
            return self._remove(slot, f"{slot.device} does not answer any more")
        worker.failed_starts = 0
        if isinstance(event, Ready) and worker.task:
            return []  # a task was submitted while an idle process was being replaced
        if not worker.task or not isinstance(event, Finished | Failed):
            return [event]
        limit_mb = self._memory_mb + (_CUDA_HOST_MB if slot.device.startswith("gpu") else 0)
        is_large = isinstance(event, Finished) and event.outcome.memory_mb > limit_mb
        task, worker.task = worker.task, None
        if is_large or task.exclusive:
            self._replace(worker)  # the new process reports that it is ready
            return [event]
        return [event, Ready(slot)]

    def _replace_dead(self, worker: _W, message: str, reason: str = "") -> list[Event]:
        """Starts another process for a slot whose process has died, unless that keeps happening to idle ones."""
        slot = worker.slot
        if _is_device_gone(slot):
            return self._remove(slot, f"{message}, and {slot.device} does not answer any more")
        failed_starts = worker.failed_starts + (worker.task is None)
        if failed_starts > _MAX_FAILED_STARTS:
            times = f"{failed_starts} times in a row"
            return self._remove(slot, f"{message} before it could take a trial, {times}{reason}")
        self._replace(worker)
        self._workers[slot].failed_starts = failed_starts
        return worker.lost(message)


Pool: TypeAlias = BasePool[Any]
"""A pool of any kind of worker."""


def _is_device_gone(slot: Slot) -> bool:
    """Whether NVML does not know a slot's GPU any more: it fell off the bus, or was taken away."""
    return bool(slot.visible_devices) and not find_gpus(slot.visible_devices)
