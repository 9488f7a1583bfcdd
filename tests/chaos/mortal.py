"""``python -m search`` that meets its fate at a named point: ``mortal.py POINT COUNT FATE BEAT_S -- run STUDY.toml``.

The product knows nothing of it: public functions are wrapped in this process before the command begins.
POINT is a key of ``POINTS`` or ``never``; at its COUNT-th passing a victim dies by SIGKILL: ``search`` (this process),
``worker`` (one of its workers; this process goes on) or ``both``. Or nobody dies: ``halt`` stops this process until it
gets SIGCONT, so that a test can do at that very point what it likes; ``clock`` sets its clock back an hour.
BEAT_S replaces the 20 s between two heartbeats on a shared database, so that a campaign need not wait 40 s for each
death to be noticed; 0 leaves it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

POINTS: dict[str, tuple[str, ...]] = {
    "home opened": ("search.study:open_home", "search.finals:open_home"),
    "study opened": ("search.study:open_study",),
    "left-overs parked": ("search.takeover:park_abandoned",),
    "asked": ("optuna.study:Study.ask",),
    "configuration half recorded": ("optuna.storages:RDBStorage.set_trial_param",),
    "configuration drawn": ("search.scheduler:draw",),
    "run created": ("mlflow:MlflowClient.create_run",),
    "run opened": ("search.runs:Runs.open",),
    "in an epoch": ("search.tracking:Tracker.log_epoch",),
    "epochs logged": ("mlflow:MlflowClient.log_batch",),
    "spool being written": ("os:fsync",),
    "spool written": ("search.scheduler:write_entry", "search.crew:write_entry"),
    "result noted": ("optuna.trial:Trial.set_user_attr", "search.crew:note_result"),
    "Optuna told": ("optuna.study:Study.tell",),
    "model uploaded": ("mlflow:MlflowClient.log_artifact",),
    "run closed": ("mlflow:MlflowClient.set_terminated",),
    "run deleted": ("mlflow:MlflowClient.delete_run",),
    "seal opened": ("search.sealing:open_test",),
    "reading logged": ("mlflow:MlflowClient.log_artifacts",),
    "logged model made": ("mlflow:MlflowClient.create_logged_model",),
    "logged model stored": ("mlflow:MlflowClient.log_model_artifacts",),
    "logged model ready": ("mlflow:MlflowClient.finalize_logged_model",),
    "registered model made": ("mlflow:MlflowClient.create_registered_model",),
    "version made": ("mlflow:MlflowClient.create_model_version",),
    "alias moved": ("mlflow:MlflowClient.set_registered_model_alias",),
}


def workers() -> list[psutil.Process]:
    """The processes in which trials train: children of the fork server, which is a child of this process."""
    family = psutil.Process().children(recursive=True)
    return [process for process in family if process.ppid() != os.getpid()]


class SlowClock:
    """Stands for the clock of this process, and is an hour late once it is told to be.

    It is in place before anybody else has a name for ``time.time``.
    """

    def __init__(self) -> None:
        self._time, self._time_ns, self._late_s = time.time, time.time_ns, 0
        time.time = lambda: self._time() - self._late_s
        time.time_ns = lambda: self._time_ns() - self._late_s * 1_000_000_000

    def set_back(self) -> None:
        self._late_s = 3600


DEEDS: dict[str, Callable[[], None]] = {
    "halt": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "clock": SlowClock().set_back,
}


class Reaper:
    """Lets the victim die at the ``count``-th passing, whichever thread comes by."""

    def __init__(self, count: int, victim: str) -> None:
        self._left, self._victim, self._lock = count, victim, threading.Lock()

    def pass_by(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
            if self._victim in DEEDS:
                DEEDS[self._victim]()
                return
            victims = workers() if self._victim != "search" else []
            for process in victims[:1] if self._victim == "worker" else victims:
                process.kill()
            if victims or self._victim != "worker":
                print("mortal: struck", file=sys.stderr, flush=True)
            if self._victim != "worker":
                os.kill(os.getpid(), signal.SIGKILL)

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def mortal(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            self.pass_by()
            return result

        return mortal


def arm(point: str, count: int, victim: str) -> None:
    """Wraps each function of a point."""
    reaper = Reaper(count, victim)
    for place in POINTS[point]:
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, name, reaper.after(getattr(owner, name)))


def quicken(beat_s: int) -> None:
    """Shortens the time after which a silent process counts as dead."""
    import search.scheduler
    import search.storage

    search.storage.HEARTBEAT_S = beat_s
    search.scheduler._BOOKKEEPING_S = beat_s / 4


if __name__ == "__main__":
    point, count, victim, beat_s, _, *arguments = sys.argv[1:]
    if int(beat_s):
        quicken(int(beat_s))
    if point != "never":
        arm(point, int(count), victim)
    from search.cli import main

    sys.argv = ["mlp-search", *arguments]
    sys.exit(main())
