"""The hosts that MLflow's page answers to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import mlflow
import psutil
import pytest
import requests
from playwright.sync_api import Browser
from ports import free_port
from waiting import PATIENCE_S, wait_for

from search.cli.commands.upkeep import addresses
from search.operations.ui import Server, serving
from search.tracking.experiment_view import experiments_link, models_link

FOREIGN = ("10.attacker.example", "192.168.evil.com", "172.16.evil.com", "fd00:evil", "evil.example", "localhost.evil")
SEARCH = "/ajax-api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("ui") / "home"
    with serving(home, request.param, free_port()) as server:
        yield server


def status(server: Server, host: str, *, origin: str = "", path: str = SEARCH) -> int:
    connection = HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=PATIENCE_S)
    headers = {"Host": host, "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
    connection.request("POST", path, '{"max_results": 1}', headers)
    answer = connection.getresponse().status
    connection.close()
    return answer


def test_foreign_hosts_are_refused(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    hosts = [*FOREIGN, *(f"{host}:{port}" for host in FOREIGN), "", "localhost:1", f"127.0.0.1:{port}.evil.com"]
    assert {host: status(server, host) for host in hosts} == dict.fromkeys(hosts, 403)


def test_the_addresses_that_it_listens_on_are_answered(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    hosts = ["127.0.0.1", "localhost"]
    if "0.0.0.0" in server.url:
        own = (address for interface in psutil.net_if_addrs().values() for address in interface)
        hosts += [address.address for address in own if address.family == socket.AF_INET]
        hosts += [socket.gethostname().lower()]
    assert {host: status(server, f"{host}:{port}") for host in hosts} == dict.fromkeys(hosts, 200)
    for host in hosts:
        assert status(server, f"{host}:{port}", origin=f"http://{host}:{port}") == 200
        assert status(server, f"{host}:{port}", origin="http://evil.example") == 403


def test_the_page_chooses_model_training_even_where_the_browser_holds_it_already(server: Server) -> None:
    address = server.url.replace("0.0.0.0", "127.0.0.1")
    first = requests.get(f"{address}/", timeout=PATIENCE_S)
    assert '"mlflow.workflowType_v1": "machine_learning"' in first.text
    assert first.text.index("machine_learning") < first.text.index("static/js/main")
    held = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT", "If-None-Match": "*"}
    again = requests.get(f"{address}/", headers=held, timeout=PATIENCE_S)
    assert (again.status_code, again.text) == (200, first.text)
    assert requests.get(f"{address}/version", timeout=PATIENCE_S).text == mlflow.__version__


def test_every_study_is_known_and_other_experiments_are_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of single trainings are known where there is no study; MLflow's own one never is."""
    monkeypatch.setattr("search.operations.ui._PAGE", 2)
    client = mlflow.MlflowClient(server.url.replace("0.0.0.0", "127.0.0.1"))
    assert server.studies() == {}
    client.create_experiment("train-digits")
    assert set(server.studies()) == {"train-digits"}
    names = [f"study-{number}" for number in range(5)]
    for name in names:
        client.create_experiment(name)
    assert set(server.studies()) == set(names)


def test_the_list_of_studies_opens_on_model_training_whatever_was_chosen_before(
    server: Server, chromium: Browser
) -> None:
    page = chromium.new_page()
    page.add_init_script("localStorage.setItem('mlflow.workflowType_v1', JSON.stringify('genai'))")
    page.goto(experiments_link(server.url).replace("0.0.0.0", "127.0.0.1"))
    models = page.locator('a[href="#/models"], a[href^="#/models?"]').first  # which pages on agents lack
    models.wait_for(timeout=1000 * PATIENCE_S)
    page.close()


@pytest.mark.parametrize(("n_studies", "more"), [(0, 0), (10, 0), (11, 1), (25, 15)])
def test_it_says_how_many_studies_it_leaves_out(n_studies: int, more: int) -> None:
    studies = {f"study-{number}": f"http://here/{number}" for number in range(n_studies)}
    lines, document = addresses("http://here", studies)
    experiments = document["experiments"]
    assert (experiments, document["models"]) == (experiments_link("http://here"), models_link("http://here"))
    assert document["more_studies"] == more
    assert [line for line in lines if line.startswith("and ")] == {
        0: [],
        1: [f"and 1 more study: {experiments}"],
        15: [f"and 15 more studies: {experiments}"],
    }[more]
    assert document["studies"] == dict(list(studies.items())[:10])
    assert lines[-2:] == [f"registered models: {document['models']}", f"MLflow is at {experiments}; Ctrl-C ends it"]


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = """if True:
        import os, pathlib, signal, sys
        from search.operations.ui import serving
        with serving(pathlib.Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2])) as server:
            print(server.process.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", code, str(tmp_path), str(free_port())]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL
    server = int(done.stdout)
    wait_for(lambda: not psutil.pid_exists(server) or psutil.Process(server).status() == psutil.STATUS_ZOMBIE)


def test_a_new_home_gets_its_database_without_a_message(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        from search.operations.ui import serving
        with serving(pathlib.Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2])):
            pass
    """
    command = [sys.executable, "-c", code, str(tmp_path), str(free_port())]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "mlflow.db").stat().st_mode & 0o777 == 0o600
