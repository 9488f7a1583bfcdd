"""Pools: where trials train. The contract that every pool keeps, and the events that come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.workers.tasks import Outcome, StopReason, Task


@dataclass(frozen=True, slots=True)
class Ready:
    """A slot can take its next task."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Reported:
    """An epoch has ended; the pool expects ``answer`` for it unless it was the task's last."""

    slot: Slot
    number: int
    report: EpochReport


@dataclass(frozen=True, slots=True)
class Finished:
    """A task has ended with an outcome."""

    slot: Slot
    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    """A task raised an error: the same task would raise it again.

    Attributes:
        slot: Where.
        number: The task's number.
        message: One line for people.
        traceback: Where it happened; "" for what the user can mend.
        out_of_memory: Whether the device's memory did not suffice, which may be otherwise with the device to itself.
    """

    slot: Slot
    number: int
    message: str
    traceback: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The slot's process or machine is gone, and its task with it; the task can be submitted again."""

    slot: Slot
    number: int
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The slot has left, with its machine or its GPU, and takes no task any more; one in it was reported as lost.

    Attributes:
        slot: Which.
        message: Why, as one line for people; "" where there is no more to say.
    """

    slot: Slot
    message: str = ""


Event = Ready | Reported | Finished | Failed | Lost | Gone


class Pool(Protocol):
    """Slots that train tasks. One thread uses a pool; ``close`` may come at any time.

    Every submitted task ends in exactly one ``Finished``, ``Failed`` or ``Lost``, its reports come before that and in
    order, and a slot says ``Ready`` before it takes a task, at first and after each end.
    """

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots there are now."""

    def submit(self, slot: Slot, task: Task) -> None:
        """Starts a task in a slot that is ready; one that wants its device alone, while the device's others idle."""

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        """Lets the slot's task go on after that epoch, or ends it there."""

    def poll(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call; waits for the first event up to ``timeout_s``."""

    def kill(self, slot: Slot) -> None:
        """Ends the slot's process at once; its task is reported as lost."""

    def close(self) -> None:
        """Ends every process at once; tasks still in training are given up."""
