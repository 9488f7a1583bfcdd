"""Runs that are refused before anything begins, and the signals that end a run."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from studies import small_spec

from pipelines.errors import SpecError, UnavailableError
from search.home.interrupts import interruptible
from search.scheduling.run_study import run_study
from search.training.forecast import plan_study


@pytest.mark.parametrize("name", ["Default", "default", "DEFAULT"])
def test_the_name_of_mlflows_own_experiment_is_refused(tmp_path: Path, name: str):
    for refuse in (run_study, plan_study):
        with pytest.raises(SpecError, match=f"study.name: must not be MLflow's experiment Default, got '{name}'"):
            refuse(small_spec(name, trials=1), home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def _run(home: Path, answer: Connection) -> None:
    try:
        run_study(small_spec("s", trials=1), home=home)
    except UnavailableError as error:
        answer.send(str(error))


def test_a_daemonic_process_gets_a_sentence(tmp_path: Path):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(tmp_path / "home", theirs), daemon=True)
    process.start()
    theirs.close()
    message = ours.recv()
    process.join()
    assert "a daemonic process cannot start the processes that train" in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_an_orderly_end(number: signal.Signals):
    asked: list[bool] = []
    before = signal.signal(number, lambda *_: None)
    try:
        with interruptible(lambda: asked.append(True)):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert asked == [True]


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    asked: list[bool] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(lambda: asked.append(True)):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert asked == []
