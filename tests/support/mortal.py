"""``python -m search`` that meets its fate at a named point: ``mortal.py POINT COUNT FATE BEAT_S -- run STUDY.toml``.

The product knows nothing of it: public functions are wrapped in this process before the command begins.
POINT is a key of ``POINTS`` or ``never``; at its COUNT-th passing a victim dies by SIGKILL: ``search`` (this process),
``worker`` (one of its workers; this process goes on), ``both``, or ``node`` (one of the Ray cluster). Or nobody dies:
``halt`` stops this process until it gets SIGCONT, so that a test can do at that very point what it likes; ``clock``
sets its clock back an hour. BEAT_S replaces the 20 s between two heartbeats on a shared database, so that a campaign
need not wait 40 s for each death to be noticed; 0 leaves it.
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
from contextlib import suppress
from typing import Any

import psutil

POINTS: dict[str, tuple[str, ...]] = {
    "home opened": ("search.scheduling.run_study:open_home", "search.finals.finals:open_home"),
    "study opened": ("search.scheduling.run_study:open_study",),
    "left-overs parked": ("search.scheduling.recovery:requeue_abandoned",),
    "asked": ("optuna.study:Study.ask",),
    "configuration half recorded": ("search.storage.cached_storage:CachedStorage.set_trial_param",),
    "configuration drawn": ("search.spec.space:SearchSpace.suggest",),
    "run created": ("mlflow:MlflowClient.create_run",),
    "run opened": ("search.tracking.runs:Runs.open",),
    "in an epoch": ("search.tracking.tracker:Tracker.log_epoch",),
    "epochs logged": ("mlflow:MlflowClient.log_batch",),
    "spool being written": ("os:fsync",),
    "spool written": ("search.scheduling.trial_results:write_entry",),
    "result noted": (
        "search.storage.cached_storage:CachedStorage.set_trial_user_attr",
        "search.finals.finalist_runner:record_result",
    ),
    "Optuna told": ("optuna.study:Study.tell",),
    "model uploaded": ("mlflow:MlflowClient.log_artifact",),
    "run closed": ("mlflow:MlflowClient.set_terminated",),
    "run deleted": ("mlflow:MlflowClient.delete_run",),
    "seal opened": ("search.finals.sealed_test:open_test",),
    "reading logged": ("mlflow:MlflowClient.log_artifacts",),
    "logged model made": ("mlflow:MlflowClient.create_logged_model",),
    "logged model stored": ("mlflow:MlflowClient.log_model_artifacts",),
    "logged model ready": ("mlflow:MlflowClient.finalize_logged_model",),
    "registered model made": ("mlflow:MlflowClient.create_registered_model",),
    "version made": ("mlflow:MlflowClient.create_model_version",),
    "alias moved": ("mlflow:MlflowClient.set_registered_model_alias",),
}
INTERVALS = {"search.storage.database:HEARTBEAT_S": 1.0, "search.scheduling.scheduler:_BOOKKEEPING_S": 0.25}
"""The intervals of a search on a shared database, as shares of the time between two heartbeats."""


def workers(pid: int) -> list[psutil.Process]:
    """The processes in which a searching process's trials train.

    They are children of its fork server, or actors on the nodes of the Ray cluster that the tests started.
    """
    if "RAY_ADDRESS" in psutil.Process(pid).environ():
        return [process for process in _cluster(pid) if process.name().startswith("ray::SlotActor")]
    return [process for process in psutil.Process(pid).children(recursive=True) if process.ppid() != pid]


def nodes(pid: int) -> list[psutil.Process]:
    """The nodes of the Ray cluster but its head, those first in which trials train."""
    busy = {worker.ppid() for worker in workers(pid)}
    raylets = [process for process in _cluster(pid) if "--node-name=node-" in " ".join(process.cmdline())]
    return sorted(raylets, key=lambda raylet: raylet.pid not in busy)


def _cluster(pid: int) -> list[psutil.Process]:
    """What the tests have started, who started the searching process and the cluster."""
    return psutil.Process(psutil.Process(pid).ppid()).children(recursive=True)


def strike(pid: int, victim: str) -> bool:
    """Kills the searching process, one of its workers, both with all of them, or a node; whether there was one."""
    chosen: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        chosen += workers(pid)[: 1 if victim == "worker" else None] if victim in ("worker", "both") else []
        chosen += nodes(pid)[:1] if victim == "node" else []
        chosen += [psutil.Process(pid)] if victim in ("search", "both") else []
        for process in chosen:
            process.kill()
    return bool(chosen)


def deed_of(fate: str) -> Callable[[], None]:
    """What is done at the point."""

    def kill() -> None:
        if strike(os.getpid(), fate):
            print("mortal: struck", file=sys.stderr, flush=True)

    deeds: dict[str, Callable[[], None]] = {"halt": lambda: os.kill(os.getpid(), signal.SIGSTOP)}
    return late_clock() if fate == "clock" else deeds.get(fate, kill)


def late_clock() -> Callable[[], None]:
    """Puts a clock in place, before anybody else has a name for ``time.time``; returns what sets it back."""
    time_s, time_ns, late_s = time.time, time.time_ns, 0

    def set_back() -> None:
        nonlocal late_s
        late_s = 3600

    time.time = lambda: time_s() - late_s
    time.time_ns = lambda: time_ns() - late_s * 1_000_000_000
    return set_back


class Reaper:
    """Does its deed at the ``count``-th passing, whichever thread comes by."""

    def __init__(self, count: int, deed: Callable[[], None]) -> None:
        self._left, self._deed, self._lock = count, deed, threading.Lock()

    def pass_by(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._deed()

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def mortal(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            self.pass_by()
            return result

        return mortal


def arm(point: str, count: int, fate: str) -> None:
    """Wraps each function of a point."""
    reaper = Reaper(count, deed_of(fate))
    for owner, name in map(resolve, POINTS[point]):
        setattr(owner, name, reaper.after(getattr(owner, name)))


def resolve(place: str) -> tuple[Any, str]:
    """The owner and the name of what ``module:path`` names."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


def quicken(beat_s: int) -> None:
    """Shortens the time after which a silent process counts as dead."""
    for place, share in INTERVALS.items():
        setattr(*resolve(place), beat_s * share)


if __name__ == "__main__":
    point, count, fate, beat_s, _, *arguments = sys.argv[1:]
    if point != "never":
        arm(point, int(count), fate)
    if int(beat_s):
        quicken(int(beat_s))
    from search.cli.app import main

    sys.argv = ["mlp-search", *arguments]
    sys.exit(main())
