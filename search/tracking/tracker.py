"""Carries runs to MLflow in the background, in batches: training never waits for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.home.text import one_line, redact
from search.tracking.entries import Epoch, RunStart
from search.tracking.run_queue import LiveRun, RunQueue
from search.tracking.runs import Runs
from search.tracking.spool import read_entry

FLUSH_S = 1.0
CLOSE_S = 60.0

logger = logging.getLogger(__name__)


class Tracker:
    """Carries what a search does to MLflow, in the background.

    Every method returns at once. Where MLflow does not answer, work waits here and is tried again; what has ended
    waits on disk in the spool, so that nothing depends on this process living on.

    Args:
        connect_runs: Makes the ``Runs``; called in the thread, because importing MLflow takes seconds.
        warn: Called with one line when MLflow stops answering, and when it answers again.
        patience_s: How long a first connection that fails is tried again: a file may be locked by another program.
    """

    def __init__(
        self, connect_runs: Callable[[], Runs], warn: Callable[[str], None] = logger.warning, *, patience_s: float = 0.0
    ) -> None:
        self._connect, self._warn, self._patience_s = connect_runs, warn, patience_s
        self._inbox: queue.Queue[tuple[Callable[[], None], bool]] = queue.Queue()
        self._opened: queue.Queue[tuple[str, str, int]] = queue.Queue()
        self._queue = RunQueue(self._opened.put, self._note_delivered, warn)
        self._handed_over, self._delivered = 0, 0
        self._times_opened: Counter[str] = Counter()
        self._connected = threading.Event()
        self._error: Exception | None = None
        self._give_up_at: float | None = None
        self._extension_s = 0.0
        self._pause_s = 0.0
        self._thread = threading.Thread(target=self._work, name="mlp-search tracking", daemon=True)
        self._thread.start()

    def wait_connected(self) -> None:
        """Waits for the first answer.

        Raises:
            UnavailableError: There was none.
        """
        self._connected.wait()
        self.require_connected()

    def require_connected(self) -> None:
        """Does not wait: says what kept the first connection from being made, if that is known by now.

        Raises:
            UnavailableError: It failed.
        """
        if self._error:
            raise self._error

    def open(self, start: RunStart, *, replace: bool = False) -> None:
        """A run begins; it is opened at once, so that the trial can know its run.

        Args:
            start: What is known of it.
            replace: Whether MLflow may hold a run of that name from an attempt that was lost.
        """
        self._begin(start, urgent=True, replace=replace)

    def log_epoch(self, run_name: str, epoch: Epoch) -> None:
        """An epoch of an open run has ended."""
        self._put(lambda: self._queue.runs[run_name].unsent.append(epoch))

    def end(self, run_name: str, folder: Path) -> None:
        """A run has ended and lies in the spool."""
        self._handed_over += 1
        self._put(lambda: setattr(self._queue.runs[run_name], "ended", folder))

    def kill(self, run_name: str) -> None:
        """A run was interrupted; its trial will be trained again."""
        self._put(lambda: setattr(self._queue.runs[run_name], "killed", True))

    def discard(self, run_name: str) -> None:
        """A run is not wanted any more: another process has trained the same trial to its end."""
        self._put(lambda: setattr(self._queue.runs[run_name], "discarded", True))

    def look_up(self, run_name: str) -> None:
        """The id of a run that has ended is not known; ``opened`` will tell it."""
        nth = self._times_opened[run_name]
        self._put(lambda: self._queue.pending_tasks.append(lambda mlflow: self._queue.find(mlflow, run_name, nth)))

    def kill_left(self, run_name: str) -> None:
        """A process died while it had this run; its trial may be trained again, or not in this budget."""
        self._put(lambda: self._queue.pending_tasks.append(lambda mlflow: mlflow.kill_left(run_name)))

    def deliver(self, folder: Path) -> None:
        """An entry of an earlier process waits in the spool."""
        self._handed_over += 1
        entry = read_entry(folder)
        self._begin(entry.start, replace=True, unsent=list(entry.history), ended=folder)

    def _begin(self, start: RunStart, *, urgent: bool = False, **known: Any) -> None:
        self._times_opened[start.run_name] += 1
        live = LiveRun(start, self._times_opened[start.run_name], **known)
        self._put(lambda: self._queue.runs.__setitem__(start.run_name, live), urgent=urgent)

    def _put(self, change: Callable[[], None], *, urgent: bool = False) -> None:
        self._inbox.put((change, urgent))

    def opened(self) -> list[tuple[str, str]]:
        """(run name, run id) of the runs opened since the last call, but for those that are to be replaced."""
        opened = [self._opened.get_nowait() for _ in range(self._opened.qsize())]
        return [(name, run_id) for name, run_id, nth in opened if nth == self._times_opened[name]]

    def close(self, timeout_s: float | None = None) -> int:
        """Waits until MLflow has everything; returns how many results stay in the spool.

        Args:
            timeout_s: How long at most; without it, as long as MLflow takes another result within a minute.
        """
        self._extension_s = CLOSE_S if timeout_s is None else 0.0
        self._give_up_at = time.monotonic() + (CLOSE_S if timeout_s is None else timeout_s)
        self._put(lambda: None, urgent=True)
        while self._thread.is_alive() and time.monotonic() < self._give_up_at + 5:
            self._thread.join(1.0)
        return self.undelivered

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Closes: at once after a second Ctrl-C, soon after an error, which may be MLflow's, as of a deleted home."""
        hurry_s = None if error is None else 2.0 if issubclass(error, KeyboardInterrupt) else 10.0
        self.close(hurry_s)

    @property
    def undelivered(self) -> int:
        """How many results MLflow has not taken; they wait in the spool."""
        return self._handed_over - self._delivered

    def _note_delivered(self) -> None:
        self._delivered += 1
        if self._extension_s:
            self._give_up_at = time.monotonic() + self._extension_s

    def _work(self) -> None:
        try:
            runs = self._connect_patiently()
        except Exception as error:  # noqa: BLE001  (handed to whoever waits for the connection)
            self._error = error
            return
        finally:
            self._connected.set()
        while not self._is_done():
            self._take_in()
            try:
                self._queue.send(runs)
            except Exception as error:  # noqa: BLE001  (whatever MLflow's stores raise: try again later)
                self._back_off(error)
            else:
                self._recover()

    def _connect_patiently(self) -> Runs:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return self._connect()
            except Exception:
                if time.monotonic() >= until or self._give_up_at is not None:
                    raise
                time.sleep(1.0)

    def _is_done(self) -> bool:
        if self._give_up_at is None or not self._inbox.empty():
            return False
        return not self._queue or time.monotonic() >= self._give_up_at

    def _take_in(self) -> None:
        """Waits for work, and gathers what comes in until the next flush."""
        until = time.monotonic() + max(FLUSH_S, self._pause_s)
        while (left := until - time.monotonic()) > 0:
            try:
                change, urgent = self._inbox.get(timeout=left)
            except queue.Empty:
                return
            change()
            if urgent and self._inbox.empty() and not self._pause_s:
                return

    def _back_off(self, error: Exception) -> None:
        if not self._pause_s:
            self._warn(f"MLflow does not answer; training goes on and results wait on disk: {one_line(error)}")
            logger.debug("tracking failed: %s", redact("".join(traceback.format_exception(error))))
        self._pause_s = min(30.0, max(1.0, self._pause_s * 2))

    def _recover(self) -> None:
        if self._pause_s:
            self._pause_s = 0.0
            self._warn("MLflow answers again and has what was waiting")
