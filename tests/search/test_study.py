"""Whole studies on real data: repeated, interrupted, killed, and what MLflow holds of them afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import pytest
from studies import figures, small_spec

from pipelines.config import DataConfig
from pipelines.datasets import Dataset, load
from pipelines.errors import SpecError, UnavailableError
from search.progress import Progress
from search.settings import read_settings
from search.spool import entries
from search.study import StudyResult, run_study

PATIENCE_S = 60.0


@dataclass
class Watcher:
    """Keeps what it is told and may act on it."""

    act: Callable[[Progress], None] = lambda progress: None
    lines: list[str] = field(default_factory=list)

    def update(self, progress: Progress) -> None:
        self.act(progress)

    def note(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all studies here: making MLflow's database takes seconds."""
    return tmp_path_factory.mktemp("home")


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
    return mlflow.MlflowClient(read_settings(home, {}).tracking_uri)


def runs_of(client: mlflow.MlflowClient, study: str) -> dict[str, Any]:
    experiment = client.get_experiment_by_name(study)
    assert experiment
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def workers() -> list[psutil.Process]:
    """The processes in which trials train: children of the fork server, which is a child of ours."""
    family = psutil.Process().children(recursive=True)
    return [
        process for process in family if process.ppid() != os.getpid() and "forkserver" in " ".join(process.cmdline())
    ]


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

    def test_a_spent_study_is_answered_without_training(self, finished: StudyResult, home: Path) -> None:
        watcher = Watcher()
        again = run_study(small_spec("finished"), home=home, observer=watcher)
        assert again.rows == finished.rows
        assert watcher.lines == ["the budget of study finished was spent before; a larger one lets it go on"]

    def test_the_frame_has_a_row_a_trial_and_a_column_a_hyperparameter(self, finished: StudyResult) -> None:
        frame = finished.to_frame()
        assert list(frame.index) == [row.number for row in finished.rows]
        assert {"width", "optimizer", "epochs", "value", "state", "run_id"} <= set(frame.columns)


class Search:
    """A searching process of its own, whose lines can be waited for."""

    def __init__(self, home: Path, name: str) -> None:
        script = Path(__file__).with_name("studies.py")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "OPTUNA_"))}
        self.process = subprocess.Popen(
            [sys.executable, script, home, name], stdout=subprocess.PIPE, text=True, env=environ,
            start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()

    def wait_for(self, pattern: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if re.search(pattern, line):
                return
        raise AssertionError(f"{pattern!r} did not come: {self.lines}")

    def rest(self) -> int:
        """Reads to the end; returns the exit code."""
        assert self.process.stdout
        self.lines += [line.rstrip() for line in self.process.stdout]
        return self.process.wait()

    def end(self) -> None:
        self._watchdog.cancel()
        for process in [*psutil.Process().children(recursive=True)]:
            if process.pid == self.process.pid:
                for child in process.children(recursive=True):
                    child.kill()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def search(home: Path) -> Iterator[Callable[[str], Search]]:
    started: list[Search] = []

    def start(name: str) -> Search:
        started.append(Search(home, name))
        return started[-1]

    yield start
    for process in started:
        process.end()


class TestInterrupted:
    def test_ctrl_c_ends_the_epochs_and_the_same_study_goes_on(
        self, finished: StudyResult, home: Path, client: mlflow.MlflowClient, search: Callable[[str], Search]
    ) -> None:
        process = search("interrupted")
        process.wait_for(r"^trial-0006 in training")
        os.killpg(process.process.pid, signal.SIGINT)  # the terminal sends it to every process of the group
        assert process.rest() == 0
        assert process.lines[-1] == "interrupted: True"
        states = {name: run.info.status for name, run in runs_of(client, "interrupted").items()}
        assert len(states) in range(7, 12), "it ended soon after"
        assert sorted(set(states.values())) in (["FINISHED", "KILLED"], ["FINISHED"])
        resumed = run_study(small_spec("interrupted"), home=home)
        assert figures(resumed) == figures(finished)
        assert {run.info.status for run in runs_of(client, "interrupted").values()} == {"FINISHED"}

    def test_a_search_that_is_killed_leaves_nothing_and_goes_on(
        self, finished: StudyResult, home: Path, client: mlflow.MlflowClient, search: Callable[[str], Search]
    ) -> None:
        process = search("killed")
        process.wait_for(r"^trial-0005 in training")
        family = psutil.Process(process.process.pid).children(recursive=True)
        assert family
        os.kill(process.process.pid, signal.SIGKILL)
        process.rest()
        assert not psutil.wait_procs(family, timeout=10)[1], "workers end by themselves"
        resumed = run_study(small_spec("killed"), home=home)
        assert figures(resumed) == figures(finished)
        runs = runs_of(client, "killed")
        assert sorted(runs) == [f"trial-{number:04d}" for number in range(15)]
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert {row.number: row.run_id for row in resumed.rows} == {
            int(name[-4:]): run.info.run_id for name, run in runs.items()
        }
        assert list(entries(read_settings(home, {}).spool, "killed")) == []

    def test_two_workers_interrupted_train_exactly_the_budget(self, home: Path) -> None:
        spec = small_spec("two", trials=20, slots=2)

        def interrupt(progress: Progress) -> None:
            if progress.complete + progress.pruned >= 7 and not progress.stopping:
                signal.raise_signal(signal.SIGINT)

        first = run_study(spec, home=home, observer=Watcher(interrupt))
        assert first.interrupted
        assert len(first.rows) < 20
        second = run_study(spec, home=home)
        assert sorted(row.number for row in second.rows) == list(range(20))
        assert second.count("COMPLETE") + second.count("PRUNED") == 20

    def test_a_second_ctrl_c_ends_it_at_once_and_nothing_is_lost(self, home: Path) -> None:
        spec = small_spec("twice", trials=4, space={"epochs": 100_000, "width": 256}, search={"pruner": "none"})
        pressed: list[float] = []

        def interrupt(progress: Progress) -> None:
            reports = [view.report.epoch for view in progress.slots.values() if view.report]
            if reports and (not pressed or time.monotonic() - pressed[-1] > 0.6):
                pressed.append(time.monotonic())
                signal.raise_signal(signal.SIGINT)
                if len(pressed) == 1:
                    time.sleep(0.7)  # two presses within half a second count as one
                    signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            run_study(spec, home=home, observer=Watcher(interrupt))
        assert time.monotonic() - pressed[0] < 10
        short = Watcher(lambda progress: signal.raise_signal(signal.SIGINT) if progress.slots else None)
        resumed = run_study(spec, home=home, observer=short)
        assert [row.state for row in resumed.rows] == ["WAITING"]


class TestWorkersThatDie:
    def test_kill_9_costs_one_trial_its_time_and_a_deadly_one_fails_after_three(
        self, home: Path, client: mlflow.MlflowClient
    ) -> None:
        start = {"depth": 2, "dropout": 0.1, "optimizer": "adam", "batch_size": 64}
        spec = small_spec(
            "deadly", trials=5, space={"width": {"low": 8, "high": 512}, "epochs": {"low": 3, "high": 500}},
            search={"pruner": "none", "sampler": "random"},
            start=[{**start, "width": 8, "epochs": 3}, {**start, "width": 512, "epochs": 500},
                   {**start, "width": 511, "epochs": 40}, {**start, "width": 9, "epochs": 3},
                   {**start, "width": 10, "epochs": 3}],
        )  # fmt: skip
        killed: list[str] = []

        def kill(progress: Progress) -> None:
            [view] = progress.slots.values() or [None]
            if view is None or view.report is None or view.report.epoch < 2:
                return
            if view.run_name == "trial-0001" or (view.run_name == "trial-0002" and "trial-0002" not in killed):
                [worker] = workers()
                killed.append(view.run_name)
                worker.kill()
                worker.wait(10)

        watcher = Watcher(kill)
        result = run_study(spec, home=home, observer=watcher)
        assert killed == ["trial-0001"] * 3 + ["trial-0002"]
        states = {row.number: row.state for row in result.rows}
        assert states == {0: "COMPLETE", 1: "FAIL", 2: "COMPLETE", 3: "COMPLETE", 4: "COMPLETE"}
        again = [line for line in watcher.lines if "killed by SIGKILL" in line and "trained again" in line]
        assert [line[:10] for line in again] == ["trial-0001", "trial-0001", "trial-0002"]
        runs = runs_of(client, "deadly")
        assert {name: run.info.status for name, run in runs.items() if run.info.status != "FINISHED"} == {
            "trial-0001": "FAILED"
        }
        assert "3 times with this configuration" in runs["trial-0001"].data.tags["message"]
        steps = [point.step for point in client.get_metric_history(runs["trial-0002"].info.run_id, "loss")]
        assert sorted(steps) == list(range(1, 41)), "every epoch once, though two were trained twice"


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

    def test_the_experiment_says_what_was_searched_on_what(
        self, client: mlflow.MlflowClient, finished: StudyResult
    ) -> None:
        experiment = client.get_experiment_by_name("finished")
        assert experiment
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        note = experiment.tags["mlflow.note.content"]
        assert all(word in note for word in ("width", "learning_rate", "digits", "1149", "288", "tpe", "asha"))

    def test_each_trial_knows_its_run(self, finished: StudyResult, runs: dict[str, Any]) -> None:
        assert {row.number: row.run_id for row in finished.rows} == {
            int(name[-4:]): run.info.run_id for name, run in runs.items()
        }

    def test_the_model_of_every_trial_takes_raw_rows_and_scores_as_logged(
        self, finished: StudyResult, runs: dict[str, Any], client: mlflow.MlflowClient, tmp_path: Path
    ) -> None:
        digits = load(DataConfig("digits"))
        for run in runs.values():
            assert_scores_as_logged(client, run, digits, tmp_path)


def assert_scores_as_logged(client: mlflow.MlflowClient, run: Any, dataset: Dataset, folder: Path) -> None:
    import keras

    model = keras.models.load_model(client.download_artifacts(run.info.run_id, "model.h5", str(folder)))
    rows = dataset.validation
    assert rows.x.dtype == np.uint8
    accuracy = np.mean(model.predict(rows.x, 4096, verbose=0).argmax(1) == rows.y)
    assert accuracy == pytest.approx(run.data.metrics["best_val_accuracy"], abs=1e-4)


@pytest.mark.mnist
def test_models_of_mnist_take_pixels_from_0_to_255_and_score_as_logged(
    home: Path, client: mlflow.MlflowClient, mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLP_SEARCH_DATA", str(mnist_folder))
    spec = small_spec(
        "mnist",
        trials=4,
        slots=2,
        data={"source": "mnist"},
        space={"width": [32, 64], "epochs": [1, 2], "batch_size": 256},
    )
    result = run_study(spec, home=home)
    assert len(result.rows) == 4
    assert result.best is not None
    assert result.best.value is not None
    assert result.best.value > 0.9
    dataset = load(spec.data, [mnist_folder])
    assert dataset.validation.x.max() == 255
    for run in runs_of(client, "mnist").values():
        assert_scores_as_logged(client, run, dataset, tmp_path)


class TestBudgets:
    def test_the_timeout_keeps_what_running_trials_reached_and_counts_over_runs(self, home: Path) -> None:
        changes = {"space": {"epochs": 1_000_000, "width": 64, "learning_rate": 0.001}, "search": {"pruner": "none"}}
        spec = replace(small_spec("timeout", trials=None, slots=2, **changes), trials=None, timeout_s=9.0)
        result = run_study(spec, home=home)
        assert 8 < result.wall_s < 12
        assert [row.state for row in result.rows] == ["COMPLETE", "COMPLETE"]
        assert all(row.epochs_trained > 1 and row.value and row.value > 0.5 for row in result.rows)
        again = run_study(spec, home=home)
        assert again.rows == result.rows, "the time was used up"
        more = run_study(replace(spec, timeout_s=result.wall_s + 7.0), home=home)
        assert len(more.rows) == 4
        assert more.wall_s < 10

    def test_a_small_space_is_trained_once_and_the_study_ends(self, home: Path) -> None:
        fixed = {"width": [8, 16], "depth": 1, "dropout": 0.0, "optimizer": "adam", "learning_rate": 0.01}
        spec = small_spec(
            "small", trials=50, slots=2,
            space=fixed | {"schedule": ["constant", "cosine"], "epochs": 2, "batch_size": 64},
        )  # fmt: skip
        result = run_study(spec, home=home)
        assert len(result.rows) == 4
        assert len({(row.params["width"], row.params["schedule"]) for row in result.rows}) == 4

    def test_another_process_cannot_search_the_same_study(self, home: Path) -> None:
        refused: list[str] = []

        def try_too(progress: Progress) -> None:
            if not refused:
                with pytest.raises(UnavailableError, match="is being searched by another process") as caught:
                    run_study(small_spec("locked", trials=2), home=home)
                refused.append(str(caught.value))

        result = run_study(small_spec("locked", trials=2), home=home, observer=Watcher(try_too))
        assert refused
        assert len(result.rows) == 2


class TestSamplersAndPruners:
    @pytest.mark.parametrize(
        ("sampler", "pruner"),
        [("tpe", "hyperband"), ("random", "median"), ("cmaes", "none"), ("grid", "asha"), ("gp", "asha")],
    )
    def test_run_a_short_study(self, home: Path, sampler: str, pruner: str) -> None:
        space = (
            {"learning_rate": [0.003, 0.01], "width": [16, 32], "dropout": 0.1, "epochs": [3, 6]}
            if sampler == "grid"
            else {}
        )
        spec = small_spec(
            f"{sampler}-{pruner}", trials=7, slots=2, search={"sampler": sampler, "pruner": pruner}, space=space
        )
        result = run_study(spec, home=home)
        assert result.count("COMPLETE") + result.count("PRUNED") == 7
        assert len({tuple(row.params.items()) for row in result.rows}) == 7


def test_a_sampler_without_its_package_ends_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import then finds is what it finds without the package
    with pytest.raises(UnavailableError, match=r"pip install 'mlp-search\[gp\]'$"):
        run_study(small_spec("gp", search={"sampler": "gp"}), home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_an_unknown_pool(home: Path) -> None:
    with pytest.raises(SpecError, match=r"--pool: must be .*, got 'cloud'"):
        run_study(small_spec("cloud"), home=home, pool="cloud")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """A tracking server of its own: its address, and its process."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    environ = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, env=environ)
    until = time.monotonic() + PATIENCE_S
    while not answers(address):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until
        time.sleep(0.2)
    yield address, psutil.Process(process.pid)
    for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        child.kill()
    process.wait()


def answers(address: str) -> bool:
    import requests

    try:
        return bool(requests.get(address + "/health", timeout=5).ok)
    except requests.RequestException:
        return False


def test_a_tracking_server_that_hangs_costs_nothing_and_loses_nothing(
    server: tuple[str, psutil.Process],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # in seconds; two minutes by default
    family = [process, *process.children(recursive=True)]
    ended: dict[int, float] = {}
    resumed: list[float] = []

    def resume() -> None:
        resumed.append(time.monotonic())
        for part in family:
            part.resume()

    def stop_after_two(progress: Progress) -> None:
        done = progress.complete + progress.pruned
        if ended.setdefault(done, time.monotonic()) and done == 2 and not timers:
            timers.append(threading.Timer(8, resume))
            timers[0].start()
            for part in family:
                part.suspend()

    timers: list[threading.Timer] = []
    watcher = Watcher(stop_after_two)
    result = run_study(small_spec("hangs", trials=12), home=tmp_path, observer=watcher)
    assert ended[12] < resumed[0], "ten trials did not wait for the server"
    assert [line[:6] for line in watcher.lines if "MLflow" in line] == ["MLflow", "MLflow"], "away, and back"
    assert result.undelivered == 0
    assert capfd.readouterr().out == "", "MLflow would print where each run can be seen"
    client = mlflow.MlflowClient(address)
    runs = runs_of(client, "hangs")
    assert sorted(runs) == [f"trial-{number:04d}" for number in range(12)]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for row in result.rows:
        run = runs[f"trial-{row.number:04d}"]
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val_accuracy")]
        assert sorted(steps) == list(range(1, row.epochs_trained + 1))
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["learning_curves.svg", "model.h5"]
        assert row.run_id == run.info.run_id
