"""Learning rates of the steps of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from keras_counterpart import batches, keras_model, tiny_dataset

from pipelines.config import Hyperparameters
from pipelines.network.steps.schedules import learning_rates
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=16, depth=2, dropout=0.0, optimizer="adam", learning_rate=0.003, epochs=3, batch_size=64)


@settings(max_examples=20)
@given(n_rows=st.integers(1, 500), batch_size=st.integers(1, 200), epochs=st.integers(1, 6))
def test_cosine_is_keras_cosine_decay(n_rows: int, batch_size: int, epochs: int) -> None:
    hp = replace(HP, schedule="cosine", batch_size=batch_size, epochs=epochs)
    rates = np.concatenate([learning_rates(hp, n_rows, epoch) for epoch in range(epochs)])
    decay = keras.optimizers.schedules.CosineDecay(hp.learning_rate, len(rates))
    np.testing.assert_allclose(rates, decay(np.arange(len(rates))), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup_rises_in_a_straight_line_and_is_keras_own_with_cosine(schedule: Any) -> None:
    hp = replace(HP, schedule=schedule, warmup=0.25, batch_size=10, epochs=4)
    rates = np.concatenate([learning_rates(hp, 100, epoch) for epoch in range(4)])
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 30, warmup_target=hp.learning_rate, warmup_steps=10)
    n = 10 if schedule == "constant" else 40
    np.testing.assert_allclose(rates[:n], [theirs(step) for step in range(n)], rtol=1e-5, atol=1e-9)
    if schedule == "constant":
        assert set(rates[10:]) == {np.float32(hp.learning_rate)}


@pytest.mark.parametrize(("warmup", "top"), [(None, 12), (0.1, 4)])
def test_onecycle_rises_from_a_25th_and_falls_to_zero(warmup: float | None, top: int) -> None:
    hp = replace(HP, schedule="onecycle", learning_rate=0.5, batch_size=10, epochs=4, warmup=warmup)
    rates = np.concatenate([learning_rates(hp, 100, epoch) for epoch in range(4)])
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates.argmax() == top
    assert rates[top] == pytest.approx(0.5)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[top // 2] == pytest.approx(0.5 * (1 + 1 / 25) / 2)
    assert rates[-1] < 0.5 / 100


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_cosine_trains_as_keras_does(optimizer: str) -> None:
    dataset = tiny_dataset()
    hp = replace(HP, schedule="cosine", optimizer=optimizer)
    training = Training(TrainingRows.of(dataset), hp, 1)
    decay = keras.optimizers.schedules.CosineDecay(hp.learning_rate, 3 * hp.epochs)
    model = keras_model(dataset, hp, training.checkpoint().weights, decay)
    reports = list(training)
    for epoch in range(hp.epochs):
        for x, y in batches(dataset, hp, 1, epoch):
            model.train_on_batch(x, y)
    for ours, theirs in zip(training.checkpoint().weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert [r.learning_rate for r in reports] == pytest.approx([float(decay(step)) for step in (0, 3, 6)])
