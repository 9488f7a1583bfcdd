"""Sends runs to MLflow in the background, in batches: training never waits for MLflow."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path

from pipelines.errors import UnavailableError
from search.home.text import one_line, redact
from search.tracking.entries import Epoch, RunStart
from search.tracking.run_queue import LiveRun, RunQueue, RunState
from search.tracking.runs import Runs
from search.tracking.spool import read_entry

FLUSH_S = 1.0
CLOSE_S = 60.0
HURRY_S = 10.0
"""Limit of the wait for MLflow after an error, which may be MLflow's."""

logger = logging.getLogger(__name__)


class Tracker:
    """Sends the runs of a search to MLflow, in a thread of its own.

    Methods return at once, but for ``wait_connected`` and ``close``. While MLflow does not answer, calls are queued
    and retried. Finished runs are in the spool on disk, so that a crash of this process loses none.

    Args:
        connect_runs: Connects to MLflow; called in the thread, because importing MLflow takes seconds.
        warn: Called with one line when MLflow stops answering, and when it answers again.
        patience_s: How long the first connection to a file that another program has locked is retried.
    """

    def __init__(
        self, connect_runs: Callable[[], Runs], warn: Callable[[str], None] = logger.warning, *, patience_s: float = 0.0
    ) -> None:
        self._warn = warn
        self._inbox: queue.Queue[tuple[Callable[[], None], bool]] = queue.Queue()
        self._opened: queue.Queue[tuple[str, str, int]] = queue.Queue()
        self._queue = RunQueue(self._opened.put, self._note_delivered, warn)
        # Two counters, each changed in one thread only.
        self._handed_over = 0
        self._delivered = 0
        self._times_opened: Counter[str] = Counter()
        self._connected: Future[None] = Future()
        self._give_up_at: float | None = None
        self._extension_s = 0.0
        self._pause_s = 0.0
        self._thread = threading.Thread(None, self._work, "tracking", (connect_runs, patience_s), daemon=True)
        self._thread.start()

    def wait_connected(self) -> None:
        """Waits for the first connection.

        Raises:
            UnavailableError: It failed.
        """
        self._connected.result()

    def require_connected(self) -> None:
        """Returns at once.

        Raises:
            UnavailableError: The first connection has failed.
        """
        if self._connected.done():
            self._connected.result()

    def open(self, start: RunStart, *, replace: bool = False) -> None:
        """Opens a run at once, so that its trial can record the run's id.

        Args:
            start: Its name, parameters and tags.
            replace: Whether MLflow may hold a run of that name from an earlier attempt.
        """
        self._begin(LiveRun(start, replace=replace), urgent=True)

    def log_epoch(self, run_name: str, epoch: Epoch) -> None:
        """Logs an epoch of an open run."""
        self._put(lambda: self._queue.log_epoch(run_name, epoch))

    def end(self, run_name: str, folder: Path) -> None:
        """Ends an open run whose result is in the spool."""
        self._handed_over += 1
        nth = self._times_opened[run_name]
        self._put(lambda: self._queue.end(run_name, folder, nth))

    def kill(self, run_name: str) -> None:
        """Ends an open run that was interrupted; its trial will be trained again."""
        self._put(lambda: self._queue.close(run_name, RunState.KILLED))

    def discard(self, run_name: str) -> None:
        """Deletes an open run: another process has trained the same trial to its end."""
        self._put(lambda: self._queue.close(run_name, RunState.DISCARDED))

    def look_up(self, run_name: str) -> None:
        """Looks up the id of a finished run; ``opened`` returns it."""
        nth = self._times_opened[run_name]
        self._put(lambda: self._queue.pending_tasks.append(lambda mlflow: self._queue.find(mlflow, run_name, nth)))

    def kill_left(self, run_name: str) -> None:
        """Ends the running runs of a name: the process that trained them is dead."""
        self._put(lambda: self._queue.pending_tasks.append(lambda mlflow: mlflow.kill_left(run_name)))

    def deliver(self, folder: Path) -> None:
        """Sends a spool entry of an earlier process."""
        self._handed_over += 1
        self._begin(LiveRun(read_entry(folder).start, replace=True, state=RunState.ENDED, folder=folder))

    def describe(self, texts: Mapping[str, str]) -> None:
        """Describes runs on MLflow's page, after everything else: a text for each run name."""
        self._put(lambda: setattr(self._queue, "last_task", lambda mlflow: mlflow.describe(texts)))

    def after(self, run_names: Collection[str], task: Callable[[Runs], None]) -> None:
        """Calls a function in the thread once MLflow has the results of these runs; after an error it is called again.

        Args:
            run_names: Names of runs that have ended.
            task: The function.
        """
        self._put(lambda: self._queue.later.append((frozenset(run_names), task)))

    def _begin(self, live: LiveRun, *, urgent: bool = False) -> None:
        name = live.start.run_name
        self._times_opened[name] += 1
        live.nth = self._times_opened[name]
        self._put(lambda: self._queue.runs.update({name: live}), urgent=urgent)

    def _put(self, change: Callable[[], None], *, urgent: bool = False) -> None:
        self._inbox.put((change, urgent))

    def opened(self) -> list[tuple[str, str]]:
        """(run name, run id) of the runs opened since the last call, without those that were replaced since."""
        opened = [self._opened.get_nowait() for _ in range(self._opened.qsize())]
        return [(name, run_id) for name, run_id, nth in opened if nth == self._times_opened[name]]

    def close(self, timeout_s: float | None = None) -> int:
        """Waits until MLflow has everything; returns the number of results that stay in the spool.

        Args:
            timeout_s: The limit; by default ``CLOSE_S`` since MLflow took the last result.
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
        """Closes; after an error only a few seconds are spent, because MLflow may be its cause."""
        hurry_s = None if error is None else 2.0 if issubclass(error, KeyboardInterrupt) else HURRY_S
        self.close(hurry_s)

    @property
    def undelivered(self) -> int:
        """The number of results that MLflow does not have; they are in the spool."""
        return self._handed_over - self._delivered

    def _note_delivered(self) -> None:
        self._delivered += 1
        if self._extension_s:
            self._give_up_at = time.monotonic() + self._extension_s

    def _work(self, connect: Callable[[], Runs], patience_s: float) -> None:
        try:
            runs = self._connect(connect, time.monotonic() + patience_s)
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits for the connection)
            self._connected.set_exception(error)
            return
        self._connected.set_result(None)
        while not self._is_done():
            self._apply_changes()
            try:
                self._queue.send(runs)
                self._note_recovery()
            except Exception as error:  # noqa: BLE001  (MLflow's stores raise anything: retry later)
                self._back_off(error)

    def _connect(self, connect: Callable[[], Runs], until: float) -> Runs:
        while True:
            try:
                return connect()
            except Exception as error:
                is_locked = isinstance(error, UnavailableError) and "locked" in str(error)
                if not is_locked or time.monotonic() >= until or self._give_up_at is not None:
                    raise
                time.sleep(1.0)

    def _is_done(self) -> bool:
        if self._give_up_at is None or not self._inbox.empty():
            return False
        return not self._queue or time.monotonic() >= self._give_up_at

    def _apply_changes(self) -> None:
        """Waits for changes, and applies them until the next flush is due."""
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
            self._warn(f"MLflow does not answer; training continues and results stay on disk: {one_line(error)}")
            logger.debug("tracking failed: %s", redact("".join(traceback.format_exception(error))))
        self._pause_s = min(30.0, max(1.0, self._pause_s * 2))

    def _note_recovery(self) -> None:
        if self._pause_s:
            self._pause_s = 0.0
            self._warn("MLflow answers again and has all results")
