"""Each setting of .env.example missing, empty and wrong, as Compose and its first container tell it."""

from __future__ import annotations

from pathlib import Path

import pytest
from containers import Stack, docker

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

WRONG = {
    "POSTGRES_PASSWORD": "short",
    "OPTUNA_DB_PASSWORD": "short",
    "MLFLOW_DB_PASSWORD": "short",
    "MLFLOW_ADMIN_PASSWORD": "pässwörter-sind-lang",
    "MLFLOW_SECRET_KEY": "short",
    "MLFLOW_ADDRESS": "5000",
    "DASHBOARD_ADDRESS": "8080",
    "MLFLOW_ALLOWED_HOSTS": "http://localhost:5000",
    "MLFLOW_ARTIFACTS": "/tmp/artifacts",
    "SEARCH_DATA": "/no/such/folder",
    "SEARCH_MEMORY": "100m",
}


@pytest.mark.parametrize("key", WRONG)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_setting_that_is_missing_or_empty_stops_up(stack: Stack, tmp_path: Path, key: str, how: str) -> None:
    settings = {name: value for name, value in stack.settings.items() if name != key}
    stack.write_settings(tmp_path / ".env", settings | ({key: ""} if how == "empty" else {}))
    done = stack.beside(tmp_path / ".env").compose("up", "-d", check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.strip().endswith(f"{key} must be set in .env")


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_setting_stops_up(stack: Stack, tmp_path: Path, key: str) -> None:
    stack.write_settings(tmp_path / ".env", stack.settings | {key: WRONG[key]})
    project = stack.beside(tmp_path / ".env")
    try:
        done = project.compose("up", "-d", check=False)
        told = done.stderr + project.compose("logs", "--no-color", "settings", check=False).stdout
        assert done.returncode != 0
        lines = [line for line in told.splitlines() if key in line or WRONG[key] in line]
        sentences = {line.partition(": ")[2] for line in lines}
        assert len(sentences) in (1, 2), told  # Compose 1.29 repeats what Docker says
        assert "Traceback" not in told
        running = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project.project}")
        assert not running.strip()
    finally:
        stack.beside(stack.env_file).compose("down", "--volumes", check=False)
