"""Runs one system as a fresh process in a home of its own, and describes the machine it ran on."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pynvml
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
PEERS = FOLDER / "peers"
JOURNAL = "journal.jsonl"
COMMAND = (sys.executable, "-m", "search")
"""``mlp-search`` of the interpreter that runs the benchmark."""

_PACKAGES = ("tensorflow", "keras", "optuna", "mlflow", "keras-tuner", "ray", "numpy", "mlp-search")
# Whatever the person's shell says about these must not change where a benchmark writes.
FOREIGN = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "OPTUNA_STORAGE", "RAY_ADDRESS", "MLP_SEARCH_HOME")
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a process.

    Attributes:
        home: Its working directory, with ``stdout.txt``, ``stderr.txt`` and whatever it stored.
        started: When it was started, in seconds since 1970.
        wall_s: From its start to its end.
        exit_code: What it returned; None where its time was over and it was ended.
        load_before: The machine's load average (1 min) before it started; above 0 others were at work.
    """

    home: Path
    started: float
    wall_s: float
    exit_code: int | None
    load_before: float

    def last_lines(self) -> str:
        """The end of what it wrote to stderr."""
        return "\n".join((self.home / "stderr.txt").read_text(errors="replace").splitlines()[-15:])


@contextlib.contextmanager
def temporary_home(keep: bool = False) -> Iterator[Path]:
    """A folder that goes afterwards, unless it is to be kept; its path is short, as Ray's sockets want it."""
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield home
    finally:
        if keep:
            print(f"kept: {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)


def run(command: list[str], home: Path, limit_s: float, **environment: str) -> Outcome:
    """Runs a command to its end, or ends it and its children after ``limit_s`` seconds."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    clean |= {"TF_CPP_MIN_LOG_LEVEL": "2", "RAY_TMPDIR": str(home), **environment}
    load = os.getloadavg()[0]
    with (home / "stdout.txt").open("wb") as out, (home / "stderr.txt").open("wb") as err:
        started = time.time()
        process = subprocess.Popen(command, cwd=home, env=clean, stdout=out, stderr=err, start_new_session=True)
        try:
            exit_code = process.wait(limit_s)
            wall_s = time.time() - started
        except BaseException as stopped:
            wall_s, exit_code = time.time() - started, None
            _end(process)
            if not isinstance(stopped, subprocess.TimeoutExpired):
                raise
    return Outcome(home, started, wall_s, exit_code, load)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process and all that it started to end, then makes them: Ray's actors are in groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(process.pid)
        family = [leader, *leader.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        for survivor in psutil.wait_procs(family, _GRACE_S)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
    process.wait()


def journal_of(home: Path) -> list[dict[str, float]]:
    """The epochs that a peer wrote down: ``time`` and ``val_accuracy`` of each."""
    path = home / JOURNAL
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_peer(script: str, arguments: list[str], home: Path, limit_s: float) -> Outcome:
    """Runs a peer as ``run`` does; it, and the workers that it starts, find what peers share, and this project."""
    folders = [str(FOLDER), str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, str(PEERS / script), *arguments]
    return run(command, home, limit_s, PYTHONPATH=os.pathsep.join(filter(None, folders)))


def machine() -> dict[str, Any]:
    """The machine, its GPUs and the versions behind the numbers."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "gpus": gpus(),
        "python": platform.python_version(),
        "bytecode": _has_bytecode(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def gpus() -> list[dict[str, Any]]:
    """Name, memory in MB and driver of each GPU of the machine; none where NVML finds no driver."""
    with contextlib.suppress(pynvml.NVMLError), contextlib.ExitStack() as stack:
        pynvml.nvmlInit()
        stack.callback(pynvml.nvmlShutdown)
        driver, found = pynvml.nvmlSystemGetDriverVersion(), []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory_mb = pynvml.nvmlDeviceGetMemoryInfo(handle).total >> 20
            found.append({"name": pynvml.nvmlDeviceGetName(handle), "memory_mb": memory_mb, "driver": driver})
        return found
    return []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_bytecode() -> bool:
    """Whether the packages are compiled, as pip leaves them and some installers do not; warns where not."""
    spec = importlib.util.find_spec("tensorflow")
    compiled = bool(spec and spec.origin and Path(importlib.util.cache_from_source(spec.origin)).exists())
    if not compiled:
        print(
            "the installed packages have no bytecode, so every process compiles them again and every start "
            f"takes seconds longer than a user's; once: {sys.executable} -m compileall -q SITE-PACKAGES",
            file=sys.stderr,
        )
    return compiled


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def data_folder(given: Path | None) -> Path:
    """The folder of ``mnist.npz``: the one given, else ``MLP_SEARCH_DATA``, else ``../shared/data``.

    Raises:
        SystemExit: There is no ``mnist.npz`` in it.
    """
    beside = FOLDER.parent.parent / "shared" / "data"
    folder = (given or Path(os.environ.get("MLP_SEARCH_DATA", beside))).resolve()
    if not (folder / "mnist.npz").is_file():
        raise SystemExit(f"{folder}: holds no mnist.npz; name its folder with --data or MLP_SEARCH_DATA")
    return folder


def show_figures(figures: Sequence[Mapping[str, Any]], output: Path | None) -> None:
    """Prints the figures of a simulation as a table, a row each, and writes them as JSON where a file is given."""
    table = Table(*figures[0])
    for row in figures:
        table.add_row(*(f"{value:.4g}" if isinstance(value, int | float) else str(value) for value in row.values()))
    Console(width=200).print(table)
    if output:
        output.write_text(json.dumps(figures, indent=1))


def console() -> Console:
    """A console whose tables stay whole on a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a benchmark as its JSON keeps them, without the places of this machine."""
    places = ("data", "output", "keep")
    return {name: value for name, value in vars(arguments).items() if name not in places}


def show_verdicts(verdicts: Sequence[tuple[str, bool]]) -> None:
    """Prints a line for each target: what it is, and whether it is held."""
    for target, is_held in verdicts:
        print(f"{'held' if is_held else 'NOT held'}: {target}")


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes a result as JSON, its folder too where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(path, file=sys.stderr)
