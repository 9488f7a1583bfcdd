"""``run`` on a machine with fake GPUs, from the option to the metrics of each run in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import STUDY, call
from fake_driver import FakeGpu, fake_machine
from mlflow import MlflowClient


def test_a_study_on_fake_gpus_logs_the_device_and_its_load_with_each_run(tmp_path: Path, shared_home: Path) -> None:
    study = tmp_path / "gpus.toml"
    study.write_text(STUDY.replace('"tiny"', '"gpus"').replace("trials = 6", "trials = 4"))
    with study.open("a") as file:
        file.write("[workers]\ntrials_per_gpu = 2\n")
    gpus = FakeGpu("GPU-a"), FakeGpu("GPU-b", free_mb=400), FakeGpu("GPU-c", free_mb=12_000, busy=70)
    with fake_machine(tmp_path / "gpus.json", *gpus) as driver:
        answer = call("run", study, "--gpus", "1,GPU-c", "--home", shared_home, "--json")
    assert answer.code == 0, answer.err
    assert "gpu:1 has 400 of 16,000 MB free, and a trial needs about 601 MB: it is left out" in answer.err
    assert driver.settings() in (["GPU-c 5400"], ["GPU-c 5400"] * 2), (
        "the study can end before its second process trains"
    )
    client = MlflowClient(f"sqlite:///{shared_home}/mlflow.db")
    experiment = client.get_experiment_by_name("gpus")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert [run.data.tags["device"] for run in runs] == ["gpu:2"] * 4
    for run in runs:
        assert {name: value for name, value in run.data.metrics.items() if name.startswith("system/")} == {
            "system/gpu_2_utilization_percentage": 70,
            "system/gpu_2_memory_usage_megabytes": 4000,
            "system/gpu_2_memory_usage_percentage": 25,
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--gpus", "1.5"),
            '--gpus: must be a number of GPUs, or a list of their indexes or UUIDs such as "0,2", got "1.5"',
        ),
        (("--gpus", "2"), "workers.gpus (--gpus): must be at most the GPUs that can be used, gpu:0, got 2"),
        (("--gpus", "1", "--pool", "ray"), "workers.gpus and workers.trials_per_gpu: are for --pool local"),
    ],
)
def test_impossible_gpu_options_are_answered_with_one_line(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with fake_machine(tmp_path / "gpus.json", FakeGpu("GPU-a")):
        answer = call("run", "digits", *options, "--home", tmp_path / "home")
    assert answer.code == 1
    assert message in answer.err
