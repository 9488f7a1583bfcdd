"""Docker Compose and MLflow's server in it, as tests drive them: a project with its own ports and settings."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from ports import free_port
from waiting import wait_for

ROOT = Path(__file__).parents[2]
ADMIN = ("admin", 'ad:min@/%20"pass')
SEARCH = ("search", "se:arch@/?#%20pass")


def find_compose() -> list[str]:
    """The command of Compose 1.29 or 2."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    pytest.skip("neither docker-compose nor docker compose is there")


@dataclass
class Stack:
    """The containers of one project.

    Attributes:
        folder: Holds ``.env`` and the folder ``data``.
        port: Where MLflow is.
    """

    folder: Path
    port: int
    project: str = f"mlp-search-test-{os.getpid()}"
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._compose = find_compose()
        self.env_file = self.folder / ".env"
        (self.folder / "data").mkdir()
        # Characters that a shell, SQL, a URL, YAML or Compose could misread; the unit tests cover \\ and '.
        self.settings = {
            "POSTGRES_PASSWORD": "pg p@ss:/w%rd#$HOME",
            "OPTUNA_DB_PASSWORD": 'op@ss:/?#%41"x${HOME}',
            "MLFLOW_DB_PASSWORD": "ml@ss:/?#%41&y=z;--",
            "MLFLOW_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_SEARCH_PASSWORD": SEARCH[1],
            "MLFLOW_SECRET_KEY": "k3y" * 11,
            "MLFLOW_PORT": str(self.port),
            "DASHBOARD_PORT": str(free_port()),
            "MLFLOW_ALLOWED_HOSTS": f"localhost:{self.port},127.0.0.1:{self.port}",
            "MLFLOW_ARTIFACTS": "/artifacts",
            "SEARCH_DATA": str(self.folder / "data"),
            "SEARCH_MEMORY": "4g",
        }
        self.write_settings(self.env_file, self.settings)

    @staticmethod
    def write_settings(path: Path, settings: Mapping[str, str]) -> None:
        path.write_text("".join(f"{key}='{value}'\n" for key, value in settings.items()))

    def beside(self, env_file: Path) -> Stack:
        """Another project with its own settings."""
        other = copy.copy(self)
        other.project, other.env_file = f"{self.project}-beside", env_file
        return other

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str, check: bool = True, timeout_s: float = 1200) -> subprocess.CompletedProcess[str]:
        """Runs Compose and returns the finished process."""
        command = [*self._compose, "--project-name", self.project, "--env-file", str(self.env_file)]
        done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
        assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def search(self, *arguments: str, user: tuple[str, str] | None = None, code: int = 0) -> Any:
        """Runs a command of the command line and returns its JSON; without a user, as the service's own."""
        login = []
        if user:
            login = ["-e", f"MLFLOW_TRACKING_USERNAME={user[0]}", "-e", f"MLFLOW_TRACKING_PASSWORD={user[1]}"]
        done = self.compose("run", "--rm", "-T", *login, "search", *arguments, "--json", check=False)
        assert done.returncode == code, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return json.loads(done.stdout) if done.stdout else None

    def up(self) -> None:
        """Starts the services and waits until MLflow is healthy."""
        self.compose("up", "-d")
        self.wait_healthy("mlflow")

    def container(self, service: str) -> str:
        return self.compose("ps", "-q", service).stdout.strip()

    def wait_healthy(self, service: str) -> None:
        def is_healthy() -> bool:
            form = "{{.State.Health.Status}}"
            return docker("inspect", "--format", form, self.container(service)).strip() == "healthy"

        wait_for(is_healthy, lambda: self.compose("logs", "--tail=40", service).stdout)

    def api(self, method: str, path: str, user: tuple[str, str] = ADMIN, **request: Any) -> requests.Response:
        """Sends one request to MLflow."""
        return requests.request(method, f"{self.url}/api/{path}", auth=user, timeout=60, **request)

    def runs(self, study: str, user: tuple[str, str] = ADMIN) -> list[dict[str, Any]]:
        """A study's runs as a user sees them."""
        found = self.api("GET", "2.0/mlflow/experiments/get-by-name", user, params={"experiment_name": study})
        experiment = found.json()["experiment"]["experiment_id"]
        query = {"experiment_ids": [experiment], "max_results": 1000}
        return list(self.api("POST", "2.0/mlflow/runs/search", user, json=query).json().get("runs", []))


def docker(*arguments: str) -> str:
    """Runs Docker and returns its output."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout
