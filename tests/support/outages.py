"""Real faults: a tracking server that can be killed, a proxy that returns errors, and a search to watch."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import requests
from campaign import PROGRAM
from forked import MODULE, Forked
from ports import free_port
from waiting import PATIENCE_S, answers, wait_for

from search.tracking.connection import make_database

STUDY = """\
[study]
name = "{name}"
seed = 3
trials = {trials}
[data]
source = "digits"
folds = 1
[space]
width = {width}
depth = 1
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
epochs = {epochs}
batch_size = 64
[search]
pruner = "none"
[workers]
slots = 1
{workers}
"""


def write_study(
    folder: Path,
    name: str,
    *,
    trials: int,
    epochs: str = "{ low = 3, high = 8 }",
    width: str = "{ low = 8, high = 64 }",
    workers: str = "",
) -> Path:
    path = folder / f"{name}.toml"
    tables = {"epochs": epochs, "width": width, "workers": workers}
    path.write_text(STUDY.format(name=name, trials=trials, **tables))
    return path


class TrackingServer:
    """A real ``mlflow server`` with its own port and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        stores += ["--artifacts-destination", f"{self.folder}/artifacts"]
        make_database(f"sqlite:///{self.folder}/mlflow.db")
        environ = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "log").open("a") as log:
            program = ("-m", "mlflow", *command, *stores)
            self.process = Forked(program, stdout=log, stderr=log, env=environ, start_new_session=True)
        wait_for(lambda: answers(f"{self.url}/health"), lambda: f"MLflow's server: {(self.folder / 'log').read_text()}")

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # a test that failed may have left it dead
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Proxy:
    """Forwards to a server after ``delay_s``, or answers with ``status`` where that is not 0."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.status, self.delay_s = upstream, 0, 0.0
        self.refused: Counter[int] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *given: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        time.sleep(self.delay_s)
        if self.status:
            status, content, kind = self.status, b"no", "text/plain"
            self.refused[status] += 1
        else:
            kept = {
                name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")
            }
            answer = requests.request(
                request.command, self.upstream + request.path, data=body, headers=kept, timeout=60
            )
            status, content, kind = answer.status_code, answer.content, answer.headers.get("Content-Type", "")
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def wait_refused(self) -> None:
        """Waits until a request was answered with the present status."""
        wait_for(lambda: self.refused[self.status] > 0, f"{self.status} among {self.refused}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Search:
    """``python -m search run`` in its own process, and the lines that it writes."""

    def __init__(self, study: Path, home: Path, *program: str, **environ: str) -> None:
        command = [*(program or MODULE), "run", study, "--home", home, "--json"]
        self.process = Forked(command, env=os.environ | environ)
        self.lines: list[str] = []
        self._hung: list[psutil.Process] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def wait_line(self, pattern: str, times: int = 1) -> None:
        """Waits until that many lines match a pattern."""

        def come() -> bool:
            return self.process.poll() is not None or len(self.having(pattern)) >= times

        wait_for(come, f"{pattern!r} in {self.lines}")
        assert len(self.having(pattern)) >= times, f"it ended before {pattern!r}: {self.lines}"

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Waits until the process has halted at its point (``fault_at``), and resumes it afterwards."""
        process = psutil.Process(self.process.pid)
        wait_for(lambda: process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE), f"a halt in {self.lines}")
        assert process.status() == psutil.STATUS_STOPPED, f"it ended before it halted: {self.lines}"
        yield
        process.resume()

    def hang_worker(self) -> None:
        """Suspends the only worker for good."""
        self._hung = self.workers()
        assert len(self._hung) == 1
        self._hung[0].suspend()

    def having(self, pattern: str) -> list[str]:
        return [line for line in list(self.lines) if re.search(pattern, line)]

    def answer(self) -> dict[str, Any]:
        """The JSON document of the ended process."""
        assert self.process.stdout
        document: dict[str, Any] = json.loads(self.process.stdout.read())
        return document

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in family if process.ppid() != self.process.pid]  # children of the fork server

    def end(self, code: int = 0) -> None:
        """Waits for the end, and checks the exit code and that there is no traceback."""
        found = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert found == code, (found, self.lines)
        assert "Traceback" not in "\n".join(self.lines), self.lines

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for process in self._hung:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def fault_at(point: str, count: int, fault: str = "halt", *, beat_s: int = 0) -> tuple[str, ...]:
    """The program whose fault happens at the ``count``-th call of a point, however fast its trials are."""
    return (str(PROGRAM), point, str(count), fault, str(beat_s), "--")


@contextmanager
def searching(study: Path, home: Path, *program: str, **environ: str) -> Iterator[Search]:
    """A search that ends with its test."""
    search = Search(study, home, *program, **environ)
    try:
        yield search
    finally:
        search.kill()
