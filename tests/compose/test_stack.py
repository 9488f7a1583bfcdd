"""What people do with the containers: each test needs those before it."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import login_routes
import mlflow
import pytest
import requests
from containers import ADMIN, SEARCH, Stack, docker
from waiting import wait_for

pytestmark = pytest.mark.compose

ANN, BOB = ("ann", "ann's p@ss:word"), ("bob", "bob's p@ss:word")
ENDLESS = 10_000
STUDY = """
[study]
name = "killed"
seed = 3
trials = {trials}
[data]
source = "digits"
folds = 1
[space]
width = {{ low = 64, high = 128 }}
dropout = {{ low = 0.0, high = 0.5 }}
epochs = 5
batch_size = 32
[search]
pruner = "none"
[workers]
slots = 2
"""


def test_without_a_login_only_health_answers(stack: Stack) -> None:
    script = Path(login_routes.__file__).read_text()
    listed = stack.compose("exec", "-T", "-e", "_MLFLOW_SGI_NAME=uvicorn", "mlflow", "python", "-c", script)
    routes = [(method, path) for method, path in json.loads(listed.stdout.splitlines()[-1])]
    assert len(routes) > 300
    answers = login_routes.let_in(stack.url, routes + login_routes.OUTSIDE, None)
    assert {path for _, path, _ in answers} == {"/health"}
    assert ("GET", "/health", 200) in answers
    assert login_routes.let_in(stack.url, login_routes.OUTSIDE, (ADMIN[0], "wrong password")) == []
    assert stack.api("GET", "2.0/mlflow/users/current").json()["user"]["username"] == "admin"


def test_another_host_name_is_refused(stack: Stack) -> None:
    answer = stack.api("GET", "2.0/mlflow/users/current", headers={"Host": "rebound.example.org"})
    assert answer.status_code == 403


def test_two_users_with_different_rights(stack: Stack) -> None:
    for name, password in (ANN, BOB):
        created = stack.api("POST", "2.0/mlflow/users/create", json={"username": name, "password": password})
        assert created.status_code == 200, created.text
    result = stack.search("run", "digits", "--study", "ann", "--trials", "3", user=ANN)
    assert result["trials"]["complete"] + result["trials"]["pruned"] == 3
    runs = stack.runs("ann", BOB)
    assert sorted(run["info"]["status"] for run in runs) == ["FINISHED"] * 3
    tag = {"run_id": runs[0]["info"]["run_id"], "key": "note", "value": "seen"}
    assert stack.api("POST", "2.0/mlflow/runs/set-tag", BOB, json=tag).status_code == 403
    assert stack.api("POST", "2.0/mlflow/runs/set-tag", ANN, json=tag).status_code == 200
    assert (
        stack.api("POST", "2.0/mlflow/users/create", BOB, json={"username": "eve", "password": "x" * 12}).status_code
        == 403
    )


def test_a_search_with_a_wrong_password_fails_with_one_line(stack: Stack) -> None:
    login = ["-e", f"MLFLOW_TRACKING_USERNAME={BOB[0]}", "-e", "MLFLOW_TRACKING_PASSWORD=wrong password"]
    refused = stack.compose("run", "--rm", "-T", *login, "search", "run", "digits", "--trials", "1", check=False)
    assert refused.returncode == 1
    lines = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "MLflow" in lines[0]
    assert "Traceback" not in refused.stdout + refused.stderr


def test_a_model_is_evaluated_promoted_and_used_for_predictions(stack: Stack, client: mlflow.MlflowClient) -> None:
    stack.search("evaluate", "ann", user=ANN)
    promoted = stack.search("promote", "ann", "--model", "digits", user=ANN)
    assert (promoted["promoted"], promoted["version"]) == (True, 1)
    assert len(stack.search("predict", "digits", "digits.npz", user=BOB)) == 5
    run_id = stack.runs("ann")[0]["info"]["run_id"]
    assert [file.path for file in client.list_artifacts(run_id)].count("model.h5") == 1
    assert client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:/")


def test_each_service_killed_in_the_middle_of_a_study(stack: Stack) -> None:
    """MLflow and PostgreSQL are killed during a search, then the search itself; the same command resumes it.

    Neither the budget nor the space can be used up before the kills, however fast the machine is; the last run gets a
    budget that it can reach.
    """
    file = stack.folder / "data" / "killed.toml"
    file.write_text(STUDY.format(trials=ENDLESS))
    command = ("run", "-d", "search", "run", "killed.toml")
    searching = stack.compose(*command).stdout.split()[-1]
    for service in ("mlflow", "postgres"):
        wait_for_more_runs(stack)
        stack.compose("kill", service)
        stack.compose("start", service)
        stack.wait_healthy(service)
        if docker("inspect", "--format", "{{.State.Running}}", searching).strip() != "true":
            searching = stack.compose(*command).stdout.split()[-1]
    wait_for_more_runs(stack)
    docker("kill", searching)
    budget = len(stack.search("trials", "killed")) + 4
    file.write_text(STUDY.format(trials=budget))
    result = stack.search("run", "killed.toml")
    assert result["trials"] == {"complete": budget, "pruned": 0, "failed": 0}
    assert Counter(ended(stack)) == {f"trial-{number:04d}": 1 for number in range(budget)}


def test_searches_log_in_as_a_user_who_owns_their_experiments_and_is_no_admin(stack: Stack) -> None:
    environment = stack.compose("run", "--rm", "-T", "--entrypoint", "env", "search").stdout
    assert "MLFLOW_TRACKING_USERNAME=search\n" in environment
    assert ADMIN[1] not in environment
    assert stack.api("GET", "2.0/mlflow/users/current", SEARCH).json()["user"]["is_admin"] is False
    new = {"username": "eve", "password": "x" * 12}
    assert stack.api("POST", "2.0/mlflow/users/create", SEARCH, json=new).status_code == 403
    for study, status in (("killed", 200), ("ann", 403)):
        tag = {"run_id": stack.runs(study, SEARCH)[0]["info"]["run_id"], "key": "note", "value": "seen"}
        assert stack.api("POST", "2.0/mlflow/runs/set-tag", SEARCH, json=tag).status_code == status, study


def test_down_and_up_again_keeps_everything(stack: Stack, client: mlflow.MlflowClient) -> None:
    runs, trials, n_ended = stack.runs("ann"), stack.search("trials", "ann"), len(ended(stack))
    stack.compose("--profile", "search", "down", "--remove-orphans")
    with pytest.raises(requests.ConnectionError):
        stack.api("GET", "2.0/mlflow/users/current")
    stack.up()
    assert stack.runs("ann") == runs
    assert stack.search("trials", "ann") == trials
    assert stack.api("GET", "2.0/mlflow/users/current", ANN).json()["user"]["username"] == "ann"
    assert client.get_model_version_by_alias("digits", "champion").version == "1"
    assert len(stack.search("predict", "digits", "digits.npz", user=ANN)) == 5
    assert len(ended(stack)) == n_ended


def test_a_changed_password_is_valid_after_the_next_up(stack: Stack) -> None:
    changed = {
        "OPTUNA_DB_PASSWORD": "another op@ss:/?",
        "MLFLOW_ADMIN_PASSWORD": "another ad:min@/",
        "MLFLOW_SEARCH_PASSWORD": "another se:arch@/",
    }
    stack.write_settings(stack.env_file, stack.settings | changed)
    stack.up()
    admin = (ADMIN[0], changed["MLFLOW_ADMIN_PASSWORD"])
    assert stack.api("GET", "2.0/mlflow/users/current", admin).status_code == 200
    assert stack.api("GET", "2.0/mlflow/users/current", ADMIN).status_code == 401
    assert stack.api("GET", "2.0/mlflow/users/current", SEARCH).status_code == 401
    assert len(stack.search("trials", "ann", user=admin)) == 3
    stack.search("train", "digits", "--epochs", "1")
    assert [run["info"]["status"] for run in stack.runs("train-digits", admin)] == ["FINISHED"]


def ended(stack: Stack) -> list[str]:
    """The names of the study's runs that have ended."""
    return [run["info"]["run_name"] for run in stack.runs("killed") if run["info"]["status"] == "FINISHED"]


def wait_for_more_runs(stack: Stack) -> None:
    """Waits until two more runs have ended."""
    counts: list[int] = []

    def have_come() -> bool:
        with suppress(requests.ConnectionError, KeyError):  # no experiment yet
            counts.append(len(ended(stack)))
        return bool(counts) and counts[-1] >= counts[0] + 2

    wait_for(have_come, "two more runs to end")
