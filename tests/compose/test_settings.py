"""Each setting of .env.example missing, empty and wrong, as Compose and its first container report it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from containers import Stack, docker

pytestmark = pytest.mark.compose

BY_US = [
    ("POSTGRES_PASSWORD", "short"),
    ("OPTUNA_DB_PASSWORD", "short"),
    ("MLFLOW_DB_PASSWORD", "short"),
    ("MLFLOW_ADMIN_PASSWORD", "pässwörter-sind-lang"),
    ("MLFLOW_SEARCH_PASSWORD", "short"),
    ("MLFLOW_SECRET_KEY", "short"),
    ("MLFLOW_PORT", "0"),
    ("MLFLOW_ALLOWED_HOSTS", "http://localhost:5000"),
    ("MLFLOW_ARTIFACTS", "/tmp/artifacts"),
    ("SEARCH_DATA", "/etc/passwd"),
    ("SEARCH_MEMORY", "100m"),
]
"""Wrong settings that reach the check."""
BY_OTHERS = [
    ("MLFLOW_PORT", "nonsense"),
    ("DASHBOARD_PORT", "127.0.0.1:8080"),
    ("SEARCH_DATA", "/no/such/folder"),
    ("SEARCH_MEMORY", "lots"),
]
"""Wrong settings that Compose or Docker may refuse first."""


@pytest.mark.parametrize("key", sorted({key for key, _ in BY_US + BY_OTHERS}))
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_setting_that_is_missing_or_empty_stops_up(stack: Stack, tmp_path: Path, key: str, how: str) -> None:
    settings = {name: value for name, value in stack.settings.items() if name != key}
    stack.write_settings(tmp_path / ".env", settings | ({key: ""} if how == "empty" else {}))
    done = stack.beside(tmp_path / ".env").compose("up", "-d", check=False)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.strip().endswith(f"{key} must be set in .env")


@pytest.mark.parametrize(("key", "value"), BY_US + BY_OTHERS)
def test_a_wrong_setting_stops_up(stack: Stack, tmp_path: Path, key: str, value: str) -> None:
    stack.write_settings(tmp_path / ".env", stack.settings | {key: value})
    project = stack.beside(tmp_path / ".env")
    try:
        assert project.compose("up", "-d", check=False).returncode != 0
        running = docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project.project}")
        assert not running.strip()
        told = project.compose("run", "--rm", "-T", "settings", check=False).stderr
        as_a_word = re.compile(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])")  # a project's name may hold any digits
        about_it = [line for line in told.splitlines() if key in line or as_a_word.search(line)]
        sentences = {line.rpartition(": ")[2] for line in about_it}
        assert len(sentences) == 1, told  # whoever says it may repeat it for each service
        assert "Traceback" not in told
        assert (key, value) in BY_OTHERS or f"error: .env, {key}: must " in told
    finally:
        stack.beside(stack.env_file).compose("down", "--volumes", check=False)
