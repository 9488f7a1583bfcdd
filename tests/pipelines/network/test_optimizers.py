"""Ours is the same training as Keras's: the same weights after the same batches, for each kind of update."""

from __future__ import annotations

import numpy as np
import pytest
from keras_counterpart import batches, keras_model, tiny_dataset

from pipelines.config import FUSED_OPTIMIZERS, Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.errors import TrainingError
from pipelines.network.optimizers import FUSED, fused_name, state_variables
from pipelines.training.history import Checkpoint
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

FUSED_NAMES = ["sgd", "rmsprop", "adam", "adamw"]  # of the default space, and adamw
OTHERS = ["nadam", "lion", "ftrl"]
SEED = 3


def configuration(optimizer: str, **changes: object) -> Hyperparameters:
    given = {"width": 17, "depth": 2, "dropout": 0.0, "learning_rate": 0.01, "epochs": 1, "batch_size": 64} | changes
    return Hyperparameters(optimizer=optimizer, **given)


def trained_both_ways(dataset: Dataset, hp: Hyperparameters) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights after ``hp.epochs``: ours, and Keras's."""
    training = Training(TrainingRows.of(dataset), hp, SEED)
    initial = training.checkpoint().weights
    model = keras_model(dataset, hp, initial)
    list(training)
    assert max(np.abs(w - w0).max() for w, w0 in zip(training.checkpoint().weights, initial, strict=True)) > 1e-3
    for epoch in range(hp.epochs):
        for x, y in batches(dataset, hp, SEED, epoch):
            model.train_on_batch(x, y)
    return list(training.checkpoint().weights), model.get_weights()


def assert_same_weights(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for mine, kerass in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, kerass, rtol=0, atol=1e-5)


def test_those_of_the_default_space_and_adamw_have_a_fused_kernel() -> None:
    assert set(FUSED_OPTIMIZERS.values()) <= FUSED.keys()
    assert [name for name in FUSED_NAMES + OTHERS if fused_name(configuration(name))] == FUSED_NAMES


@pytest.mark.parametrize("optimizer", FUSED_NAMES + OTHERS)
def test_one_step_gives_keras_weights(optimizer: str) -> None:
    dataset = tiny_dataset(n_rows=80)  # 60 training rows: one batch
    ours, theirs = trained_both_ways(dataset, configuration(optimizer))
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("optimizer", [*FUSED_NAMES, "nadam"])
def test_two_epochs_with_a_short_last_batch_give_keras_weights(optimizer: str) -> None:
    dataset = tiny_dataset(n_rows=200)  # 150 training rows: 64, 64 and 22
    ours, theirs = trained_both_ways(dataset, configuration(optimizer, epochs=2, learning_rate=0.003))
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize("depth", [1, 3])
def test_every_depth_gives_keras_weights(depth: int) -> None:
    ours, theirs = trained_both_ways(tiny_dataset(), configuration("adam", depth=depth, learning_rate=0.003))
    assert_same_weights(ours, theirs)


def test_a_batch_larger_than_the_data_is_one_step() -> None:
    ours, theirs = trained_both_ways(tiny_dataset(), configuration("sgd", batch_size=1000, learning_rate=0.1))
    assert_same_weights(ours, theirs)


def test_a_checkpoint_of_keras_own_adamw_is_resumed() -> None:
    """Earlier versions trained adamw with Keras's optimizer."""
    dataset, hp = tiny_dataset(), configuration("adamw", epochs=2, learning_rate=0.03)
    model = keras_model(dataset, hp, Training(TrainingRows.of(dataset), hp, SEED).checkpoint().weights)
    for x, y in batches(dataset, hp, SEED, epoch=0):
        model.train_on_batch(x, y)
    state = tuple(held.numpy() for held in state_variables(model.optimizer))
    start = Checkpoint(tuple(model.get_weights()), state, steps=3, epochs=1)
    training = Training(TrainingRows.of(dataset), hp, SEED, start)
    list(training)
    for x, y in batches(dataset, hp, SEED, epoch=1):
        model.train_on_batch(x, y)
    assert_same_weights(list(training.checkpoint().weights), model.get_weights())


def test_an_optimizer_that_keras_does_not_know() -> None:
    with pytest.raises(TrainingError, match=r"optimizer: must be one that Keras knows by name, got 'adammm'"):
        Training(TrainingRows.of(tiny_dataset()), configuration("adammm"), 0)
