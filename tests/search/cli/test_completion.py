"""The suggestions of the shell after the tab key."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import optuna
import pytest
from command_line import command
from mlflow import MlflowClient

from pipelines.objectives import OBJECTIVES


class TestCompletion:
    """The suggestions of the shell after the tab key."""

    def complete(self, typed: str, folder: Path) -> list[str]:
        environ = os.environ | {
            "_MLP_SEARCH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"mlp-search {typed}",
            "COMP_CWORD": str(len(f"{typed} ".split(" ")) - 1),
            "MLP_SEARCH_HOME": str(folder / "home"),
        }
        done = subprocess.run(command(), cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.stderr == ""  # a shell would show it behind what is typed
        return done.stdout.split()

    def test_commands(self, tmp_path: Path) -> None:
        assert self.complete("tr", tmp_path) == ["train", "trials"]

    def test_sources_and_study_files(self, tmp_path: Path) -> None:
        for name in ("mine.toml", "mine.csv", "mine.txt"):
            (tmp_path / name).touch()
        assert self.complete("run m", tmp_path) == ["mine.toml", "mnist", "mine.csv"]
        assert self.complete("plan m", tmp_path) == ["mine.toml", "mnist", "mine.csv"]
        assert self.complete("train m", tmp_path) == ["mnist", "mine.csv"]

    def test_a_folder_is_suggested_once_and_a_link_to_nowhere_not_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        (tmp_path / "mine").symlink_to("a" * 300)  # a name that is too long for every system
        assert self.complete("run m", tmp_path) == ["models/", "mnist"]

    def test_studies_of_the_home(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        for name in ("digits", "dunes", "iris"):
            optuna.create_study(study_name=name, storage=f"sqlite:///{tmp_path}/home/optuna.db")
        assert self.complete("trials d", tmp_path) == ["dunes", "digits"]
        assert self.complete(f"show --home {tmp_path}/none d", tmp_path) == []

    def test_registered_models_of_the_home(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        client = MlflowClient(f"sqlite:///{tmp_path}/home/mlflow.db")
        for name in ("digits", "dunes", "iris"):
            client.create_registered_model(name)
        assert self.complete("predict d", tmp_path) == ["digits", "dunes"]
        assert self.complete("rollback ir", tmp_path) == ["iris"]
        assert self.complete(f"rollback --home {tmp_path}/none d", tmp_path) == []

    def test_options(self, tmp_path: Path) -> None:
        assert self.complete("run --tr", tmp_path) == ["--trials"]

    def test_values_of_options(self, tmp_path: Path) -> None:
        assert self.complete("run digits --preset ", tmp_path) == ["classic", "strong", "tiny"]
        assert self.complete("run digits --objective val_a", tmp_path) == [
            name for name in OBJECTIVES if name.startswith("val_a")
        ]
        assert self.complete("train digits --optimizer ada", tmp_path) == ["adam", "adamw"]
        assert self.complete("train digits --normalization b", tmp_path) == ["batch"]
        assert self.complete("run digits --trials ", tmp_path) == []

    def test_what_is_wrong_completes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.complete("run ~nosuch/", tmp_path) == []
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://place")
        assert self.complete("trials d", tmp_path) == []
