"""Starts Python programs as forks of one process that has imported what they need.

The start of an interpreter and its imports take most of the processors of a small search, twice: in the searching
process and in the server of its workers. ``Forked`` is used as ``subprocess.Popen`` is. The programs are processes of
their own, to be killed, stopped and waited for; they share with a real start all but the start.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

IMPORTS = (
    "search.workers.trainer", "search.workers.local_pool", "search.cli.app", "search.scheduling.run_study",
    "search.finals.finals", "search.finals.sealed_test", "search.registry.promotion", "search.reporting.display",
    "optuna.storages", "alembic.command", "sklearn.datasets", "sklearn.model_selection", "mlflow.pyfunc.model",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.tracking.rest_store", "psycopg2",
    "mlflow.store.model_registry.sqlalchemy_store",
)  # fmt: skip
MODULE = ("-m", "search")
"""The command line as a program."""


class Forked:
    """A process that runs ``python PROGRAM ARGUMENTS…``, also with ``-m MODULE`` or ``-c TEXT`` for a program.

    Attributes:
        pid: Its number.
        returncode: As ``subprocess.Popen`` has it; None before ``poll`` or ``wait`` have seen the end.
        stdout: What it prints, where a pipe was wanted.
        stderr: The same of its errors.
    """

    def __init__(
        self,
        command: Sequence[str | Path | int],
        *,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        env: Mapping[str, str] = os.environ,
        start_new_session: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self.stdout, out = _output(stdout)
        self.stderr, err = _output(stderr)
        self._ended, told = os.pipe()
        words = [str(word) for word in command]
        request = {"command": words, "env": dict(env), "cwd": str(Path.cwd()), "leads": start_new_session}
        socket.send_fds(_imported(), [json.dumps(request).encode()], [out, err, told])
        for descriptor in (out, err, told):
            os.close(descriptor)
        self._told = os.fdopen(self._ended)
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None and wait([self._told], 0):
            self._read_end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        if self.returncode is None:
            if not wait([self._told], timeout):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self._read_end()
        assert self.returncode is not None
        return self.returncode

    def _read_end(self) -> None:
        self.returncode = int(self._told.readline())
        self._told.close()

    def send_signal(self, number: int) -> None:
        """Sends a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it unless it has ended."""
        self.send_signal(signal.SIGKILL)


def _output(wanted: int | IO[Any]) -> tuple[IO[str] | None, int]:
    """Our end of a pipe, where one is wanted, and a descriptor for the process."""
    if wanted == subprocess.PIPE:
        ours, theirs = os.pipe()
        return os.fdopen(ours, encoding="utf-8"), theirs
    if wanted == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(wanted if isinstance(wanted, int) else wanted.fileno())


@functools.cache
def _imported() -> socket.socket:
    """The process that forks, which ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(requests: socket.socket) -> None:
    """Forks for each request, until the other end is closed."""
    for module in IMPORTS:
        import_module(module)
    assert threading.active_count() == 1, "a fork copies one thread"
    gc.freeze()  # else each process would copy the imported modules to collect their garbage
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that tell of an end need not be waited for
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not request:
            return
        if not os.fork():
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            pid = os.fork()
            if pid:
                _tell_end(pid, descriptors)
            _run(json.loads(request), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _tell_end(pid: int, descriptors: Sequence[int]) -> None:
    """Writes the number of the program's process, and its exit code when it has ended."""
    *outputs, told = descriptors
    for output in outputs:
        os.close(output)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _run(request: Mapping[str, Any], out: int, err: int, told: int) -> None:
    """Becomes the program."""
    os.close(told)
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if request["leads"]:
        os.setsid()
    _fork_server()
    sys.argv = request["command"]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif sys.argv[0] == "-c":
        exec(sys.argv.pop(1), {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def _fork_server() -> None:
    """Forks the server of the workers from this process, where ``multiprocessing`` starts an interpreter for it."""

    def fork(path: str, arguments: Sequence[str], kept: Sequence[int]) -> int:
        pid = os.fork()
        if pid:
            return pid
        listed = [int(link.name) for link in Path("/proc/self/fd").iterdir()]
        for descriptor in {*listed} - {0, 1, 2, *kept}:
            with suppress(OSError):  # the one that has listed them is closed
                os.close(descriptor)
        try:
            exec(arguments[-1], {})
        finally:
            os._exit(0)

    start = util.spawnv_passfds
    resource_tracker.ensure_running()
    forkserver.set_forkserver_preload([])
    util.spawnv_passfds = fork
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
        util.spawnv_passfds = start


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
