"""Runs MLflow's server on a home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO

import psutil
import requests

from pipelines.errors import UnavailableError
from search.home.addresses import is_http
from search.home.interrupts import signal_handler
from search.home.relocation import follow_home
from search.home.settings import Settings, prepare_home, read_settings
from search.home.text import redact
from search.tracking.connection import make_database
from search.tracking.experiment_view import study_link
from search.tracking.run_names import TRAININGS

START_S = 60.0
_PAGE = 1000
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT = "0"  # the experiment that MLflow creates by itself


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Its address.
        process: MLflow's process.
        log: Its output.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def studies(self) -> dict[str, str]:
        """The addresses of the studies' runs by study name, the study that changed last first.

        Where there is no study, those of the experiments of single trainings.
        """
        query: dict[str, object] = {"max_results": _PAGE, "order_by": ["last_update_time DESC"]}
        links: dict[str, str] = {}
        while True:
            answer = _session().post(f"{self.url}/api/2.0/mlflow/experiments/search", json=query, timeout=30).json()
            found = {e["name"]: e["experiment_id"] for e in answer.get("experiments", [])}
            links |= {name: study_link(self.url, number) for name, number in found.items() if number != _DEFAULT}
            query["page_token"] = answer.get("next_page_token")
            if not query["page_token"]:
                return {name: link for name, link in links.items() if not name.startswith(TRAININGS)} or links

    def wait(self) -> None:
        """Waits until the server ends, which it does only on an error.

        Raises:
            UnavailableError: The server ended.
        """
        self.process.wait()
        raise UnavailableError(f"MLflow's server ended: {_last_line(self.log)}")


@contextmanager
def serving(home: Path | None, host: str, port: int) -> Iterator[Server]:
    """Starts MLflow's server, waits for its first answer, and ends it on exit; meanwhile SIGTERM acts as Ctrl-C.

    Args:
        home: The home whose runs it shows.
        host: The address to listen on.
        port: The port.

    Raises:
        UnavailableError: The port is taken, the runs are on a server already, or MLflow does not start.
    """
    settings = read_settings(home)
    if is_http(settings.tracking_uri):
        address = redact(settings.tracking_uri)
        raise UnavailableError(f"the runs are on MLflow's server at {address}: open that in a browser")
    _require_free(host, port)
    prepare_home(settings)
    make_database(settings.tracking_uri)
    follow_home(settings)
    with signal_handler(signal.default_int_handler), tempfile.TemporaryFile() as log, ExitStack() as stack:
        # -P: the folder that the command runs in may have a package called "search", too.
        # A new session, so that Ctrl-C in the terminal reaches only this process, which then ends the server's group.
        alive, held = os.pipe()  # the server ends with this process, also where that is killed
        stack.callback(os.close, held)
        command = [sys.executable, "-P", "-m", "search.operations.page", host, str(port), str(alive)]
        environ = os.environ | _environment(settings) | _allowed(host, port)
        process = subprocess.Popen(
            command, env=environ, stdout=log, stderr=log, start_new_session=True, pass_fds=[alive]
        )
        os.close(alive)
        stack.callback(_end, process)
        server = Server(f"http://{_in_address(host)}:{port}", process, log)
        _wait_for_answer(server)
        yield server


def _environment(settings: Settings) -> dict[str, str]:
    """The server's settings, which may hold passwords: every user of the machine can read a command line."""
    artifacts = settings.artifact_root or ""
    return {
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_REGISTRY_STORE_URI": settings.registry_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        # Features that are not used here must not be reachable.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONWARNINGS": "ignore",
    }


def _allowed(host: str, port: int) -> dict[str, str]:
    """The hosts and origins to answer to: MLflow's own patterns, such as ``10.*``, match foreign names."""
    addresses = {ip_address(found[4][0]) for found in socket.getaddrinfo(host, port)}
    names = {host.lower(), *map(str, addresses)}
    if any(address.is_unspecified for address in addresses):
        own = [address for interface in psutil.net_if_addrs().values() for address in interface]
        names |= {address.address.split("%")[0] for address in own if address.family in _FAMILIES}
        names |= {socket.gethostname().lower(), *_LOOPBACK}
    elif any(address.is_loopback for address in addresses):
        names.update(_LOOPBACK)
    ends = [f":{port}", ""] if port == 80 else [f":{port}"]  # browsers leave out port 80
    hosts = [_in_address(name) + end for name in sorted(names) for end in ends]
    origins = [f"http://{name}" for name in hosts]
    ours = {"MLFLOW_SERVER_ALLOWED_HOSTS": hosts, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": origins}
    theirs = {variable: [os.environ[variable]] for variable in ours if os.environ.get(variable)}
    return {variable: ",".join(theirs.get(variable, []) + values) for variable, values in ours.items()}


def _in_address(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise UnavailableError(
            f"{host}:{port}: must be free to listen on, got {error.strerror or error}: choose another --port or --host"
        ) from error


def _session() -> requests.Session:
    """A session that reaches a server of this machine without the proxy of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def _wait_for_answer(server: Server) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.process.poll() is None:
        with suppress(requests.RequestException):
            if _session().get(f"{server.url}/health", timeout=1).ok:
                return
        time.sleep(0.1)
    raise UnavailableError(f"MLflow's server did not start: {_last_line(server.log)}")


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return redact(lines[-1].strip() if lines else "it wrote nothing")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(10)
