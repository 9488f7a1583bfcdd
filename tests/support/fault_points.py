"""Runs ``python -m search`` with a fault at a named point.

Usage: ``python fault_points.py POINT COUNT FAULT BEAT_S -- run STUDY.toml``.

The functions of POINT, a key of ``POINTS`` or ``never``, are wrapped in this process before the command starts. After
their COUNT-th call the FAULT happens:

- ``search``, ``worker``, ``both`` or ``node``: SIGKILL to this process, one of its workers, both, or a node of Ray.
- ``halt``: this process stops until it gets SIGCONT, so that a test can act at exactly this point.
- ``clock``: the clock of this process is set back an hour.

BEAT_S replaces the 20 s between two heartbeats on a shared database, so that a dead process is noticed sooner, and
shortens other waits with them; 0 keeps all.
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
    "home opened": ("search.scheduling.run_study:open_home", "search.finals.opening:open_home"),
    "study opened": ("search.scheduling.run_study:open_study", "search.optimization.studies.budget:open_study"),
    "trials requeued": ("search.scheduling.recovery:requeue_abandoned",),
    "trial asked": ("optuna.study:Study.ask",),
    "parameter recorded": ("search.storage.cached_storage:CachedStorage.set_trial_param",),
    "configuration drawn": ("search.spec.space:SearchSpace.suggest",),
    "run created": ("mlflow:MlflowClient.create_run",),
    "run opened": ("search.tracking.runs:Runs.open",),
    "in an epoch": ("search.tracking.tracker:Tracker.log_epoch",),
    "epochs logged": ("mlflow:MlflowClient.log_batch",),
    "spool being written": ("os:fsync",),
    "spool written": ("search.scheduling.trial_results:write_entry",),
    "result recorded": (
        "search.storage.cached_storage:CachedStorage.set_trial_user_attr",
        "search.finals.training.finalist_runner:record_result",
    ),
    "result reported": ("optuna.study:Study.tell",),
    "model uploaded": ("mlflow:MlflowClient.log_artifact",),
    "run closed": ("mlflow:MlflowClient.set_terminated",),
    "run deleted": ("mlflow:MlflowClient.delete_run",),
    "test opened": ("search.finals.sealed_test:open_test",),
    "test result logged": ("mlflow:MlflowClient.log_artifacts",),
    "logged model made": ("mlflow:MlflowClient.create_logged_model",),
    "logged model stored": ("mlflow:MlflowClient.log_model_artifacts",),
    "logged model ready": ("mlflow:MlflowClient.finalize_logged_model",),
    "registered model made": ("mlflow:MlflowClient.create_registered_model",),
    "version made": ("mlflow:MlflowClient.create_model_version",),
    "alias moved": ("mlflow:MlflowClient.set_registered_model_alias",),
}
KILLED = "fault_points: killed"
"""The line on stderr that says that a process was killed."""
INTERVALS = {
    "search.storage.database:HEARTBEAT_S": 1.0,
    "search.scheduling.scheduler:_BOOKKEEPING_S": 0.25,
    "search.tracking.tracker:HURRY_S": 1.0,
}
"""The intervals of a search on a shared database, and its last wait for MLflow, as shares of the time between two
heartbeats."""


def workers(pid: int) -> list[psutil.Process]:
    """The processes that train for a searching process: children of its fork server, or actors on the nodes of Ray."""
    if actors := [process for process in _cluster(pid) if _is_actor(process)]:
        return actors
    return [process for process in psutil.Process(pid).children(recursive=True) if process.ppid() != pid]


def _is_actor(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.name().startswith("ray::SlotActor")
    return False


def nodes(pid: int) -> list[psutil.Process]:
    """The nodes of the Ray cluster except its head; those with workers come first."""
    busy = {worker.ppid() for worker in workers(pid)}
    raylets = [process for process in _cluster(pid) if "--node-name=node-" in " ".join(process.cmdline())]
    return sorted(raylets, key=lambda raylet: raylet.pid not in busy)


def _cluster(pid: int) -> list[psutil.Process]:
    """All processes that the tests started: the searching process and the cluster among them."""
    tests = psutil.Process(pid).parents()[2]  # behind the process that forks and the one that tells of the end
    return tests.children(recursive=True)


def strike(pid: int, victim: str) -> bool:
    """Kills the process, one worker, the process with all workers, or a node; returns whether one was there."""
    chosen: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        chosen += workers(pid)[: 1 if victim == "worker" else None] if victim in ("worker", "both") else []
        chosen += nodes(pid)[:1] if victim == "node" else []
        chosen += [psutil.Process(pid)] if victim in ("search", "both") else []
        for process in chosen:
            process.kill()
    return bool(chosen)


def action_of(fault: str) -> Callable[[], None]:
    """The function that causes a fault."""

    def kill() -> None:
        if strike(os.getpid(), fault):
            print(KILLED, file=sys.stderr, flush=True)

    match fault:
        case "halt":
            return lambda: os.kill(os.getpid(), signal.SIGSTOP)
        case "clock":
            return late_clock()
        case _:
            return kill


def late_clock() -> Callable[[], None]:
    """Replaces ``time.time`` before other modules import it; returns the function that sets the clock back."""
    time_s, time_ns, late_s = time.time, time.time_ns, 0

    def set_back() -> None:
        nonlocal late_s
        late_s = 3600

    time.time = lambda: time_s() - late_s
    time.time_ns = lambda: time_ns() - late_s * 1_000_000_000
    return set_back


class Trigger:
    """Calls an action once, after the ``count``-th call of any of its functions in any thread."""

    def __init__(self, count: int, action: Callable[[], None]) -> None:
        self._left = count
        self._action = action
        self._lock = threading.Lock()

    def count_call(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._action()

    def after(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            self.count_call()
            return result

        return counted


def wrap(point: str, count: int, fault: str) -> None:
    """Wraps each function of a point."""
    trigger = Trigger(count, action_of(fault))
    for owner, name in map(resolve, POINTS[point]):
        setattr(owner, name, trigger.after(getattr(owner, name)))


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
    point, count, fault, beat_s, _, *arguments = sys.argv[1:]
    if point != "never":
        wrap(point, int(count), fault)
    if int(beat_s):
        quicken(int(beat_s))
    from search.cli.app import main

    sys.argv = ["mlp-search", *arguments]
    sys.exit(main())
