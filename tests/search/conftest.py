"""One home for the tests of the command line: MLflow's database takes seconds to make."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import STUDY, Answer, call
from mlflow import MlflowClient
from trainings import SMALL


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that they share, each with studies and runs of its own."""
    return tmp_path_factory.mktemp("command-line") / "home"


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study ``tiny``."""
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def first_run(study_file: Path, shared_home: Path) -> Answer:
    """Its run, with the output on no terminal."""
    return call("run", study_file, "--home", shared_home, "--json")


@pytest.fixture
def finished_home(first_run: Answer, shared_home: Path) -> Path:
    """The home once it is finished."""
    return shared_home


@pytest.fixture(scope="session")
def two_epochs(shared_home: Path) -> Answer:
    """A training of two epochs."""
    return call("train", "digits", *map(str, SMALL), "--epochs", "2", "--seed", "3", "--home", shared_home, "--json")


@pytest.fixture
def client(two_epochs: Answer, shared_home: Path) -> MlflowClient:
    """MLflow's own eyes on the shared home."""
    return MlflowClient(f"sqlite:///{shared_home}/mlflow.db")
