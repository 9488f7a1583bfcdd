"""A tracking server that is gone, slow, or answers with errors: training goes on, and afterwards MLflow has it all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from invariants import Study
from outages import Proxy, Search, TrackingServer, happening, searching, write_study

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
    with searching(file, home, *happening("Optuna told", 2), MLFLOW_TRACKING_URI=server.url) as search:
        with search.halted():
            server.kill()
        search.wait_line("MLflow does not answer; training goes on and results wait on disk")
        done = len(search.having("complete"))
        search.wait_line("complete", times=min(9, done + 3))
        server.start()
        search.end()
    assert len(search.having("MLflow does not answer")) == 1
    assert len(search.having("MLflow answers again and has what was waiting")) == 1
    study_of(server, home, "away").at_the_end(9)


@pytest.mark.chaos
def test_a_minute_without_the_server_costs_less_than_five_percent(
    server: TrackingServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two equal studies side by side, each with a server of its own, one of which is killed for a minute."""
    other = TrackingServer(tmp_path_factory.mktemp("other-server"))
    other.start()
    n_trials = 110
    with ExitStack() as stack:
        stack.callback(lambda: other.kill())
        searches = []
        for name, address in (("undisturbed", other.url), ("disturbed", server.url)):
            file = write_study(tmp_path, name, trials=n_trials, epochs="60", width="256")
            searches.append(stack.enter_context(searching(file, tmp_path / name, MLFLOW_TRACKING_URI=address)))
        disturbed = searches[1]
        disturbed.wait_line("complete", times=10)
        server.kill()
        time.sleep(60)  # the minute itself
        assert disturbed.process.poll() is None, "the study must be longer than the outage"
        server.start()
        for search in searches:
            search.end()
    walls = [search.answer()["wall_s"] for search in searches]
    print(f"wall time undisturbed {walls[0]:.1f} s, with the server away for 60 s {walls[1]:.1f} s")
    assert walls[1] < walls[0] * 1.05, walls
    assert len(disturbed.having("MLflow does not answer")) == 1
    study_of(server, tmp_path / "disturbed", "disturbed").at_the_end(n_trials)


def test_errors_instead_of_answers(server: TrackingServer, proxy: Proxy, tmp_path: Path) -> None:
    home, file = tmp_path / "home", write_study(tmp_path, "errors", trials=6)
    with searching(file, home, *happening("Optuna told", 2), MLFLOW_TRACKING_URI=proxy.url) as search:
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
    """Training does not wait for the answers, the end does; returns how long."""
    file = write_study(home.parent, "slow", trials=trials)
    proxy.delay_s = delay_s
    with searching(file, home, MLFLOW_TRACKING_URI=proxy.url) as search:
        started = time.monotonic()
        search.wait_line(f"trial-{trials - 1:04d} complete")
        trained = time.monotonic()
        search.end()
    assert trained - started < 60 + 4 * delay_s, "only the first connection is waited for"
    assert not search.having("has not taken")
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
    with searching(file, home, *happening("Optuna told", 2), MLFLOW_TRACKING_URI=server.url) as search:
        with search.halted():
            server.kill()
        search.end()
    assert len(search.having(r"MLflow has not taken [3-6] runs yet; they wait in the spool for the next run")) == 1
    server.start()
    with searching(file, home, MLFLOW_TRACKING_URI=server.url) as again:
        again.end()
    study_of(server, home, "gone").at_the_end(6)
