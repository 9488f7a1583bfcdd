"""Each further dimension of a network: it trains as Keras does, and its ``.h5`` is plain Keras layers."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras_counterpart import batches, tiny_dataset

from pipelines.config import Hyperparameters, Precision, count_parameters, layers
from pipelines.data.datasets import Dataset
from pipelines.encoding.pieces import learn_pieces
from pipelines.errors import TrainingError
from pipelines.network.streams import fold_seed
from pipelines.training.history import Checkpoint, sha256
from pipelines.training.model import (
    build_model,
    build_pack,
    load_h5,
    pack_models,
    read_checkpoint,
    restore_model,
    to_h5,
    variables_of,
)
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

HP = Hyperparameters(width=12, depth=2, dropout=0.0, optimizer="sgd", learning_rate=0.1, epochs=2, batch_size=64)
DIMENSIONS = {
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "tanh": {"activation": "tanh"},
    "selu": {"activation": "selu"},
    "batch": {"normalization": "batch"},
    "layer": {"normalization": "layer"},
    "residual": {"residual": True},
    "funnel": {"shape": "funnel"},
    "max_norm": {"max_norm": 0.7},
    "embedding": {"embedding": "piecewise"},
}
TOGETHER = {"activation": "gelu", "normalization": "batch", "residual": True, "max_norm": 0.9, "embedding": "piecewise"}
RANDOM = TOGETHER | {"dropout": 0.2, "input_dropout": 0.1, "noise": 0.2}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Three classes of 12 numbers, with their ranges."""
    tiny = tiny_dataset(400)
    preprocessing = tiny.preprocessing
    pieces = learn_pieces(tiny.training.x, [True] * 12, preprocessing.center, preprocessing.scale)
    return replace(tiny, pieces=pieces)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> TrainingRows:
    return TrainingRows.of(dataset)


@pytest.fixture(scope="module")
def folds(dataset: Dataset) -> Dataset:
    return replace(dataset, fold_of=np.arange(400, dtype=np.int32) % 4)


def trained(dataset: Dataset, hp: Hyperparameters, seed: int = 5, start: Checkpoint | None = None) -> Training:
    training = Training(TrainingRows.of(dataset), hp, seed, start)
    for _ in training:
        pass
    return training


def same(ours: tuple[np.ndarray, ...], others: tuple[np.ndarray, ...]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(ours, others, strict=True))


CASES = [pytest.param(named, "sgd", id=name) for name, named in DIMENSIONS.items()]
CASES.append(pytest.param(TOGETHER, "adamw", id="together"))


@pytest.mark.parametrize(("named", "optimizer"), CASES)
def test_it_trains_as_keras_does_and_its_h5_gives_what_was_logged(
    dataset: Dataset, rows: TrainingRows, named: dict[str, object], optimizer: str
) -> None:
    hp = replace(HP, optimizer=optimizer, learning_rate=0.1 if optimizer == "sgd" else 0.003, **named)
    training = Training(rows, hp, 5)
    model = restore_model(hp, dataset.preprocessing, training.checkpoint())
    model.run_eagerly = True  # tracing takes longer than a few steps
    reports = list(training)
    for epoch in range(hp.epochs):
        for x, y in batches(dataset, hp, 5, epoch):
            model.train_on_batch(x, y)
    ours, theirs, n_trained = training.checkpoint(), read_checkpoint(model, hp.epochs), training.network.n_trained
    for mine, keras_s in zip(ours.weights[:n_trained], theirs.weights[:n_trained], strict=True):
        np.testing.assert_allclose(mine, keras_s, rtol=0, atol=2e-5)
    for variable, array in zip(variables_of(model)[n_trained:], ours.weights[n_trained:], strict=True):
        variable.assign(array)  # moving averages differ in their first steps: see normalization.moved
    loss, accuracy = model.evaluate(dataset.validation.x, dataset.validation.y, verbose=0)
    assert reports[-1].metrics["val_loss"] == pytest.approx(loss, abs=2e-5)
    assert reports[-1].metrics["val_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    require_h5(training, hp, dataset)


def require_h5(training: Training, hp: Hyperparameters, dataset: Dataset) -> None:
    """Checks that a file has the layers that are listed, and the validation accuracy that was logged."""
    content = to_h5(build_model(hp, dataset.preprocessing, training.results[0].best))
    model, listed = load_h5(content, sha256(content)), layers(hp, 12, 3, dataset.n_pieces)
    assert [layer.name for layer in model.layers if layer.name != "rows"] == [layer.name for layer in listed]
    n_trained = sum(variable.numpy().size for variable in model.trainable_variables)
    assert n_trained == sum(layer.n_parameters for layer in listed) == count_parameters(hp, 12, 3, dataset.n_pieces)
    right = np.asarray(model(dataset.validation.x)).argmax(1) == dataset.validation.y
    assert right.mean() == pytest.approx(training.results[0].best_value, abs=1e-6)


def test_resumed_training_equals_uninterrupted_training(dataset: Dataset) -> None:
    hp = replace(HP, optimizer="adam", **RANDOM)
    part = trained(dataset, replace(hp, epochs=1)).checkpoint()
    content = to_h5(restore_model(hp, dataset.preprocessing, part))
    rest = trained(dataset, hp, start=read_checkpoint(load_h5(content, sha256(content)), 1)).checkpoint()
    whole = trained(dataset, hp)
    assert same(rest.weights, whole.checkpoint().weights)
    assert same(rest.state, whole.checkpoint().state)
    require_h5(whole, hp, dataset)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_networks_side_by_side_are_what_each_would_be_alone_also_in_one_file(
    folds: Dataset, normalization: str
) -> None:
    hp = replace(HP, optimizer="adam", learning_rate=0.003, **RANDOM | {"normalization": normalization})
    together, x = trained(folds, hp), folds.scored.x
    singles = [trained(folds.of_fold(fold), hp, fold_seed(5, fold)) for fold in range(2)]
    for fold, alone in enumerate(singles):
        for ours, others in zip(together.weights(), alone.weights(), strict=True):
            np.testing.assert_allclose(ours[fold], others, atol=2e-5)
    model = build_model(hp, folds.preprocessing, together.results[0].best)
    each = np.asarray(keras.Model(model.inputs[0], model.layers[-1].input)(x))
    for fold, answer in enumerate(together.answers(0, together.results[0].best)):
        np.testing.assert_allclose(each[answer.rows, fold], answer.predicted, atol=1e-5)
    models = [model, *(build_model(hp, folds.preprocessing, alone.results[0].best) for alone in singles)]
    content = to_h5(build_pack(hp, folds.preprocessing, pack_models(hp, models)))
    packed = np.asarray(load_h5(content, sha256(content))(x))
    several, *others = (np.asarray(model(x)) for model in models)
    np.testing.assert_allclose(packed, (4 * several + sum(others)) / 6, atol=1e-5)


def test_the_same_seed_gives_the_same_bits(dataset: Dataset) -> None:
    hp = replace(HP, optimizer="adam", **RANDOM)
    assert same(trained(dataset, hp).checkpoint().weights, trained(dataset, hp).checkpoint().weights)


def test_a_named_default_is_the_network_that_does_not_name_it(dataset: Dataset) -> None:
    """To the last bit, and the same file."""
    plain, named = replace(HP, dropout=0.2), replace(HP, dropout=0.2).filled()
    one, other = trained(dataset, plain), trained(dataset, named)
    assert one.network.is_plain
    assert same(one.checkpoint().weights, other.checkpoint().weights)
    files = [to_h5(build_model(hp, dataset.preprocessing, one.results[0].best)) for hp in (plain, named)]
    assert files[0] == files[1]


def test_an_embedding_without_ranges_is_refused(dataset: Dataset) -> None:
    with pytest.raises(TrainingError, match="embedding: must be none without a numeric column"):
        Training(TrainingRows.of(replace(dataset, pieces=None)), replace(HP, embedding="piecewise"), 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_residual_layer_needs_one_width(dataset: Dataset, precision: Precision) -> None:
    """Here the input has another; with ``bfloat16`` the products differ by their rounding."""
    hp = replace(HP, residual=True, normalization="layer", epochs=1)
    wide, same_width = (Training(TrainingRows.of(dataset), replace(hp, width=width), 0) for width in (20, 12))
    assert (wide.network.residual, same_width.network.residual) == ((False, True), (True, True))
    rounded = Training(TrainingRows.of(dataset), replace(hp, width=20), 0, precision=precision)
    for exact, other in zip(wide, rounded, strict=True):
        assert (exact.metrics["loss"] == other.metrics["loss"]) == (precision == "float32")
        assert exact.metrics["loss"] == pytest.approx(other.metrics["loss"], rel=0.02)


def test_a_funnel_narrows_towards_the_outputs() -> None:
    hp = replace(HP, width=100, depth=3, shape="funnel")
    assert [layer.n_outputs for layer in layers(hp, 12, 10) if layer.name.startswith("hidden")] == [100, 70, 40]
    few = replace(hp, width=8)
    assert [layer.n_outputs for layer in layers(few, 12, 10) if layer.name.startswith("hidden")] == [8, 8, 8]
