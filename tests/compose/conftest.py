"""The services of docker-compose.yml, built and started from nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import mlflow
import numpy as np
import pytest
from containers import ADMIN, Stack
from ports import free_port
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, built and running."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    stack = Stack(tmp_path_factory.mktemp("compose"), free_port())
    (stack.folder / "data").chmod(0o755)
    stack.folder.chmod(0o755)
    np.savez(stack.folder / "data" / "digits.npz", x=load_digits().images[:5])
    stack.compose("build", timeout_s=1800)
    stack.compose("down", "--volumes", "--remove-orphans")
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("--profile", "search", "down", "--volumes", "--remove-orphans", check=False)


@pytest.fixture
def client(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """MLflow's client on this machine, as the admin."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN[1])
    return mlflow.MlflowClient(stack.url)
