"""The same training with Keras's own layers, optimizers and ``train_on_batch``, as the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.training.model import initial_weights
from pipelines.training.pack import row_order


def tiny_dataset(n_rows: int = 200) -> Dataset:
    """Classes that a linear map of noisy features separates; a quarter of the rows is for validation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 12)).astype(np.float32)
    y = (x @ rng.normal(size=(12, 3)) + rng.normal(size=(n_rows, 3))).argmax(1).astype(np.int32)
    preprocessing = Preprocessing((12,), ("a", "b", "c"), 0.5, 2.0)
    n_training = n_rows * 3 // 4
    splits = Split(x[:n_training], y[:n_training]), Split(x[n_training:], y[n_training:])
    return Dataset("tiny", *splits, preprocessing, "0" * 16, 0)


def plain_weights(sizes: Sequence[int], seed: int) -> tuple[np.ndarray, ...]:
    """Initial weights of plain layers: a Glorot-uniform kernel and a bias of zeros for each."""
    return initial_weights(Hyperparameters(depth=len(sizes) - 2), sizes, seed)


def keras_model(
    dataset: Dataset, hp: Hyperparameters, weights: Sequence[np.ndarray], rate: Any = None, seed: int = 0
) -> Any:
    """Builds a Keras model of that configuration with the same initial weights.

    Args:
        dataset: Gives the input and the scaling, one number each.
        hp: The configuration.
        weights: Kernels and biases to start from.
        rate: Learning rate or Keras schedule; the configuration's constant rate by default.
        seed: Seed of the dropout.
    """
    scale = dataset.preprocessing.scale
    layers: list[Any] = [
        keras.Input(dataset.input_shape),
        keras.layers.Flatten(),
        keras.layers.Rescaling(1 / scale, -dataset.preprocessing.center / scale),
    ]
    for layer in range(hp.depth):
        layers += [keras.layers.Dense(hp.width, activation="relu"), keras.layers.Dropout(hp.dropout, seed=seed + layer)]
    layers.append(keras.layers.Dense(dataset.n_outputs))
    model = keras.Sequential(layers)
    model.set_weights(list(weights))
    config = {"learning_rate": hp.learning_rate if rate is None else rate} | _update_options(hp)
    optimizer = keras.optimizers.get({"class_name": hp.optimizer, "config": config})
    loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if hp.label_smoothing:
        loss = _smoothed(hp.label_smoothing, dataset.n_outputs)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def _update_options(hp: Hyperparameters) -> dict[str, Any]:
    options = {"weight_decay": hp.weight_decay, "momentum": hp.momentum, "global_clipnorm": hp.gradient_clip}
    average = {"use_ema": True, "ema_momentum": hp.ema} if hp.ema else {}
    return {name: value for name, value in options.items() if value is not None} | average


def _smoothed(smoothing: float, n_classes: int) -> Any:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    return lambda y, logits: loss(keras.ops.one_hot(keras.ops.reshape(y, (-1,)), n_classes), logits)


def batches(dataset: Dataset, hp: Hyperparameters, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the batches of one epoch, counted from 0, in the order of our training."""
    order = row_order(len(dataset.training.y), seed, epoch)
    for first in range(0, len(order), hp.batch_size):
        rows = order[first : first + hp.batch_size]
        yield dataset.training.x[rows], dataset.training.y[rows]
