"""Weight decay, momentum, clipping, averages and smoothed targets: each is what Keras does by that name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from keras_counterpart import batches, keras_model, tiny_dataset

from pipelines.config import Hyperparameters
from pipelines.network.architecture import Architecture, Program
from pipelines.network.epoch import fused_epoch
from pipelines.network.steps.updates import clipped
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(
    width=17, depth=2, dropout=0.0, optimizer="adam", learning_rate=0.003, epochs=2, batch_size=64, schedule="constant"
)
SEED = 3
CASES = {
    "decay, adamw": {"optimizer": "adamw", "weight_decay": 2.0},
    "no decay, adamw": {"optimizer": "adamw", "weight_decay": 0.0},
    "decay, rmsprop": {"optimizer": "rmsprop", "weight_decay": 2.0},
    "clip, momentum": {"optimizer": "sgd", "momentum": 0.9, "gradient_clip": 0.3, "learning_rate": 0.1},
    "clip and decay, nadam": {"optimizer": "nadam", "gradient_clip": 0.01, "weight_decay": 1.0},
    "smoothing": {"label_smoothing": 0.3},
}  # fmt: skip


def configuration(changes: dict[str, object]) -> Hyperparameters:
    return replace(HP, **changes)  # type: ignore[arg-type]


def trained(hp: Hyperparameters) -> tuple[np.ndarray, ...]:
    training = Training(TrainingRows.of(tiny_dataset()), hp, SEED)
    list(training)
    return training.checkpoint().weights


@pytest.mark.parametrize("name", CASES)
def test_training_gives_keras_weights(name: str) -> None:
    dataset, hp = tiny_dataset(), configuration(CASES[name])
    training = Training(TrainingRows.of(dataset), hp, SEED)
    model = keras_model(dataset, hp, training.checkpoint().weights)
    list(training)
    for epoch in range(hp.epochs):
        for x, y in batches(dataset, hp, SEED, epoch):
            model.train_on_batch(x, y)
    ours = training.checkpoint().weights
    for mine, kerass in zip(ours, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, kerass, rtol=0, atol=1e-5)
    plain = trained(Hyperparameters(**{name: getattr(hp, name) for name in HP.to_json()}))
    assert max(np.abs(a - b).max() for a, b in zip(ours, plain, strict=True)) > 2e-5, "it has an effect"


@pytest.mark.parametrize(("optimizer", "ema"), [("adam", 0.7), ("nadam", 0.1)])
def test_averages_are_keras_with_a_momentum_that_rises_in_the_first_steps(optimizer: str, ema: float) -> None:
    """Up to a momentum of 0.1 there is no difference."""
    dataset, hp = tiny_dataset(), replace(HP, optimizer=optimizer, ema=ema, epochs=4)
    training = Training(TrainingRows.of(dataset), hp, SEED)
    model = keras_model(dataset, hp, training.checkpoint().weights)
    model.run_eagerly = True
    reports = list(training)
    step = 0
    for epoch in range(hp.epochs):
        for x, y in batches(dataset, hp, SEED, epoch):
            step += 1
            if ema > 0.1:
                model.optimizer.ema_momentum = min(ema, (step - 1) / (step + 8))
            model.train_on_batch(x, y)
    for mine, kerass in zip(training.checkpoint().weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, kerass, rtol=0, atol=1e-5)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for mine, kerass in zip(training.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, kerass, rtol=0, atol=1e-5)
    loss = model.evaluate(dataset.validation.x, dataset.validation.y, verbose=0)[0]
    assert reports[-1].metrics["val_loss"] == pytest.approx(loss, abs=1e-5), "averages are validated"


def test_values_of_a_configuration_do_not_trace_anew() -> None:
    """And adam with decayed weights is adamw."""
    rows, program = TrainingRows.of(tiny_dataset()), Program(Architecture(2), "cross_entropy")
    given = {"weight_decay": 0.1, "gradient_clip": 1.0, "ema": 0.9, "label_smoothing": 0.1}
    list(Training(rows, replace(HP, **given), SEED))
    before = fused_epoch("adam", program, 1).experimental_get_tracing_count()
    others = {name: value / 2 for name, value in given.items()} | {"optimizer": "adamw", "warmup": 0.3, "width": 30}
    list(Training(rows, replace(HP, schedule="onecycle", **others), SEED))
    assert fused_epoch("adam", program, 1).experimental_get_tracing_count() == before


def test_the_validation_loss_is_that_of_true_targets() -> None:
    """Losses of configurations with other smoothing can be compared."""
    dataset, hp = tiny_dataset(), replace(HP, label_smoothing=0.3, epochs=1)
    training = Training(TrainingRows.of(dataset), hp, SEED)
    [report] = training
    model = keras_model(dataset, replace(hp, label_smoothing=None), training.weights())
    loss = model.evaluate(dataset.validation.x, dataset.validation.y, verbose=0)[0]
    assert report.metrics["val_loss"] == pytest.approx(loss, abs=1e-5)


def test_each_network_is_clipped_by_its_own_norm() -> None:
    rng = np.random.default_rng(0)
    shapes = [(7, 5), (5,), (5, 3), (3,)]
    each = [[rng.normal(size=shape).astype(np.float32) * scale for shape in shapes] for scale in (0.01, 1.0, 100.0)]
    limit = tf.constant(1.0)
    together = clipped([tf.constant(np.stack(arrays)) for arrays in zip(*each, strict=True)], limit)
    for place, gradients in enumerate(each):
        alone = clipped([tf.constant(gradient) for gradient in gradients], limit)
        norm = float(tf.linalg.global_norm(alone))
        assert norm == pytest.approx(min(1.0, float(tf.linalg.global_norm(gradients))), rel=1e-5)
        for ours, others in zip(together, alone, strict=True):
            np.testing.assert_allclose(ours[place], others, rtol=1e-5)


def test_a_gradient_that_is_not_finite_is_not_clipped_away() -> None:
    gradients = [tf.constant([[np.inf, 1.0]]), tf.constant([1.0, 2.0])]
    assert all(np.isnan(gradient).all() for gradient in clipped(gradients, tf.constant(1.0)))
