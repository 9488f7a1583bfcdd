"""A process per slot on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from pipelines.errors import UnavailableError
from search.devices.gpus import find_gpus
from search.devices.slots import Slot
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Ready
from search.workers.shared_dataset import SharedDataset
from search.workers.tasks import StopReason, Task
from search.workers.worker_loop import event_of, is_too_large, serve

if TYPE_CHECKING:
    from pipelines.data.datasets import Dataset


_MAX_STILLBORN = 5


def warm_up() -> None:
    """Starts the server process that imports TensorFlow, so that it does so while the dataset is being read."""
    if os.name != "posix":
        return
    forkserver.set_forkserver_preload(["search.workers.trainer"])
    in_main_thread = threading.current_thread() is threading.main_thread()
    # Ctrl-C reaches the whole process group: what is ignored when the server starts stays ignored in it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        forkserver.ensure_running()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


class LocalPool:
    """Keeps the contract of ``search.pools.Pool``.

    A process imports TensorFlow for seconds. Without GPUs one server process imports it once and forks the slots'
    processes from itself, before TensorFlow has started a thread: a slot is there, and a lost one back, in a blink,
    and all share the memory of the import. A process that shall use CUDA starts afresh.

    Args:
        dataset: What the tasks train on.
        slots: One process each.
        memory_mb: A process that holds more after a task is replaced by a new one.
    """

    def __init__(self, dataset: Dataset, slots: Sequence[Slot], *, memory_mb: int = 1000) -> None:
        self._data = SharedDataset(dataset)
        self._stillborn = Counter[Slot]()
        self._memory_mb = memory_mb
        uses_gpus = any(slot.visible_devices for slot in slots)
        self._context: Any = multiprocessing.get_context("spawn" if uses_gpus or os.name != "posix" else "forkserver")
        if self._context.get_start_method() == "forkserver":
            warm_up()
        self._workers = {slot: self._start(slot, slot.memory_limit_mb) for slot in slots}

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots there are."""
        return list(self._workers)

    @property
    def pids(self) -> dict[Slot, int]:
        """The process of each slot."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    def _start(self, slot: Slot, memory_limit_mb: int | None) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._data, slot.visible_devices, memory_limit_mb),
            name=f"mlp-search {slot.device}", daemon=True,
        )  # fmt: skip
        with _no_main_module():
            process.start()
        theirs.close()
        return _Worker(slot, process, ours)

    def submit(self, slot: Slot, task: Task) -> None:
        """Starts a task in a slot that is ready; one that wants its device alone, while the device's others idle."""
        if task.alone:  # idle processes hold memory too
            for other in self._sharing(slot):
                self._workers[other].end()
            self._workers[slot] = self._start(slot, None)
        worker = self._workers[slot]
        worker.number, worker.is_alone = task.number, task.alone
        worker.send(task)

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        """Lets the slot's task go on after that epoch, or ends it there."""
        if slot in self._workers:  # one that shares a GPU with it may have given up both
            self._workers[slot].send((epoch, stop))

    def poll(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call; waits for the first event up to ``timeout_s``.

        Raises:
            UnavailableError: The process of the last slot ends whenever it is started.
        """
        sources = {worker.connection: worker for worker in self._workers.values() if not worker.connection.closed}
        events: list[Event] = []
        for source in wait(list(sources), timeout_s):
            worker = sources[source]  # type: ignore[index]
            # An event before this one may have ended it.
            if self._workers.get(worker.slot) is worker and not worker.connection.closed:
                events += self._receive(worker)
        return events

    def _receive(self, worker: _Worker) -> list[Event]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace_lost(worker)
        event = event_of(message, worker.slot, worker.number)
        if isinstance(event, Gone):
            return self._give_up(worker.slot, event.message)
        if isinstance(event, Failed) and event.traceback and _is_gone(worker.slot):
            return self._give_up(worker.slot, f"{worker.slot.device} does not answer any more")
        if isinstance(event, Ready):
            del self._stillborn[worker.slot]
            if worker.number >= 0:
                return []  # a task was submitted while an idle process was being replaced
        if not isinstance(event, Finished | Failed):
            return [event]
        worker.number = -1
        if worker.is_alone or (isinstance(event, Finished) and is_too_large(worker.slot, event, self._memory_mb)):
            self._renew(worker)
            return [event]
        return [event, Ready(worker.slot)]

    def _renew(self, worker: _Worker) -> None:
        """Gives a slot a new process; after a task that was alone the device's others too."""
        for slot in self._sharing(worker.slot) if worker.is_alone else [worker.slot]:
            self._workers[slot].stop()
            self._workers[slot] = self._start(slot, slot.memory_limit_mb)

    def _sharing(self, slot: Slot) -> list[Slot]:
        """The slots of a device."""
        return [other for other in self._workers if other.device == slot.device]

    def _give_up(self, slot: Slot, message: str) -> list[Event]:
        """The slots of a device that cannot be used leave; what trained there is lost."""
        events: list[Event] = []
        for other in self._sharing(slot):
            worker = self._workers.pop(other)
            worker.end()
            events += [Lost(other, worker.number, message)] if worker.number >= 0 else []
            events.append(Gone(other, message))
        if not self._workers:
            raise UnavailableError(message)
        return events

    def _replace_lost(self, worker: _Worker) -> list[Event]:
        worker.stop()
        code = worker.process.exitcode
        why = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        message = f"the process of {worker.slot.device} died ({why})"
        if _is_gone(worker.slot):
            return self._give_up(worker.slot, f"{message}, and {worker.slot.device} does not answer any more")
        self._stillborn[worker.slot] += worker.number < 0
        if (times := self._stillborn[worker.slot]) > _MAX_STILLBORN:
            return self._give_up(worker.slot, f"{message} before it could take a trial, {times} times in a row")
        self._renew(worker)
        return [Lost(worker.slot, worker.number, message)] if worker.number >= 0 else []

    def kill(self, slot: Slot) -> None:
        """Ends the slot's process at once; its task is reported as lost."""
        self._workers[slot].process.kill()

    def close(self) -> None:
        """Ends every process at once; tasks still in training are given up."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """A new process would import the program's main module again; a script without a main guard would run twice."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Worker:
    """The searching process's end of one slot."""

    def __init__(self, slot: Slot, process: Any, connection: Connection) -> None:
        self.slot, self.process, self.connection = slot, process, connection
        self.number = -1
        self.is_alone = False

    def send(self, message: object) -> None:
        # A process that has just died cannot be told anything; the next poll finds it lost.
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def end(self) -> None:
        self.process.kill()
        self.stop()

    def stop(self) -> None:
        self.connection.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _is_gone(slot: Slot) -> bool:
    """Whether NVML knows a slot's GPU no more: it fell off the bus, or was taken away."""
    return bool(slot.visible_devices) and not find_gpus(slot.visible_devices)


def _work(connection: Connection, dataset: Dataset, visible_devices: str, memory_limit_mb: int | None) -> None:
    """The life of a slot's process: it ends when the searching process hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; only the scheduler decides
    serve(connection, dataset, visible_devices, memory_limit_mb)
