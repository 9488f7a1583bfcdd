"""The containers' settings, each missing, empty and wrong; and the databases, on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from pipelines.errors import InputError, UnavailableError
from search.operations.deployment import DATABASES, PASSWORDS, check_settings, make_databases

ROOT = Path(__file__).parents[3]
SECRET = 'p@ss:/?#%41"x$HOME\\'
GOOD = {
    "POSTGRES_PASSWORD": SECRET,
    "OPTUNA_DB_PASSWORD": SECRET,
    "MLFLOW_DB_PASSWORD": SECRET,
    "MLFLOW_ADMIN_PASSWORD": SECRET,
    "MLFLOW_SEARCH_PASSWORD": SECRET,
    "MLFLOW_SECRET_KEY": "0123456789abcdef" * 4,
    "MLFLOW_PORT": "5000",
    "DASHBOARD_PORT": "65535",
    "MLFLOW_ALLOWED_HOSTS": "localhost:5000,mlflow.example.org",
    "MLFLOW_ARTIFACTS": "s3://bucket/folder",
    "SEARCH_DATA": "./data",
    "SEARCH_MEMORY": "4g",
}
WRONG = {
    "POSTGRES_PASSWORD": ["short", "pässwörter-sind-lang", "twelve\tcharacters"],
    "OPTUNA_DB_PASSWORD": ["short"],
    "MLFLOW_DB_PASSWORD": ["short"],
    "MLFLOW_ADMIN_PASSWORD": ["password"],
    "MLFLOW_SEARCH_PASSWORD": ["password"],
    "MLFLOW_SECRET_KEY": ["short"],
    "MLFLOW_PORT": ["http", "127.0.0.1:5000", "0", "-5000", "65536", "5000-5010", "05000", "5_000", " "],
    "DASHBOARD_PORT": ["http"],
    "MLFLOW_ALLOWED_HOSTS": ["*", "http://localhost:5000", "a,,b", "a b"],
    "MLFLOW_ARTIFACTS": ["artifacts", "s3:/bucket", "file:///tmp", "/tmp"],
    "SEARCH_DATA": ["data"],
    "SEARCH_MEMORY": ["lots", "4", "500m", "-1g"],
}
"""Wrong values that Compose itself might accept."""


def keys_of_the_example() -> list[str]:
    return re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        check_settings(environ, ROOT)
    return caught.value.problems


def test_the_example_names_every_setting() -> None:
    assert sorted(keys_of_the_example()) == sorted(GOOD) == sorted(WRONG)


@pytest.mark.parametrize("key", GOOD)
def test_compose_refuses_a_missing_or_empty_setting(key: str) -> None:
    text = (ROOT / "docker-compose.yml").read_text().partition("\nservices:\n")[2]
    used = re.findall(rf"\$\{{?{key}\b[^}}]*}}?", text)
    assert used[0] == f"${{{key}:?{key} must be set in .env}}"
    assert set(used[1:]) == {f"${{{key}-}}"}, "only the first use has the message"
    assert text.count(f"      - {key}\n") == 1, "the check gets it"


def test_compose_uses_no_other_setting() -> None:
    used = set(re.findall(r"\$\{?(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert used == {*GOOD, "PYTHON_IMAGE", "POSTGRES_IMAGE"}


def test_the_base_images_are_pinned_by_digest_in_env(tmp_path: Path) -> None:
    """With a program in Docker's place, since a registry is out of reach."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = pull ] || echo "${5%:*}@sha256:$(printf %s "$5" | sha256sum | cut -c-64)"\n')
    docker.chmod(0o755)
    env = tmp_path / ".env"
    env.write_text("MLFLOW_PORT=5000\nPYTHON_IMAGE=python@sha256:old\n")
    env.chmod(0o600)
    for _ in range(2):
        path = f"{tmp_path}:{os.environ['PATH']}"
        subprocess.run([ROOT / "docker" / "pin.sh"], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
    found = dict(line.split("=", 1) for line in env.read_text().splitlines())
    assert list(found) == ["MLFLOW_PORT", "PYTHON_IMAGE", "POSTGRES_IMAGE"]
    assert re.fullmatch("python@sha256:[0-9a-f]{64}", found["PYTHON_IMAGE"])
    assert re.fullmatch("postgres@sha256:[0-9a-f]{64}", found["POSTGRES_IMAGE"])
    assert env.stat().st_mode & 0o777 == 0o600, "it holds passwords"
    tags = re.findall(r"(python:3[.\w-]+|postgres:\d+)", (ROOT / "docker" / "pin.sh").read_text())
    for file in ("Dockerfile", "docker-compose.yml"):
        assert set(re.findall(r"(python:3[.\w-]+|postgres:\d+)", (ROOT / file).read_text())) <= set(tags)


def test_good_settings_pass() -> None:
    check_settings(GOOD, ROOT)


@pytest.mark.parametrize("key", GOOD)
def test_a_setting_that_is_missing_or_empty(key: str) -> None:
    for environ in (GOOD | {key: ""}, {name: value for name, value in GOOD.items() if name != key}):
        (problem,) = problems(environ)
        assert problem == f".env, {key}: must be set, got nothing"


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_setting(key: str, value: str) -> None:
    (problem,) = problems(GOOD | {key: value})
    assert re.fullmatch(rf"\.env, {key}: must (be|have) .*, got .*", problem)
    assert "PASSWORD" not in key or value not in problem


def test_data_that_the_container_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_settings(GOOD, tmp_path / "file")
    (problem,) = caught.value.problems
    assert problem.startswith(".env, SEARCH_DATA: must be a folder that everybody may read, got './data'")


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems({})) == len(GOOD)


def test_the_example_leaves_secrets_empty_and_proposes_the_rest() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    secret = {key for key in GOOD if key.endswith(("PASSWORD", "KEY"))}
    assert {key for key, value in example.items() if not value} == secret
    check_settings(GOOD | {key: value for key, value in example.items() if value}, ROOT)


def test_the_program_prints_one_line_without_a_traceback() -> None:
    environ = {name: value for name, value in os.environ.items() if name not in GOOD}
    done = subprocess.run(
        [sys.executable, "-m", "search.operations.deployment", "settings", "docs"],
        env=environ | GOOD | {"SEARCH_MEMORY": "lots"}, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: .env, SEARCH_MEMORY: must be an amount from 1g up, like 1500m or 4g, got 'lots'\n"


class TestDatabases:
    @pytest.fixture(scope="class")
    def superuser(self, postgres: Callable[[str], str]) -> dict[str, str]:
        url = sa.make_url(postgres("unused"))
        environ = {"PGHOST": url.host or url.query["host"], "PGUSER": url.username or "postgres"}
        return environ | dict.fromkeys(PASSWORDS.values(), SECRET)

    def test_each_has_an_owner_and_a_second_call_changes_nothing(self, superuser: dict[str, str]) -> None:
        make_databases(superuser)
        make_databases(superuser | {"OPTUNA_DB_PASSWORD": "another" + SECRET})
        connection = psycopg2.connect(dbname="postgres", host=superuser["PGHOST"], user=superuser["PGUSER"])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname = ANY(%s)", (list(DATABASES),)
            )
            assert dict(cursor.fetchall()) == DATABASES
            cursor.execute("SELECT has_database_privilege('optuna', 'mlflow_auth', 'connect')")
            assert cursor.fetchone() == (False,), "a searching process must not read the logins"
        connection.close()

    def test_an_unreachable_server(self, superuser: dict[str, str]) -> None:
        with pytest.raises(UnavailableError, match="PostgreSQL at /nowhere"):
            make_databases(superuser | {"PGHOST": "/nowhere"})
