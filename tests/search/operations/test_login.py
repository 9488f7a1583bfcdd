"""MLflow's server with a login on every route, started as in the container, on its own database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import login_routes
import pytest
import requests
from forked import Forked
from ports import free_port
from waiting import PATIENCE_S, answers, wait_for

from search.operations.login import create_search_user, set_password

ADMIN = ("admin", 'ad:min@/%20"$pass')
SEARCH = ("search", "se:arch@/%20'$pass")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("login")
    logins = (Path(__file__).parents[3] / "docker" / "basic_auth.ini").read_text()
    config = folder / "basic_auth.ini"
    config.write_text(
        logins.replace("postgresql+psycopg2://mlflow@postgres/mlflow_auth", f"sqlite:///{folder}/logins.db")
    )
    return os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_SEARCH_PASSWORD": SEARCH[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": f"{folder}/artifacts",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture(scope="module")
def address(environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "mlp-search", "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--port", str(port)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: server.poll() is not None or answers(f"{address}/health"), "MLflow's server")
        assert server.poll() is None, "the server ended"
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def routes(environment: dict[str, str], address: str) -> list[login_routes.Route]:
    listing = Forked([login_routes.__file__], env=environment | {"_MLFLOW_SGI_NAME": "uvicorn"})
    assert listing.stdout
    return [(method, path) for method, path in json.loads(listing.stdout.read())]


def test_without_a_login_only_health_answers(address: str, routes: list[login_routes.Route]) -> None:
    paths = {path for _, path in routes}
    assert {"/graphql", "/version", "/static-files/1", "/ajax-api/3.0/mlflow/assistant/config"} <= paths
    assert len(routes) > 300
    answers = login_routes.let_in(address, routes + login_routes.OUTSIDE, None)
    assert {path for _, path, _ in answers} == {"/health"}
    assert ("GET", "/health", 200) in answers


@pytest.mark.parametrize("credentials", [("admin", "wrong"), ("nobody", ADMIN[1]), ("", ""), (ADMIN[1], "admin")])
def test_a_wrong_login_is_refused(address: str, credentials: tuple[str, str]) -> None:
    assert login_routes.let_in(address, login_routes.OUTSIDE, credentials) == []


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!", "Basic YWRtaW4=", "Bearer x", "Basic /w==", "basic  ", "Digest username=admin"]
)
def test_a_malformed_header_is_refused(address: str, header: str) -> None:
    answer = requests.get(f"{address}/version", headers={"Authorization": header}, timeout=PATIENCE_S)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_the_admin_gets_in(address: str) -> None:
    for path in ("/", "/version", "/api/2.0/mlflow/users/current"):
        assert requests.get(address + path, auth=ADMIN, timeout=PATIENCE_S).status_code == 200, path


def test_searches_log_in_as_a_user_who_is_no_admin(address: str) -> None:
    def post(path: str, user: tuple[str, str], **body: object) -> requests.Response:
        return requests.post(f"{address}/api/2.0/mlflow/{path}", auth=user, json=body, timeout=PATIENCE_S)

    foreign = post("experiments/create", ADMIN, name="the admin's").json()["experiment_id"]
    own = post("experiments/create", SEARCH, name="a search's").json()["experiment_id"]
    assert post("experiments/set-experiment-tag", SEARCH, experiment_id=own, key="k", value="v").status_code == 200
    assert post("experiments/set-experiment-tag", SEARCH, experiment_id=foreign, key="k", value="v").status_code == 403
    assert post("experiments/search", SEARCH, max_results=5).status_code == 200
    assert post("registered-models/create", SEARCH, name="a search's").status_code == 200
    assert post("users/create", SEARCH, username="eve", password="x" * 12).status_code == 403
    current = requests.get(f"{address}/api/2.0/mlflow/users/current", auth=SEARCH, timeout=PATIENCE_S).json()
    assert current["user"]["is_admin"] is False


def test_a_new_search_user_may_change_what_searches_made_as_the_admin(tmp_path: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{tmp_path}/logins.db")
    for user in ("admin", "ann"):
        store.create_user(user, "x" * 12, is_admin=user == "admin")
    for user, experiment in (("admin", "1"), ("ann", "2")):
        store.create_experiment_permission(experiment, user, "MANAGE")
    store.create_registered_model_permission("digits", "admin", "MANAGE")
    create_search_user(store, "admin", "first password")
    set_password(store, SEARCH[0], "second password")
    assert store.authenticate_user(SEARCH[0], "second password")
    assert not store.get_user(SEARCH[0]).is_admin
    assert [row.experiment_id for row in store.list_experiment_permissions(SEARCH[0])] == ["1"]
    assert [row.name for row in store.list_registered_model_permissions(SEARCH[0])] == ["digits"]
