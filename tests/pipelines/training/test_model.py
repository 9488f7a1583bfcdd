"""The ``.h5``: it takes raw rows, predicts as measured in training, and is verified before it is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_counterpart import batches, plain_weights, tiny_dataset

from pipelines.config import DataConfig, Hyperparameters, Scaling, Transform
from pipelines.data.datasets import Dataset, Split
from pipelines.data.loading import load
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.data.targets import TargetScaling
from pipelines.errors import InputError
from pipelines.objectives import Loss
from pipelines.training.history import sha256
from pipelines.training.model import build_model, load_h5, restore_model, to_h5
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=24, depth=2, dropout=0.2, optimizer="adam", learning_rate=0.005, epochs=3, batch_size=32)


def saved_model(dataset: Dataset, path: Path, hp: Hyperparameters = HP) -> tuple[keras.Model, Training]:
    """Trains, saves the best weights and opens the file with Keras alone."""
    training = Training(TrainingRows.of(dataset), hp, seed=0)
    list(training)
    path.write_bytes(to_h5(build_model(hp, dataset.preprocessing, training.results[0].best)))
    return keras.models.load_model(path), training


def accuracy(model: keras.Model, split: Split) -> float:
    return float(np.mean(model.predict(split.x, verbose=0).argmax(1) == split.y))


@pytest.mark.parametrize("scaling", ["minmax", "standard", "none"])
def test_pictures_go_in_as_they_are(tmp_path: Path, scaling: Scaling) -> None:
    digits = load(DataConfig("digits", scaling=scaling))
    model, training = saved_model(digits, tmp_path / "model.h5")
    assert model.input_shape == (None, 8, 8)
    assert digits.validation.x.max() > 1, "the rows must not be scaled already"
    assert training.results[0].best_value > 0.6, "far above chance, also without scaling"
    assert accuracy(model, digits.validation) == pytest.approx(training.results[0].best_value, abs=1e-4)
    np.testing.assert_allclose(model.predict(digits.validation.x, verbose=0).sum(1), 1, atol=1e-5)
    loss, logged = model.evaluate(digits.validation.x, digits.validation.y, verbose=0)
    assert logged == pytest.approx(training.results[0].best_value, abs=1e-4)
    assert np.isfinite(loss)


@pytest.mark.parametrize("scaling", ["minmax", "standard", "none"])
def test_features_of_a_table_keep_their_units(tmp_path: Path, scaling: Scaling) -> None:
    tiny = tiny_dataset(n_rows=400)
    factors = np.geomspace(1e-3, 1e3, 12) if scaling != "none" else np.ones(12)
    dataset = rescaled(tiny, factors, offsets=np.linspace(-5, 5, 12) * factors, scaling=scaling)
    model, training = saved_model(dataset, tmp_path / "model.h5", replace(HP, epochs=20))
    assert training.results[0].best_value > 0.6
    assert accuracy(model, dataset.validation) == pytest.approx(training.results[0].best_value, abs=1e-4)


@pytest.mark.parametrize("offset", [1e5, 1.7e9], ids=["five digits before the units", "seconds since 1970"])
def test_a_large_offset_costs_no_accuracy(tmp_path: Path, offset: float) -> None:
    """Features near 100,000 that differ by a few units, or times of some days: float32 holds both well enough."""
    tiny = tiny_dataset(n_rows=400)
    factors = np.full(12, 1.0 if offset < 1e9 else 1e5)
    dataset = rescaled(tiny, factors, np.full(12, offset), "standard")
    model, training = saved_model(dataset, tmp_path / "model.h5", replace(HP, epochs=20))
    units = rescaled(tiny, np.ones(12), np.zeros(12), "standard")
    plain = Training(TrainingRows.of(units), replace(HP, epochs=20), seed=0)
    list(plain)
    assert training.results[0].best_value == pytest.approx(plain.results[0].best_value, abs=0.03)
    assert accuracy(model, dataset.validation) == pytest.approx(training.results[0].best_value, abs=1e-4)


@pytest.mark.parametrize(("loss", "transform"), [("mse", "none"), ("mae", "log"), ("huber", "none")])
def test_a_regression_is_loaded_with_its_loss_and_answers_in_its_own_unit(
    loss: Loss, transform: Transform, tmp_path: Path
) -> None:
    classes = tiny_dataset().preprocessing
    target = TargetScaling.learn(np.geomspace(10, 100, 50), transform)
    preprocessing = replace(classes, class_names=(), target=target)
    hp, weights = replace(HP, loss=loss), plain_weights((12, 24, 24, 1), 0)
    content = to_h5(build_model(hp, preprocessing, weights))
    model = load_h5(content, sha256(content))
    assert isinstance(model.loss, keras.losses.Loss)
    zero = to_h5(build_model(hp, preprocessing, [weight * 0 for weight in weights]))
    answer = np.asarray(load_h5(zero, sha256(zero))(np.zeros((1, 12), np.float32)))
    assert float(answer[0, 0]) == pytest.approx(float(target.decode(np.zeros(1))[0]), rel=1e-4)
    (tmp_path / "model.h5").write_bytes(content)
    keras.models.load_model(tmp_path / "model.h5")


@pytest.mark.parametrize("n_networks", [1, 2])
@pytest.mark.parametrize(("center", "spread"), [(1.7e9, 10.0), (1.7e12, 1000.0)])
def test_a_target_whose_values_float32_cannot_tell_apart_keeps_its_digits(
    center: float, spread: float, n_networks: int, tmp_path: Path
) -> None:
    """Such as Unix times that are close to each other."""
    rng = np.random.default_rng(0)
    target = TargetScaling.learn(rng.normal(center, spread, 500), "none")
    preprocessing = replace(tiny_dataset().preprocessing, class_names=(), target=target)
    weights = plain_weights((12, 24, 24, 1), 0)
    stacked = weights if n_networks == 1 else [np.stack([weight, weight]) for weight in weights]
    (tmp_path / "model.h5").write_bytes(to_h5(build_model(replace(HP, loss="mse"), preprocessing, stacked)))
    model, x = keras.models.load_model(tmp_path / "model.h5"), rng.normal(size=(50, 12)).astype(np.float32)
    plain = to_h5(build_model(replace(HP, loss="mse"), replace(preprocessing, target=TargetScaling(0.0, 1.0)), weights))
    expected = target.decode(load_h5(plain, sha256(plain)).predict(x, verbose=0)[:, 0])
    assert expected.std() > spread / 10
    np.testing.assert_allclose(model.predict(x, verbose=0)[:, 0], expected, rtol=0, atol=spread / 1000)


def rescaled(dataset: Dataset, factors: np.ndarray, offsets: np.ndarray, scaling: Scaling) -> Dataset:
    """The same rows in other units, with a scaling learned from them."""

    def convert(split: Split) -> Split:
        return Split((split.x * factors + offsets).astype(np.float32), split.y)

    training = convert(dataset.training)
    center, scale = learn_scaling(training.x, scaling)
    assert np.shape(center) == (12,), "each feature must have its own scaling"
    preprocessing = Preprocessing((12,), dataset.class_names, center, scale)
    return replace(dataset, training=training, validation=convert(dataset.validation), preprocessing=preprocessing)


def test_a_scaling_of_many_features_fits_into_the_file(tmp_path: Path) -> None:
    n_features = 20_000  # as numbers in the configuration they would not fit into an HDF5 attribute
    rng = np.random.default_rng(0)
    center, scale = rng.normal(size=(2, n_features)).astype(np.float32)
    preprocessing = Preprocessing((n_features,), ("a", "b"), center, np.abs(scale) + 1)
    hp = replace(HP, width=4, depth=1)
    path = tmp_path / "model.h5"
    path.write_bytes(to_h5(build_model(hp, preprocessing, plain_weights((n_features, 4, 2), 0))))
    model = keras.models.load_model(path)
    x = rng.normal(size=(5, n_features)).astype(np.float32)
    kernel, bias = model.get_layer("hidden_1").get_weights()
    hidden = np.maximum(((x - center) / (np.abs(scale) + 1)) @ kernel + bias, 0)
    kernel, bias = model.get_layer("classes").get_weights()
    logits = hidden @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-4)


def test_fresh_weights_are_drawn_as_keras_draws_them() -> None:
    kernel, bias = plain_weights((300, 200), seed=1)
    limit = np.sqrt(6 / 500)
    assert not bias.any()
    assert kernel.dtype == bias.dtype == np.float32
    assert np.abs(kernel).max() == pytest.approx(limit, rel=1e-3)
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)
    assert not np.array_equal(kernel, plain_weights((300, 200), seed=2)[0])


@pytest.mark.parametrize("optimizer", ["adam", "nadam"])
def test_equal_models_are_equal_files(optimizer: str) -> None:
    hp, preprocessing = replace(HP, optimizer=optimizer), tiny_dataset().preprocessing
    weights = plain_weights((12, 24, 24, 3), 0)
    first, second = (to_h5(build_model(hp, preprocessing, weights)) for _ in range(2))
    assert sha256(first) == sha256(second)


RICH = {"weight_decay": 0.3, "gradient_clip": 0.1, "momentum": 0.9}


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [("sgd", {}), ("rmsprop", {}), ("adam", {}), ("adamw", {}), ("sgd", RICH), ("adamw", RICH | {"ema": 0.1})],
)
def test_keras_resumes_from_a_saved_checkpoint(optimizer: str, changes: dict[str, float]) -> None:
    """The optimizer's numbers and its state are in the file, these in Keras's own order."""
    dataset = tiny_dataset()
    hp = replace(HP, optimizer=optimizer, dropout=0.0, epochs=2, **changes)  # type: ignore[arg-type]
    training = Training(TrainingRows.of(dataset), hp, 0)
    reports = iter(training)
    next(reports)
    content = to_h5(restore_model(hp, dataset.preprocessing, training.checkpoint()))
    model = load_h5(content, sha256(content))
    next(reports)
    for x, y in batches(dataset, hp, 0, epoch=1):
        model.train_on_batch(x, y)
    for ours, kerass in zip(training.checkpoint().weights, model.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, kerass.numpy(), rtol=0, atol=1e-5)
    model.optimizer.finalize_variable_values(model.trainable_variables)  # the averages, where there are some
    for ours, kerass in zip(training.weights(), model.trainable_variables, strict=True):
        np.testing.assert_allclose(ours, kerass.numpy(), rtol=0, atol=1e-5)


def test_the_best_epochs_file_names_the_numbers_of_its_optimizer() -> None:
    hp = replace(HP, optimizer="sgd", weight_decay=0.3, gradient_clip=0.1, momentum=0.9, ema=0.99)
    content = to_h5(build_model(hp, tiny_dataset().preprocessing, plain_weights((12, 24, 24, 3), 0)))
    config = load_h5(content, sha256(content)).optimizer.get_config()
    named = {"weight_decay": 0.3, "global_clipnorm": 0.1, "momentum": 0.9, "use_ema": True, "ema_momentum": 0.99}
    assert {name: config[name] for name in named} == named


class TestWhatIsRefused:
    def test_bytes_that_are_not_the_recorded_ones(self) -> None:
        with pytest.raises(InputError, match=r"^model\.h5: sha256 must be the recorded .* the file was changed"):
            load_h5(b"other", sha256(b"recorded"))

    @pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(500)])
    def test_garbage(self, content: bytes) -> None:
        with pytest.raises(InputError, match=r"^strange\.h5: Keras cannot load it: "):
            load_h5(content, sha256(content), "strange.h5")

    def test_a_lambda_layer(self, tmp_path: Path) -> None:
        """A layer that carries code would run it when it is loaded."""
        marker = tmp_path / "was run"

        touch = f"__import__('pathlib').Path({str(marker)!r}).touch()"
        write = eval(f"lambda x: ({touch}, x)[1]")  # by itself, so that it carries all it needs
        model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(write)])
        model.save(tmp_path / "code.h5")
        marker.unlink()
        content = (tmp_path / "code.h5").read_bytes()
        with pytest.raises(InputError, match=r"code\.h5: Keras cannot load it"):
            load_h5(content, sha256(content), "code.h5")
        assert not marker.exists()

    def test_half_a_file(self) -> None:
        content = to_h5(build_model(HP, tiny_dataset().preprocessing, plain_weights((12, 24, 24, 3), 0)))
        half = content[: len(content) // 2]
        with pytest.raises(InputError, match="Keras cannot load it"):
            load_h5(half, sha256(half))
