"""Whole studies whose models are of MNIST, or whose tracking server hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
from finished import run_small
from outages import TrackingServer
from registered import client_of
from searching import Watcher, assert_scores_as_logged, runs_of
from studies import small_spec
from waiting import wait_for

from pipelines.data.loading import load
from pipelines.errors import SpecError
from search.home.settings import read_settings
from search.optimization.studies import study_names
from search.scheduling.progress import Progress
from search.scheduling.run_study import run_study


@pytest.mark.mnist
def test_models_of_mnist_take_pixels_from_0_to_255_and_score_as_logged(
    home: Path, mnist_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    client = client_of(home)
    for run in runs_of(client, "mnist").values():
        assert_scores_as_logged(client, run, dataset, tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """A tracking server of its own: its address, and its process."""
    server = TrackingServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server.url, psutil.Process(server.process.pid)
    server.kill()


def test_a_tracking_server_that_hangs_costs_nothing_and_loses_nothing(
    server: tuple[str, psutil.Process],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # in seconds: a loaded machine may need that long
    family = [process, *process.children(recursive=True)]
    all_done = threading.Event()
    resumers: list[threading.Thread] = []

    def resume() -> None:
        """Lets the server answer again once all trials have ended and its absence was noticed."""
        try:
            wait_for(lambda: all_done.is_set() and [line for line in watcher.lines if "MLflow" in line])
        finally:
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
            for part in family:
                part.resume()

    def hang_after_two(progress: Progress) -> None:
        done = progress.complete + progress.pruned
        if done == 2 and not resumers:
            resumers.append(threading.Thread(target=resume))
            resumers[0].start()
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
            for part in family:
                part.suspend()
        if done == 12:
            all_done.set()

    watcher = Watcher(hang_after_two)
    result = run_study(small_spec("hangs", trials=12), home=tmp_path, observer=watcher)
    resumers[0].join()
    assert all_done.is_set(), "ten trials did not wait for the server"
    lines = [line for line in watcher.lines if "MLflow" in line]
    assert lines[0].startswith("MLflow does not answer")
    assert lines[-1] == "MLflow answers again and has all results"
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
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["model.h5", "preprocessing.json"]
        assert row.run_id == run.info.run_id


def test_a_new_study_is_refused_where_mlflow_has_runs_of_another_home_s_study(
    server: tuple[str, psutil.Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are found by their names: each home would delete and describe those of the other one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server[0])
    run_small(tmp_path / "one", "same", trials=1, width=[8, 16])
    client = client_of(tmp_path / "one")
    before = client.get_experiment_by_name("same")
    with pytest.raises(SpecError, match=r"study.name: must be no experiment of MLflow at .* with runs that this home"):
        run_small(tmp_path / "two", "same", trials=1)
    assert study_names(read_settings(tmp_path / "two")) == []
    assert client.get_experiment_by_name("same").tags == before.tags
    run_small(tmp_path / "two", "other", trials=1)
    assert run_small(tmp_path / "one", "same", trials=2, width=[8, 16]).n_trained == 1

    client.delete_experiment(before.experiment_id)
    run_small(tmp_path / "three", "same", trials=1)
    after = client.get_experiment_by_name("same")
    assert after.experiment_id != before.experiment_id
    assert len(client.search_runs([after.experiment_id])) == 1
    assert client.get_experiment(before.experiment_id).name.startswith("same (deleted ")
