"""``--precision`` from the command line to the description of a promoted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call
from mlflow import MlflowClient
from trainings import SMALL, train

STUDY = """
[study]
name = "half"
trials = 1
[data]
source = "digits"
folds = 1
[space]
width = 16
depth = 1
epochs = 2
learning_rate = 0.01
batch_size = 32
[search]
pruner = "none"
[workers]
slots = 1
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("precision") / "home"


@pytest.fixture(scope="module")
def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


@pytest.fixture(scope="module")
def study(home: Path) -> Path:
    """A study whose networks are all in bfloat16."""
    file = home.parent / "half.toml"
    file.write_text(STUDY)
    assert call("run", file, "--precision", "bfloat16", "--home", home).code == 0
    return file


def test_the_finals_and_the_champion_keep_the_precision_of_the_study(
    study: Path, home: Path, client: MlflowClient
) -> None:
    [row] = call("trials", "half", "--home", home, "--json").json()
    assert row["precision"] == "bfloat16"
    assert "matrix products in bfloat16." in call("show", "half", 0, "--home", home).out
    page = home.parent / "half.html"
    assert call("report", "half", "--output", page, "--home", home).code == 0
    assert "<th>matrix products</th><td>bfloat16</td>" in page.read_text()
    assert call("finalists", "half", "--top", 1, "--seeds", 1, "--refit", "--home", home).code == 0
    experiment = client.get_experiment_by_name("half")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name for run in runs} == {"trial-0000", "finalist-0000-seed-1", "refit-0000-epochs-2"}
    assert {run.data.tags["precision"] for run in runs} == {"bfloat16"}
    assert call("evaluate", "half", "--home", home).code == 0
    assert call("promote", "half", "--model", "half", "--home", home).code == 0
    [version] = client.search_model_versions("name = 'half'")
    assert version.tags["precision"] == "bfloat16"
    assert "the operands of its matrix products are bfloat16" in version.description


def test_a_study_resumes_in_its_precision_or_not_at_all(study: Path, home: Path) -> None:
    answer = call("run", study, "--trials", 2, "--precision", "float32", "--home", home)
    assert answer.code == 1
    assert answer.err == (
        "error: workers.precision (--precision): must be that of study 'half', bfloat16, got float32: leave it out,"
        " or start another study with --study NAME\n"
    )


def test_a_plan_says_in_which_precision_networks_train(study: Path, home: Path) -> None:
    found = call("plan", study, "--home", home, "--json").json()
    assert (found["precision"], found["bfloat16_share"]) == ("bfloat16", 1.0), "that of the study, which exists"
    text = call("plan", study, "--precision", "float32", "--home", home).out
    assert [line.split()[-1] for line in text.splitlines() if line.strip().startswith("matrix products")] == ["float32"]


def test_a_training_is_continued_in_its_precision(home: Path, client: MlflowClient) -> None:
    half = train(home, *SMALL, "--epochs", 1, "--precision", "bfloat16")
    more = train(home, "--continue", half["run_id"], "--epochs", 1, "--precision", "auto")
    assert [row["precision"] for row in (half, more)] == ["bfloat16"] * 2
    tags = client.get_run(more["run_id"]).data.tags
    assert (tags["precision"], json.loads(tags["training"])["precision"]) == ("bfloat16", "bfloat16")
    options = ("--continue", half["run_id"], "--epochs", 1, "--precision", "float32", "--home", home)
    answer = call("train", "digits", *options)
    assert answer.code == 1
    assert answer.err.startswith("error: --precision: must be bfloat16, as in the run to continue, got float32")
    small = train(home, *SMALL, "--epochs", 1)
    assert small["precision"] == "float32", "too small to gain"
