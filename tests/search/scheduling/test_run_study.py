"""Whole studies: repeated and resumed bit for bit, and what MLflow has of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import optuna
import psutil
import pytest
from registered import client_of
from searching import Search, Watcher, assert_scores_as_logged, runs_of
from studies import figures, small_spec
from waiting import PATIENCE_S

from pipelines.config import DataConfig
from pipelines.data.loading import load
from search.home.settings import read_settings
from search.reporting.summaries import explain_trial, trials
from search.scheduling.run_study import StudyResult, run_study
from search.tracking.spool import entries


@pytest.fixture(scope="module")
def commit() -> str:
    """The commit that is checked out; "" outside a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip()


@pytest.fixture(scope="module")
def finished(home: Path, commit: str) -> StudyResult:
    """A study of 15 trials in one worker, never interrupted."""
    return run_study(small_spec("finished"), home=home)


@pytest.fixture(scope="module")
def client(home: Path) -> mlflow.MlflowClient:
    return client_of(home)


class TestRepeated:
    def test_a_study_trains_its_budget(self, finished: StudyResult) -> None:
        assert sorted(row.number for row in finished.rows) == list(range(15))
        assert finished.count("COMPLETE") + finished.count("PRUNED") == 15
        assert finished.count("COMPLETE") >= 2
        assert finished.count("PRUNED") >= 2
        assert finished.best is not None
        assert finished.best.value is not None
        assert finished.best.value > 0.9
        assert not finished.interrupted
        assert finished.undelivered == 0

    def test_the_same_seed_gives_the_same_study_to_the_last_bit(self, finished: StudyResult, home: Path) -> None:
        again = run_study(small_spec("again"), home=home)
        assert figures(again) == figures(finished)

    def test_another_seed_gives_another(self, finished: StudyResult, home: Path) -> None:
        other = run_study(replace(small_spec("other", trials=3), seed=12), home=home)
        ours = {tuple(row.params.items()) for row in finished.rows}
        assert not {tuple(row.params.items()) for row in other.rows} & ours

    def test_a_study_without_budget_left_returns_at_once(self, finished: StudyResult, home: Path) -> None:
        watcher = Watcher()
        again = run_study(small_spec("finished"), home=home, observer=watcher)
        assert again.rows == finished.rows
        used = "study finished has used its budget of 15 trials; raise --trials or --timeout to continue"
        assert watcher.lines == [used]

    def test_the_frame_has_a_row_a_trial_and_a_column_a_hyperparameter(self, finished: StudyResult) -> None:
        frame = finished.to_frame()
        assert list(frame.index) == [row.number for row in finished.rows]
        assert {"width", "optimizer", "epochs", "value", "state", "run_id"} <= set(frame.columns)


@pytest.fixture
def search(home: Path) -> Iterator[Callable[..., Search]]:
    started: list[Search] = []

    def start(name: str, slots: int = 1) -> Search:
        started.append(Search(home, name, slots))
        return started[-1]

    yield start
    for process in started:
        process.end()


class TestTakenUpAgain:
    def test_a_study_resumes_after_a_signal_to_its_process_group(
        self, finished: StudyResult, home: Path, client: mlflow.MlflowClient, search: Callable[..., Search]
    ) -> None:
        process = search("interrupted")
        process.wait_for(r"^trial-0006 in training")
        os.killpg(process.process.pid, signal.SIGTERM)  # as ``timeout`` does; a terminal does so at Ctrl-C
        assert process.rest() == 0
        assert process.lines[-1] == "interrupted: True"
        assert not [line for line in process.lines if "died" in line], "the workers finish their epochs"
        states = {name: run.info.status for name, run in runs_of(client, "interrupted").items()}
        assert len(states) in range(7, 12), "it ended soon after"
        assert sorted(set(states.values())) in (["FINISHED", "KILLED"], ["FINISHED"])
        resumed = run_study(small_spec("interrupted"), home=home)
        assert figures(resumed) == figures(finished)
        assert {run.info.status for run in runs_of(client, "interrupted").values()} == {"FINISHED"}

    def test_a_study_resumes_after_its_process_is_killed(
        self, finished: StudyResult, home: Path, client: mlflow.MlflowClient, search: Callable[..., Search]
    ) -> None:
        """Killed with three slots and resumed with one, it equals the uninterrupted study, models included."""
        process = search("killed", slots=3)
        process.wait_for(r"^trial-0005 in training")
        family = psutil.Process(process.process.pid).children(recursive=True)
        assert family
        os.kill(process.process.pid, signal.SIGKILL)
        process.rest()
        assert not psutil.wait_procs(family, timeout=PATIENCE_S)[1], "workers end by themselves"
        left = [row.number for row in trials("killed", home=home) if row.state == "RUNNING"]
        assert left
        assert all("was interrupted" in explain_trial("killed", number, home=home).text for number in left)
        resumed = run_study(small_spec("killed"), home=home)
        assert figures(resumed) == figures(finished)
        runs = runs_of(client, "killed")
        assert sorted(runs) == [f"trial-{number:04d}" for number in range(15)]
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        for name, run in runs_of(client, "finished").items():
            assert runs[name].data.tags["model_sha256"] == run.data.tags["model_sha256"], name
        assert {row.number: row.run_id for row in resumed.rows} == {
            int(name[-4:]): run.info.run_id for name, run in runs.items()
        }
        assert list(entries(read_settings(home, {}).spool, "killed")) == []


class TestInMlflow:
    """Through ``MlflowClient`` alone."""

    @pytest.fixture(scope="class")
    def runs(self, finished: StudyResult, client: mlflow.MlflowClient) -> dict[str, Any]:
        return runs_of(client, "finished")

    def test_as_many_runs_as_trials_none_nested_none_running(self, runs: dict[str, Any]) -> None:
        assert sorted(runs) == [f"trial-{number:04d}" for number in range(15)]
        assert not [run for run in runs.values() if "mlflow.parentRunId" in run.data.tags]
        assert {run.info.status for run in runs.values()} == {"FINISHED"}, "pruned ones too"

    def test_every_param(self, finished: StudyResult, runs: dict[str, Any]) -> None:
        for row in finished.rows:
            params = dict(runs[f"trial-{row.number:04d}"].data.params)
            n_in, width, depth = 64, int(params["width"]), int(params["depth"])
            n_parameters = (n_in + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * 10
            assert int(params.pop("n_parameters")) == n_parameters
            assert int(params.pop("seed")) >= 0
            assert params == {name: str(value) for name, value in row.params.items()}
        assert len({run.data.params["seed"] for run in runs.values()}) == 15

    def test_every_tag(self, finished: StudyResult, runs: dict[str, Any], commit: str) -> None:
        fingerprint = load(DataConfig("digits")).fingerprint
        for row in finished.rows:
            tags = runs[f"trial-{row.number:04d}"].data.tags
            assert tags["study"] == "finished"
            assert tags["trial"] == str(row.number)
            assert tags["trial.state"] == row.state
            assert tags["device"] == row.device
            assert re.fullmatch(r"(cpu|gpu):\d+", tags["device"])
            assert tags["dataset.fingerprint"] == fingerprint
            assert tags.get("mlflow.source.git.commit", "") == commit

    def test_every_metric_step(self, finished: StudyResult, runs: dict[str, Any], client: mlflow.MlflowClient) -> None:
        for row in finished.rows:
            run = runs[f"trial-{row.number:04d}"]
            for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
                history = client.get_metric_history(run.info.run_id, name)
                assert sorted(point.step for point in history) == list(range(1, row.epochs_trained + 1))
                assert all(np.isfinite(point.value) for point in history)
                if name == "val_accuracy":
                    best = max(history, key=lambda point: (point.value, -point.step))
                    assert (best.step, best.value) == (row.best_epoch, row.value)
            metrics = run.data.metrics
            assert (metrics["best_val_accuracy"], metrics["best_epoch"]) == (row.value, row.best_epoch)
            assert metrics["duration_s"] == row.duration_s
            assert not [name for name in metrics if name.startswith("test")], "the test set is sealed"

    def test_every_input(self, runs: dict[str, Any]) -> None:
        for run in runs.values():
            [given] = run.inputs.dataset_inputs
            assert given.dataset.name == "digits"
            assert given.dataset.digest == load(DataConfig("digits")).fingerprint
            assert json.loads(given.dataset.source) == {"uri": "digits"}
            assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]

    def test_the_experiment_describes_the_search(self, client: mlflow.MlflowClient, finished: StudyResult) -> None:
        experiment = client.get_experiment_by_name("finished")
        assert experiment
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        note = experiment.tags["mlflow.note.content"]
        assert all(word in note for word in ("width", "learning_rate", "digits", "1149", "288", "tpe", "asha"))

    def test_each_run_has_the_paragraph_of_show(self, home: Path, finished: StudyResult, runs: dict[str, Any]) -> None:
        shown = {number: explain_trial("finished", number, home=home).text for number in range(len(finished.rows))}
        assert {int(name[-4:]): run.data.tags["mlflow.note.content"] for name, run in runs.items()} == shown

    def test_optuna_knows_the_objective_by_name_and_has_columns_of_ours(
        self, home: Path, finished: StudyResult
    ) -> None:
        study = optuna.load_study(study_name="finished", storage=f"sqlite:///{home}/optuna.db")
        assert study.metric_names == ["val_accuracy"]
        for row in finished.rows:
            attributes = study.trials[row.number].user_attrs
            names = ("best_epoch", "epochs_trained", "duration_s", "device", "stop_reason")
            found = {key: attributes[key] for key in names}
            assert found == {key: getattr(row, key) for key in found}
            # The study keeps the run of a trial that ended before MLflow had opened it.
            assert attributes.get("run_id", row.run_id) == row.run_id
            assert attributes["origin"] == "sampled"
            assert "std" not in attributes

    def test_each_trial_knows_its_run(self, finished: StudyResult, runs: dict[str, Any]) -> None:
        assert {row.number: row.run_id for row in finished.rows} == {
            int(name[-4:]): run.info.run_id for name, run in runs.items()
        }

    def test_the_models_of_a_winner_a_pruned_trial_and_the_last_one_take_raw_rows_and_score_as_logged(
        self, finished: StudyResult, runs: dict[str, Any], client: mlflow.MlflowClient, tmp_path: Path
    ) -> None:
        digits = load(DataConfig("digits"))
        assert finished.best
        pruned = next(row.number for row in finished.rows if row.state == "PRUNED")
        for number in {finished.best.number, pruned, len(finished.rows) - 1}:
            assert_scores_as_logged(client, runs[f"trial-{number:04d}"], digits, tmp_path)
