"""A process per slot on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError
from search.devices.slots import Slot
from search.home.text import one_line
from search.workers.pool import BasePool, Event, Gone, Worker
from search.workers.shared_dataset import SharedDataset
from search.workers.tasks import Task
from search.workers.worker_loop import serve


def warm_up() -> None:
    """Starts the server process that imports TensorFlow, so that it does so while the dataset is being read.

    Raises:
        UnavailableError: This process may have no children.
    """
    if multiprocessing.current_process().daemon:
        raise UnavailableError(
            "a daemonic process cannot start the processes that train: run mlp-search as a command from it, or set"
            " daemon=False"
        )
    forkserver.set_forkserver_preload(["search.workers.trainer", __name__])
    in_main_thread = threading.current_thread() is threading.main_thread()
    # What is ignored when the server starts stays ignored in it.
    before = _ignore_signals() if in_main_thread else {}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> dict[signal.Signals, Any]:
    """Ignores signals that may reach the whole process group, as Ctrl-C does: only the searching process decides.

    Returns:
        The handlers before.
    """
    return {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
    # In the server: other processes that are forked from it end at SIGTERM, as ``Process.terminate`` expects.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class LocalPool(BasePool["_LocalWorker"]):
    """Keeps the contract of ``search.workers.pool.Pool``.

    The import of TensorFlow takes seconds. Without GPUs one server process imports it once and forks the slots'
    processes from itself, before TensorFlow has started a thread: a process starts in some milliseconds, and all
    share the memory of the import. A process that uses CUDA is spawned.

    Args:
        dataset: The dataset of the tasks.
        slots: One process each.
        memory_mb: A process that holds more memory after a task, beside its rows, is replaced by a new one.
    """

    def __init__(self, dataset: Dataset, slots: Sequence[Slot], *, memory_mb: int = 1000) -> None:
        super().__init__(memory_mb, dataset)
        self._data = SharedDataset(dataset)
        self._process_type: type[BaseProcess] = multiprocessing.get_context("spawn").Process
        if not any(slot.visible_devices for slot in slots):
            warm_up()
            self._process_type = multiprocessing.get_context("forkserver").Process
        try:
            for slot in slots:
                self._start(slot, slot.memory_limit_mb)
        except BaseException:  # those that have started would keep this process from ending
            self.close()
            raise

    def _start(self, slot: Slot, memory_limit_mb: int | None) -> None:
        try:
            self._workers[slot] = self._started(slot, memory_limit_mb)
        except (EOFError, OSError) as error:
            why = "the end of the process that forks it" if isinstance(error, EOFError) else one_line(error)
            raise UnavailableError(
                f"{slot.device}: the system must start a process that trains, got {why}: free memory, files or"
                " processes, or take fewer slots"
            ) from error

    def _started(self, slot: Slot, memory_limit_mb: int | None) -> _LocalWorker:
        ours, theirs = multiprocessing.Pipe()
        process = self._process_type(target=_work, args=(theirs, self._data, slot, memory_limit_mb), daemon=True)
        # A new process imports the program's main module, and a script without a main guard would run once more in
        # it. ``multiprocessing`` has no setting against that.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        theirs.close()
        return _LocalWorker(slot=slot, send=ours.send, kill=process.kill, process=process, connection=ours)

    def submit(self, slot: Slot, task: Task) -> None:
        """Starts a task in a slot that is ready.

        For an exclusive task every process of the device ends, since an idle one holds memory too, and a new one
        without a limit takes the task. They are replaced when the task has ended.
        """
        if task.exclusive:
            for other in self._sharing(slot):
                self._workers[other].stop(patience_s=0)
            self._start(slot, None)
        super().submit(slot, task)

    def poll(self, timeout_s: float) -> list[Event]:
        """Returns the events since the last call; waits up to ``timeout_s`` for the first one.

        Raises:
            UnavailableError: The last slot was removed: its GPU is gone, or its process ends whenever it is started.
        """
        workers = {worker.connection: worker for worker in self._workers.values() if not worker.connection.closed}
        ready = wait(list(workers), timeout_s)
        events: list[Event] = []
        for connection, worker in workers.items():
            if connection in ready and not connection.closed:  # an event before may have ended the process
                events += self._read(worker)
        return events

    def _read(self, worker: _LocalWorker) -> list[Event]:
        try:
            event = worker.connection.recv()
        except (EOFError, OSError):
            worker.stop()
            code = worker.process.exitcode
            reason = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            return self._replace_dead(worker, f"the process of {worker.slot.device} died ({reason})")
        return self._receive(worker, event)

    def _replace(self, worker: _LocalWorker) -> None:
        worker.stop()
        for slot in self._sharing(worker.slot):  # after an exclusive task all of them have ended
            if self._workers[slot].connection.closed:
                self._start(slot, slot.memory_limit_mb)

    def _sharing(self, slot: Slot) -> list[Slot]:
        """The slots of a slot's device."""
        return [other for other in self._workers if other.device == slot.device]

    def _remove(self, slot: Slot, message: str) -> list[Event]:
        """Removes all slots of a slot's device."""
        events: list[Event] = []
        for other in self._sharing(slot):
            worker = self._workers.pop(other)
            worker.stop(patience_s=0)
            events += [*worker.lost(message), Gone(other, message)]
        if not self._workers:
            raise UnavailableError(message)
        return events

    def close(self) -> None:
        """Ends every process at once and drops the tasks in training."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()
        self._data.close()


@dataclass(eq=False, kw_only=True)
class _LocalWorker(Worker):
    """A process of this machine; its connection is closed once it was stopped."""

    process: BaseProcess
    connection: Connection

    def stop(self, patience_s: float = 5.0) -> None:
        """Hangs up, on which an idle process ends, and kills one that does not end in time."""
        self.connection.close()
        self.process.join(patience_s)
        self.process.kill()
        self.process.join()


def _work(connection: Connection, dataset: Dataset, slot: Slot, memory_limit_mb: int | None) -> None:
    """Runs in the slot's process; returns when the searching process hangs up or has died."""
    _ignore_signals()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        for event in serve(connection, dataset, slot, slot.visible_devices, memory_limit_mb):
            connection.send(event)
