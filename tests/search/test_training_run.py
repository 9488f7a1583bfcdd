"""``train``: one configuration, one run, and training that goes on exactly where it stopped."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command_line import Answer, CtrlC, call
from mlflow import MlflowClient
from mlflow.entities import Run

import search
from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import NotFoundError, SpecError
from search.training_spec import TrainingSpec, default_training, layers

SMALL = ("--width", 16, "--depth", 1, "--batch-size", 64)
ROW = ("number", "state", "value", "params", "best_epoch", "epochs_trained", "duration_s", "device", "run_id")
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all trainings of this module: MLflow's database takes seconds to make."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


def train(home: Path, *options: object, source: str | Path = "digits") -> dict[str, Any]:
    answer = call("train", source, *map(str, options), "--home", home, "--json")
    assert answer.code == 0, answer.err
    found = answer.json()
    assert isinstance(found, dict)
    return found


def artifact(client: MlflowClient, run_id: str, name: str) -> Path:
    return Path(client.download_artifacts(run_id, name))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of an ``.h5``."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    return found


def assert_same_arrays(one: Path, other: Path) -> None:
    ours, theirs = arrays(one), arrays(other)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 4
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


def curves(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    return {name: [(p.step, p.value) for p in client.get_metric_history(run_id, name)] for name in METRICS}


@pytest.fixture(scope="module")
def two_epochs(home: Path) -> Answer:
    """A finished training, in this process."""
    return call("train", "digits", *SMALL, "--epochs", 2, "--seed", 3, "--home", home, "--json")


class TestOneTraining:
    """A training from the command line."""

    def test_its_row_is_one_of_a_leaderboard(self, two_epochs: Answer) -> None:
        assert two_epochs.code == 0
        row = two_epochs.json()
        assert tuple(row) == ROW
        assert (row["number"], row["state"], row["epochs_trained"]) == (0, "COMPLETE", 2)
        given = {"width": 16, "depth": 1, "batch_size": 64, "epochs": 2}
        rest = {"dropout": 0.2, "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant"}
        assert row["params"] == given | rest
        assert 0 < row["value"] <= 1
        assert row["best_epoch"] in (1, 2)

    def test_layers_and_epochs_are_shown(self, two_epochs: Answer) -> None:
        lines = [line.split() for line in two_epochs.err.splitlines()]
        assert ["hidden_1", "16", "1,040"] in lines
        assert ["classes", "10", "170"] in lines
        assert ["all", "1,210"] in lines
        epochs = [line for line in lines if line[:1] == ["epoch"]]
        assert [line[1] for line in epochs] == ["1", "2"]
        assert all("val_accuracy" in line for line in epochs)

    def test_mlflow_has_its_run(self, two_epochs: Answer, client: MlflowClient, home: Path) -> None:
        row = two_epochs.json()
        run = client.get_run(row["run_id"])
        assert client.get_experiment(run.info.experiment_id).name == "train-digits"
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: str(v) for name, v in row["params"].items()} | {
            "seed": "3",
            "n_parameters": "1210",
        }
        assert run.data.metrics["best_val_accuracy"] == row["value"]
        assert run.data.metrics["best_epoch"] == row["best_epoch"]
        assert [[step for step, _ in curve] for curve in curves(client, row["run_id"]).values()] == [[1, 2]] * 4
        assert run.data.tags["dataset.fingerprint"]
        assert run.inputs.dataset_inputs[0].dataset.name == "digits"
        for name in ("model", "checkpoint"):
            content = artifact(client, row["run_id"], f"{name}.h5").read_bytes()
            assert hashlib.sha256(content).hexdigest() == run.data.tags[f"{name}_sha256"]
        assert list((home / "spool").rglob("entry.json")) == []

    def test_what_people_read_names_the_run(self, home: Path) -> None:
        answer = call("train", "digits", *SMALL, "--epochs", 1, "--home", home)
        assert answer.code == 0
        assert re.search(r"best: val_accuracy 0\.\d{4} at epoch 1 of 1, in .* s; run [0-9a-f]{32}\n$", answer.out)
        assert "hidden_1" in answer.out

    def test_the_same_seed_gives_the_same_model(self, two_epochs: Answer, client: MlflowClient, home: Path) -> None:
        again = train(home, *SMALL, "--epochs", 2, "--seed", 3)
        other = train(home, *SMALL, "--epochs", 2, "--seed", 4)
        models = [artifact(client, row["run_id"], "model.h5") for row in (two_epochs.json(), again, other)]
        assert_same_arrays(models[0], models[1])
        ours, theirs = arrays(models[0]), arrays(models[2])
        assert any(not np.array_equal(ours[name], theirs[name]) for name in ours)

    def test_a_loss_that_is_no_number(self, client: MlflowClient, home: Path) -> None:
        answer = call("train", "digits", *SMALL, "--optimizer", "sgd", "--learning-rate", "1e30", "--home", home)
        assert (answer.code, answer.out) == (1, answer.out)
        assert answer.err.splitlines()[-1].startswith("error: the loss was not a number in the first epoch")
        assert last_run(client).info.status == "FAILED"

    def test_a_home_that_mlflow_did_not_reach_is_caught_up_with(
        self, two_epochs: Answer, client: MlflowClient, home: Path
    ) -> None:
        """A run that waits in the spool, as after a server that was away, is delivered by the next training."""
        from search.spool import Entry, RunStart, write_entry

        start = RunStart("train-digits", "train-left-behind", 1_700_000_000_000, {"width": 16}, {})
        write_entry(home / "spool", Entry(start, 1_700_000_001_000, "COMPLETE"), {"model.h5": b"left behind"})
        train(home, *SMALL, "--epochs", 1)
        (run,) = client.search_runs([experiment(client)], "attributes.run_name = 'train-left-behind'")
        assert run.info.status == "FINISHED"
        assert artifact(client, run.info.run_id, "model.h5").read_bytes() == b"left behind"
        assert list((home / "spool").rglob("entry.json")) == []


def experiment(client: MlflowClient) -> str:
    return str(client.get_experiment_by_name("train-digits").experiment_id)


def last_run(client: MlflowClient) -> Run:
    return client.search_runs([experiment(client)], order_by=["attributes.start_time DESC"], max_results=1)[0]


class TestContinue:
    """``train --continue``."""

    @pytest.mark.parametrize(
        "optimizer",
        [("sgd", "--learning-rate", 0.1), ("rmsprop",), ("adam",), ("adamw", "--scaling", "standard")],
        ids=lambda options: options[0],
    )
    def test_five_epochs_and_five_more_are_ten(
        self, optimizer: tuple[object, ...], client: MlflowClient, home: Path
    ) -> None:
        options = (*SMALL, "--optimizer", *optimizer)
        half = train(home, *options, "--epochs", 5)
        more = train(home, "--continue", half["run_id"], "--epochs", 5)
        whole = train(home, *options, "--epochs", 10)
        for name in ("value", "params", "best_epoch", "epochs_trained"):
            assert more[name] == whole[name], name
        for name in ("checkpoint.h5", "model.h5"):
            assert_same_arrays(*(artifact(client, row["run_id"], name) for row in (more, whole)))
        assert curves(client, more["run_id"]) == curves(client, whole["run_id"])
        assert client.get_run(more["run_id"]).data.tags["continued_from"] == half["run_id"]

    def test_an_interrupted_run_goes_on_to_its_end(self, client: MlflowClient, home: Path) -> None:
        """Ctrl-C in the middle of a training; without --epochs the rest of it is trained."""
        options = [str(option) for option in (*SMALL, "--epochs", 8, "--schedule", "cosine")]
        answer = call("train", "digits", *options, "--home", home, "--json", err=CtrlC("epoch   3"))
        assert answer.code == 130
        row = answer.json()
        assert (row["state"], row["epochs_trained"]) == ("INTERRUPTED", 3)
        go_on, last = answer.err.splitlines()[-2:]
        assert go_on == f"to go on: mlp-search train digits --continue {row['run_id']} --home {home}"
        assert last == "interrupted"
        assert client.get_run(row["run_id"]).info.status == "KILLED"

        rest = train(home, "--continue", row["run_id"])
        whole = train(home, *options)
        assert (rest["epochs_trained"], rest["value"]) == (8, whole["value"])
        assert_same_arrays(*(artifact(client, done["run_id"], "checkpoint.h5") for done in (rest, whole)))

    def test_the_best_epoch_may_be_an_earlier_runs(self, client: MlflowClient, home: Path) -> None:
        tiny = (*SMALL, "--optimizer", "sgd", "--learning-rate", "1e-12", "--dropout", 0)  # nothing ever changes
        first = train(home, *tiny, "--epochs", 2)
        second = train(home, "--continue", first["run_id"], "--epochs", 2)
        assert (second["best_epoch"], second["epochs_trained"]) == (1, 4)
        models = [artifact(client, row["run_id"], "model.h5").read_bytes() for row in (first, second)]
        assert models[0] == models[1]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ((), "--epochs: must say how many more"),
            (("--width", 17), "--width: must be that of the run that goes on, 16, got 17"),
            (("--epochs", 1, "--learning-rate", 0.5), "--learning-rate: must be that of the run that goes on, 0.001"),
            (("--epochs", 1, "--seed", 4), "--seed: must be that of the run that goes on, 3, got 4"),
            (("--epochs", 1, "--scaling", "none"), "--scaling: must be that of the run that goes on, minmax"),
        ],
    )
    def test_only_the_epochs_may_change(
        self, options: tuple[object, ...], says: str, two_epochs: Answer, home: Path
    ) -> None:
        run_id = two_epochs.json()["run_id"]
        answer = call("train", "digits", "--continue", run_id, *map(str, options), "--home", home)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith(f"error: {says}")
        assert answer.err.count("\n") == 1

    def test_other_data_is_refused(self, two_epochs: Answer, home: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "digits.npz", x=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 3)
        run_id = two_epochs.json()["run_id"]
        answer = call("train", tmp_path / "digits.npz", "--continue", run_id, "--epochs", 1, "--home", home)
        assert (answer.code, answer.out) == (1, "")
        assert f"must hold the rows that run {run_id} was trained on" in answer.err

    def test_a_changed_checkpoint_is_refused(self, home: Path, tmp_path: Path) -> None:
        run_id = train(home, *SMALL, "--epochs", 1)["run_id"]
        (file,) = (home / "artifacts").glob(f"{run_id}/**/checkpoint.h5")
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        answer = call("train", "digits", "--continue", run_id, "--epochs", 1, "--home", home)
        assert (answer.code, answer.out) == (1, "")
        assert f"run {run_id}, checkpoint.h5: sha256 must be the recorded" in answer.err

    def test_a_run_without_a_checkpoint(self, client: MlflowClient, home: Path) -> None:
        run_id = client.create_run(experiment(client)).info.run_id
        with pytest.raises(NotFoundError, match=r"must be a run that train made, but .* has no checkpoint\.h5"):
            search.continue_training(run_id, home=home)

    def test_a_checkpoint_that_is_gone(self, home: Path) -> None:
        run_id = train(home, *SMALL, "--epochs", 1)["run_id"]
        shutil.rmtree(home / "artifacts" / run_id)
        answer = call("train", "digits", "--continue", run_id, "--epochs", 1, "--home", home)
        assert answer.code == 1
        assert re.fullmatch(r"error: [^\n]+\n", answer.err)


class TestFromPython:
    """The same from a notebook."""

    def test_a_training_and_more_of_it(self, home: Path) -> None:
        spec = search.default_training("digits", width=16, depth=1, epochs=1)
        first = search.train_once(spec, home=home)
        assert first.row.epochs_trained == 1
        assert first.row.run_id is not None
        second = search.continue_training(first.row.run_id, epochs=2, home=home)
        assert (second.row.epochs_trained, second.stop_reason, second.undelivered) == (3, "finished", 0)

    def test_a_specification_survives_its_record(self) -> None:
        data = DataConfig("a.csv", "kind", 0.3, 0.1, "none", 7)
        spec = TrainingSpec(data, Hyperparameters(learning_rate=0.1 + 0.2), 5)
        assert TrainingSpec.from_json(spec.to_json()) == spec

    def test_the_rate_is_keras_own_for_the_optimizer(self) -> None:
        assert default_training("digits", optimizer="sgd").hyperparameters.learning_rate == 0.01
        assert default_training("digits").hyperparameters == Hyperparameters()

    def test_everything_wrong_is_said_at_once(self) -> None:
        with pytest.raises(SpecError) as error:
            default_training("digits", width=0, dropout=2.0, scaling="log")
        assert len(error.value.problems) == 3

    def test_the_layers_of_the_tutorials_network(self) -> None:
        found = layers(Hyperparameters(width=512, depth=2), n_features=784, n_classes=10)
        names = ["flatten", "scaling", "hidden_1", "dropout_1", "hidden_2", "dropout_2", "classes"]
        assert [layer.name for layer in found] == names
        assert sum(layer.n_parameters for layer in found) == 669_706
        assert found[-1].n_outputs == 10
