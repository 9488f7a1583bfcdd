"""A tracking server that is gone, slow, or answers with errors: training goes on, and afterwards MLflow has it all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invariants import Study
from outages import Proxy, Search, TrackingServer, fault_at, searching, write_study

Begin = Callable[..., Search]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(server: TrackingServer) -> Iterator[Proxy]:
    proxy = Proxy(server.url)
    yield proxy
    proxy.close()


def study_of(server: TrackingServer, home: Path, name: str) -> Study:
    return Study(name, home, f"sqlite:///{home}/optuna.db", server.url)


def test_killed_and_started_again_in_the_middle_of_a_study(server: TrackingServer, tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "away", trials=9)
    with searching(file, home, *fault_at("result reported", 2), MLFLOW_TRACKING_URI=server.url) as search:
        with search.halted():
            server.kill()
        search.wait_line("MLflow does not answer; training continues and results stay on disk")
        done = len(search.having("complete"))
        search.wait_line("complete", times=min(9, done + 3))
        server.start()
        search.end()
    assert len(search.having("MLflow does not answer")) == 1
    assert len(search.having("MLflow answers again and has all results")) == 1
    study_of(server, home, "away").at_the_end(9)


@pytest.mark.chaos
def test_a_minute_without_the_server(server: TrackingServer, tmp_path: Path) -> None:
    n_trials = 110
    file = write_study(tmp_path, "disturbed", trials=n_trials, epochs="60", width="256")
    with searching(file, tmp_path / "home", MLFLOW_TRACKING_URI=server.url) as search:
        search.wait_line("complete", times=10)
        server.kill()
        n_before = len(search.having("complete"))
        time.sleep(60)  # the minute itself
        assert search.process.poll() is None, "the study must be longer than the outage"
        assert len(search.having("complete")) > n_before, "training continues during the outage"
        server.start()
        search.end()
    assert len(search.having("MLflow does not answer")) == 1
    study_of(server, tmp_path / "home", "disturbed").at_the_end(n_trials)


def test_errors_instead_of_answers(server: TrackingServer, proxy: Proxy, tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "errors", trials=6)
    with searching(file, home, *fault_at("result reported", 2), MLFLOW_TRACKING_URI=proxy.url) as search:
        with search.halted():
            proxy.status = 500
        search.wait_line("MLflow does not answer")
        proxy.status = 429
        search.wait_line("trial-0005 complete")
        proxy.wait_refused()
        proxy.status = 0
        search.end()
    assert proxy.refused.keys() == {500, 429}
    study_of(server, home, "errors").at_the_end(6)


def slow(server: TrackingServer, proxy: Proxy, home: Path, *, delay_s: float, trials: int) -> float:
    """Searches while each answer takes its time; returns how long the end waited for MLflow, in seconds."""
    file = write_study(home.parent, "slow", trials=trials)
    proxy.delay_s = delay_s
    with searching(file, home, MLFLOW_TRACKING_URI=proxy.url) as search:
        search.wait_line(f"trial-{trials - 1:04d} complete")
        trained = time.monotonic()
        search.end()
    assert not search.having("has not received")
    study_of(server, home, "slow").at_the_end(trials)
    return time.monotonic() - trained


def test_slow(server: TrackingServer, proxy: Proxy, tmp_path: Path) -> None:
    slow(server, proxy, tmp_path / "home", delay_s=0.3, trials=3)


@pytest.mark.chaos
def test_five_seconds_an_answer(server: TrackingServer, proxy: Proxy, tmp_path: Path) -> None:
    waited_s = slow(server, proxy, tmp_path / "home", delay_s=5, trials=4)
    assert waited_s > 70, "the end waits longer than a minute for a server that takes one result after the other"


@pytest.mark.chaos
def test_gone_for_good_and_back_for_the_next_run(server: TrackingServer, tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "gone", trials=6)
    with searching(file, home, *fault_at("result reported", 2), MLFLOW_TRACKING_URI=server.url) as search:
        with search.halted():
            server.kill()
        search.end()
    assert len(search.having(r"MLflow has not received [3-6] runs yet; they are in the spool")) == 1
    server.start()
    with searching(file, home, MLFLOW_TRACKING_URI=server.url) as again:
        again.end()
    study_of(server, home, "gone").at_the_end(6)
