"""``train --continue`` resumes exactly where a training stopped."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Answer, CtrlC, call
from mlflow import MlflowClient
from trainings import SMALL, artifact, assert_same_arrays, curves, experiment, train

import search
from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import NotFoundError, SpecError
from search.home.settings import read_settings
from search.training.configuration import TrainingSpec
from search.training.continuation import read_earlier


@pytest.mark.parametrize(
    "optimizer",
    [("sgd", "--learning-rate", 0.1), ("rmsprop",), ("adam",), ("adamw", "--scaling", "standard")],
    ids=lambda options: options[0],
)
def test_five_epochs_and_five_more_are_ten(
    optimizer: tuple[object, ...], client: MlflowClient, shared_home: Path
) -> None:
    options = (*SMALL, "--optimizer", *optimizer)
    half = train(shared_home, *options, "--epochs", 5)
    more = train(shared_home, "--continue", half["run_id"], "--epochs", 5)
    whole = train(shared_home, *options, "--epochs", 10)
    for name in ("value", "params", "best_epoch", "epochs_trained"):
        assert more[name] == whole[name], name
    for name in ("checkpoint.h5", "model.h5"):
        assert_same_arrays(*(artifact(client, row["run_id"], name) for row in (more, whole)))
    assert curves(client, more["run_id"]) == curves(client, whole["run_id"])
    assert client.get_run(more["run_id"]).data.tags["continued_from"] == half["run_id"]


def test_an_interrupted_run_is_continued_to_its_last_epoch(client: MlflowClient, shared_home: Path) -> None:
    """Ctrl-C in the middle of a training; without --epochs the rest of it is trained."""
    options = [str(option) for option in (*SMALL, "--epochs", 8, "--schedule", "cosine")]
    answer = call("train", "digits", *options, "--home", shared_home, "--json", err=CtrlC("epoch   3"))
    assert answer.code == 130
    row = answer.json()
    assert (row["state"], row["epochs_trained"]) == ("INTERRUPTED", 3)
    resume, last = answer.err.splitlines()[-2:]
    assert resume == f"to resume, run: mlp-search train digits --continue {row['run_id']} --home {shared_home}"
    assert last == "interrupted"
    assert client.get_run(row["run_id"]).info.status == "KILLED"

    rest = train(shared_home, "--continue", row["run_id"])
    whole = train(shared_home, *options)
    assert (rest["epochs_trained"], rest["value"]) == (8, whole["value"])
    assert_same_arrays(*(artifact(client, done["run_id"], "checkpoint.h5") for done in (rest, whole)))


def test_the_best_epoch_may_be_an_earlier_runs(client: MlflowClient, shared_home: Path) -> None:
    tiny = (*SMALL, "--optimizer", "sgd", "--learning-rate", "1e-12", "--dropout", 0)  # nothing ever changes
    first = train(shared_home, *tiny, "--epochs", 2)
    second = train(shared_home, "--continue", first["run_id"], "--epochs", 2)
    assert (second["best_epoch"], second["epochs_trained"]) == (1, 4)
    models = [artifact(client, row["run_id"], "model.h5").read_bytes() for row in (first, second)]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--epochs: must be the number of further epochs"),
        (("--width", 17), "--width: must be 16, as in the run to continue, got 17"),
        (("--epochs", 1, "--learning-rate", 0.5), "--learning-rate: must be 0.001, as in the run to continue"),
        (("--epochs", 1, "--seed", 4), "--seed: must be 3, as in the run to continue, got 4"),
        (("--epochs", 1, "--scaling", "none"), "--scaling: must be minmax, as in the run to continue"),
    ],
)
def test_only_the_epochs_may_change(
    options: tuple[object, ...], says: str, two_epochs: Answer, shared_home: Path
) -> None:
    run_id = two_epochs.json()["run_id"]
    answer = call("train", "digits", "--continue", run_id, *map(str, options), "--home", shared_home)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"error: {says}")
    assert answer.err.count("\n") == 1


def test_an_option_may_say_what_the_run_has_without_naming_it(two_epochs: Answer, shared_home: Path) -> None:
    earlier = read_earlier(read_settings(shared_home), two_epochs.json()["run_id"])
    given = {"activation": "relu", "ema": 0.0, "class_weight": "none", "weight_decay": 0.0, "precision": "auto"}
    assert earlier.resume(given | {"epochs": 1}) == earlier.resume({"epochs": 1})
    with pytest.raises(SpecError, match="--activation: must be relu, as in the run to continue, got gelu"):
        earlier.resume({"activation": "gelu", "epochs": 1})
    with pytest.raises(SpecError, match="widht: must be an option of a training, got 3"):
        earlier.resume({"widht": 3, "epochs": 1})


def test_other_data_is_refused(two_epochs: Answer, shared_home: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "digits.npz", x=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3)
    run_id = two_epochs.json()["run_id"]
    answer = call("train", tmp_path / "digits.npz", "--continue", run_id, "--epochs", 1, "--home", shared_home)
    assert (answer.code, answer.out) == (1, "")
    assert f"must hold the rows that run {run_id} was trained on" in answer.err


def test_a_changed_checkpoint_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"  # doctor would find the loss in the shared one
    run_id = train(home, *SMALL, "--epochs", 1)["run_id"]
    (file,) = (home / "artifacts").glob(f"{run_id}/**/checkpoint.h5")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    answer = call("train", "digits", "--continue", run_id, "--epochs", 1, "--home", home)
    assert (answer.code, answer.out) == (1, "")
    assert f"run {run_id}, checkpoint.h5: sha256 must be the recorded" in answer.err


def test_a_run_without_a_checkpoint(client: MlflowClient, shared_home: Path) -> None:
    run_id = client.create_run(experiment(client)).info.run_id
    with pytest.raises(NotFoundError, match=r"must be a run that train made, but .* has no checkpoint\.h5"):
        search.continue_training(run_id, home=shared_home)


def test_a_training_that_has_not_ended(client: MlflowClient, shared_home: Path) -> None:
    tags = {"training": TrainingSpec(DataConfig("digits"), Hyperparameters(), seed=0).to_json()}
    run_id = client.create_run(experiment(client), tags=tags).info.run_id
    with pytest.raises(NotFoundError, match=r"must be a run that ended, but .* because it has not ended, or it failed"):
        search.continue_training(run_id, home=shared_home)


def test_a_checkpoint_that_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"  # doctor would find the loss in the shared one
    run_id = train(home, *SMALL, "--epochs", 1)["run_id"]
    shutil.rmtree(home / "artifacts" / run_id)
    answer = call("train", "digits", "--continue", run_id, "--epochs", 1, "--home", home)
    assert answer.code == 1
    assert re.fullmatch(r"error: [^\n]+\n", answer.err)


@pytest.mark.parametrize("option", [("--schedule", "cosine"), ("--warmup", 0.1)])
def test_a_schedule_that_depends_on_the_number_of_epochs_has_the_planned_one(
    option: tuple[object, ...], shared_home: Path
) -> None:
    """More epochs would begin in the middle of another schedule, and be no training that can be repeated."""
    run_id = train(shared_home, *SMALL, "--epochs", 2, *option)["run_id"]
    answer = call("train", "digits", "--continue", run_id, "--epochs", "2", "--home", shared_home)
    assert (answer.code, answer.out) == (1, "")
    assert "--epochs: must be given to a new training, because" in answer.err
    assert "depends on the number of epochs" in answer.err
