"""Training with bfloat16 operands: what is logged is what the float32 ``.h5`` gives, and it can be repeated."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from forked import Forked
from keras_counterpart import tiny_dataset
from waiting import PATIENCE_S

from pipelines.config import DataConfig, Hyperparameters, Precision
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from pipelines.training.model import build_model, to_h5
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=96, depth=2, dropout=0.2, optimizer="adam", learning_rate=0.003, epochs=2, batch_size=64)

SCRIPT = """
from test_bfloat16 import HP, digest, digits
print(digest(digits(), HP, "bfloat16"))
"""


def digits() -> Dataset:
    return load(DataConfig("digits"))


def trained(dataset: Dataset, hp: Hyperparameters, precision: Precision) -> Training:
    training = Training(TrainingRows.of(dataset), hp, 3, precision=precision)
    for _ in training:
        pass
    return training


def digest(dataset: Dataset, hp: Hyperparameters, precision: Precision) -> str:
    """A hash of every bit of the weights after the last epoch, and of the optimizer's state."""
    checkpoint = trained(dataset, hp, precision).checkpoint()
    return hashlib.sha256(b"".join(array.tobytes() for array in (*checkpoint.weights, *checkpoint.state))).hexdigest()


@pytest.mark.parametrize(
    "hp",
    [HP, replace(HP, optimizer="nadam"), replace(HP, optimizer="adamw", ema=0.9, label_smoothing=0.1, shift=1)],
    ids=["adam", "nadam", "rich"],
)
def test_the_h5_gives_what_was_logged(hp: Hyperparameters, tmp_path: Path) -> None:
    dataset = digits()
    training = Training(TrainingRows.of(dataset), hp, 3, precision="bfloat16")
    logged = {report.epoch: report.metrics for report in training}[training.results[0].best_epoch]
    path = tmp_path / "model.h5"
    path.write_bytes(to_h5(build_model(hp, dataset.preprocessing, training.results[0].best)))
    model = keras.models.load_model(path)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(dataset.validation.x, dataset.validation.y, verbose=0)
    assert all(weight.dtype == "float32" for weight in model.weights)
    assert loss == pytest.approx(logged["val_loss"], abs=1e-4)
    assert accuracy == pytest.approx(logged["val_accuracy"], abs=1e-6)


def test_operands_are_rounded_and_nothing_else() -> None:
    """The weights of one step differ from float32's by the rounding of its operands, 8 bits, and are not rounded."""
    dataset = tiny_dataset()
    hp = replace(HP, dropout=0.0, optimizer="sgd", learning_rate=0.1, epochs=1, batch_size=1024)
    exact, rounded = (trained(dataset, hp, precision).checkpoint() for precision in ("float32", "bfloat16"))
    start = Training(TrainingRows.of(dataset), hp, 3).checkpoint().weights
    for before, ours, theirs in zip(start, exact.weights, rounded.weights, strict=True):
        assert 0 < np.linalg.norm(ours - theirs) < 0.05 * np.linalg.norm(ours - before)
    kernel = rounded.weights[0].view(np.uint32)
    assert (kernel & 0xFFFF).any(), "the weights themselves keep the bits of float32"


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = (digest(digits(), HP, "bfloat16") for _ in range(2))
    folders = [str(Path(__file__).parent), *sys.path]
    elsewhere = Forked(["-c", f"import sys; sys.path[:0] = {folders!r}\n{SCRIPT}"])
    assert elsewhere.wait(PATIENCE_S) == 0
    assert elsewhere.stdout
    assert first == again == elsewhere.stdout.read().split()[-1]
    assert first != digest(digits(), HP, "float32")
