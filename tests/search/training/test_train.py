"""``train``: one configuration, one run."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
from command_line import Answer, call
from mlflow import MlflowClient
from trainings import SMALL, arrays, artifact, assert_same_arrays, curves, experiment, last_run, train

import search

ROW = (
    "number", "state", "value", "params", "best_epoch", "epochs_trained", "duration_s", "device", "run_id", "majority",
    "objective", "baselines", "is_start", "is_enqueued", "stop_reason", "folds", "std", "precision",
    "waited_s",
)  # fmt: skip


def test_a_value_without_effect_is_refused(tmp_path: Path) -> None:
    for options in (("--residual",), ("--shape", "funnel")):
        answer = call("train", "digits", "--depth", 1, *options, "--home", tmp_path / "home")
        assert answer.code == 1
        assert answer.err.splitlines()[-1].startswith(f"error: {options[0]}: must be left out, got ")


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
        assert row["baselines"]["majority"]["accuracy"] == row["majority"]
        assert row["baselines"]["linear"]["accuracy"] > 0.9

    def test_with_folds_it_has_their_mean_and_no_checkpoint(self, client: MlflowClient, shared_home: Path) -> None:
        row = train(shared_home, *SMALL, "--epochs", 1, "--folds", 2)
        assert row["folds"] == 2
        assert row["std"] > 0
        assert {file.path for file in client.list_artifacts(row["run_id"])} == {"model.h5", "preprocessing.json"}
        again = call("train", "digits", "--continue", row["run_id"], "--home", shared_home)
        assert again.code == 1
        reason = "has no checkpoint.h5, because it trained the networks of 2 folds: train without --continue"
        assert again.err == f"error: --continue: must be a run with one split, but {row['run_id']} {reason}\n"

    def test_layers_and_epochs_are_shown(self, two_epochs: Answer) -> None:
        lines = [line.split() for line in two_epochs.err.splitlines()]
        assert ["hidden_1", "16", "1,040"] in lines
        assert ["classes", "10", "170"] in lines
        assert ["all", "1,210"] in lines
        epochs = [line for line in lines if line[:1] == ["epoch"]]
        assert [line[1] for line in epochs] == ["1", "2"]
        assert all("val_accuracy" in line for line in epochs)

    def test_mlflow_has_its_run(self, two_epochs: Answer, client: MlflowClient, shared_home: Path) -> None:
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
        expected = "A single training of 1,210 weights on **digits**, which began with seed 3."
        assert run.data.tags["mlflow.note.content"] == expected
        assert run.inputs.dataset_inputs[0].dataset.name == "digits"
        for name in ("model", "checkpoint"):
            content = artifact(client, row["run_id"], f"{name}.h5").read_bytes()
            assert hashlib.sha256(content).hexdigest() == run.data.tags[f"{name}_sha256"]
        assert list((shared_home / "spool").rglob("entry.json")) == []

    def test_the_text_output_names_the_run(self, shared_home: Path) -> None:
        answer = call("train", "digits", *SMALL, "--epochs", 1, "--home", shared_home)
        assert answer.code == 0
        assert re.search(r"best: val_accuracy 0\.\d{4} at epoch 1 of 1, in .* s; run [0-9a-f]{32}\n$", answer.out)
        assert "Always predicting the most frequent class reaches 0.1" in answer.out
        assert "hidden_1" in answer.out

    def test_the_same_seed_gives_the_same_model(
        self, two_epochs: Answer, client: MlflowClient, shared_home: Path
    ) -> None:
        again = train(shared_home, *SMALL, "--epochs", 2, "--seed", 3)
        other = train(shared_home, *SMALL, "--epochs", 2, "--seed", 4)
        models = [artifact(client, row["run_id"], "model.h5") for row in (two_epochs.json(), again, other)]
        assert_same_arrays(models[0], models[1])
        ours, theirs = arrays(models[0]), arrays(models[2])
        assert any(not np.array_equal(ours[name], theirs[name]) for name in ours)

    def test_a_loss_that_is_no_number(self, client: MlflowClient, shared_home: Path) -> None:
        answer = call("train", "digits", *SMALL, "--optimizer", "sgd", "--learning-rate", "1e30", "--home", shared_home)
        assert (answer.code, answer.out) == (1, answer.out)
        assert answer.err.splitlines()[-1].startswith("error: the loss was not a number in the first epoch")
        assert last_run(client).info.status == "FAILED"

    def test_a_spooled_run_is_delivered_by_the_next_training(
        self, two_epochs: Answer, client: MlflowClient, shared_home: Path
    ) -> None:
        """A run that waits in the spool, as after a server that was away, is delivered by the next training."""
        from search.tracking.entries import Entry, RunStart
        from search.tracking.spool import write_entry

        start = RunStart("train-digits", "train-left-behind", 1_700_000_000_000, {"width": 16}, {})
        write_entry(shared_home / "spool", Entry(start, 1_700_000_001_000, "COMPLETE"), {"model.h5": b"left behind"})
        train(shared_home, *SMALL, "--epochs", 1)
        (run,) = client.search_runs([experiment(client)], "attributes.run_name = 'train-left-behind'")
        assert run.info.status == "FINISHED"
        assert artifact(client, run.info.run_id, "model.h5").read_bytes() == b"left behind"
        assert list((shared_home / "spool").rglob("entry.json")) == []


class TestFromPython:
    """The same from a notebook."""

    def test_a_training_and_more_of_it(self, shared_home: Path) -> None:
        spec = search.default_training("digits", width=16, depth=1, epochs=1)
        first = search.train_once(spec, home=shared_home)
        assert first.row.epochs_trained == 1
        assert first.row.run_id is not None
        second = search.continue_training(first.row.run_id, epochs=2, home=shared_home)
        assert (second.row.epochs_trained, second.stop_reason, second.undelivered) == (3, "finished", 0)
