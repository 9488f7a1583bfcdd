"""Studies on a real GPU: ``make gpu-test`` runs them, and they are skipped where NVML shows no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import STUDY, call

from search.devices.gpus import find_gpus

pytestmark = pytest.mark.gpu

# Wide enough to be worth a GPU; every optimizer with a fused kernel, with and without dropout and other parts.
SPACE = """
[space]
width = [64, 512]
depth = { low = 1, high = 3 }
dropout = [0.0, 0.3]
optimizer = ["sgd", "rmsprop", "adam"]
epochs = 4
batch_size = 128
activation = ["relu", "gelu", "selu"]
normalization = ["none", "batch", "layer"]
noise = [0.0, 0.1]
residual = [false, true]
"""
VALIDATE = """
import sys
from pathlib import Path
import keras
from pipelines.config import DataConfig
from pipelines.data.loading import load
dataset = load(DataConfig("digits"))
model = keras.models.load_model(sys.argv[1])
print(float((model.predict(dataset.validation.x, verbose=0).argmax(1) == dataset.validation.y).mean()))
"""


@pytest.fixture(autouse=True)
def gpu() -> None:
    if not find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")):
        pytest.skip("NVML shows no GPU: this needs one")


def study(home: Path, text: str = STUDY, **workers: object) -> list[dict[str, Any]]:
    """Runs a study in a new home and returns its trials."""
    home.mkdir()
    path = home / "study.toml"
    settings = "".join(f"{key} = {value}\n" for key, value in workers.items())
    path.write_text(f"{text}\n[workers]\n{settings}", encoding="utf-8")
    assert call("run", path, "--home", home, "--json").code == 0
    found: list[dict[str, Any]] = call("trials", "tiny", "--home", home, "--json").json()
    return found


def on_a_gpu(rows: list[dict[str, Any]]) -> bool:
    return all(row["device"].startswith("gpu:") for row in rows)


def mixed() -> str:
    head, rest = STUDY.split("[space]")
    return head + SPACE + "[search]" + rest.split("[search]")[1]


def test_each_trial_trains_there(tmp_path: Path) -> None:
    rows = study(tmp_path / "home", mixed())
    assert on_a_gpu(rows)
    assert {row["state"] for row in rows} <= {"COMPLETE", "PRUNED"}


def test_one_seed_gives_one_study(tmp_path: Path) -> None:
    first, second = (study(tmp_path / name, mixed(), slots=1) for name in ("first", "second"))
    assert [(row["params"], row["value"]) for row in first] == [(row["params"], row["value"]) for row in second]


def test_cores_give_about_the_same(tmp_path: Path) -> None:
    text = STUDY.replace("trials = 6", "trials = 1")
    (there,), (here,) = study(tmp_path / "gpu", text), study(tmp_path / "cores", text, gpus=0)
    assert there["params"] == here["params"]
    assert there["value"] == pytest.approx(here["value"], abs=0.02)


def test_the_model_file_gives_the_logged_value_on_cores(tmp_path: Path) -> None:
    home = tmp_path / "home"
    rows = study(home)
    best = max((row for row in rows if row["value"] is not None), key=lambda row: row["value"])
    (file,) = home.glob(f"**/{best['run_id']}/**/model.h5")
    command = [sys.executable, "-c", VALIDATE, str(file)]
    answer = subprocess.run(
        command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=True
    )
    assert float(answer.stdout.split()[-1]) == pytest.approx(best["value"], abs=0.005)


def test_two_trials_share_it(tmp_path: Path) -> None:
    assert on_a_gpu(study(tmp_path / "home", trials_per_gpu=2))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_folds_train_side_by_side(precision: str, tmp_path: Path) -> None:
    text = STUDY.replace("folds = 1", "folds = 3").replace("trials = 6", "trials = 2")
    assert on_a_gpu(study(tmp_path / "home", text, precision=f'"{precision}"'))
