"""Shared by every peer: the data, the eight configurations, the race's space, the model, the journal.

TensorFlow is imported inside the functions that need it, so that the benchmarks can read the tables alone.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

N_TRAINING_ROWS, N_VALIDATION_ROWS, N_FEATURES, N_CLASSES = 48_000, 12_000, 784, 10
PANEL_EPOCHS = 3
_CLASSIC_EPOCHS = 40

# What Keras uses where the user names no learning rate; written out because our study file wants a number.
_KERAS_LEARNING_RATE = {"sgd": 0.01, "rmsprop": 0.001, "adam": 0.001}

Configuration = dict[str, Any]


def _configuration(width: int, depth: int, dropout: float, optimizer: str, batch_size: int) -> Configuration:
    return {
        "width": width,
        "depth": depth,
        "dropout": dropout,
        "optimizer": optimizer,
        "learning_rate": _KERAS_LEARNING_RATE[optimizer],
        "schedule": "constant",
        "batch_size": batch_size,
    }


CONFIGURATIONS: tuple[Configuration, ...] = (
    _configuration(512, 2, 0.2, "rmsprop", 128),
    _configuration(64, 1, 0.1, "adam", 64),
    _configuration(256, 2, 0.3, "adam", 128),
    _configuration(128, 3, 0.1, "sgd", 64),
    _configuration(512, 1, 0.4, "adam", 256),
    _configuration(32, 2, 0.0, "rmsprop", 32),
    _configuration(384, 3, 0.25, "adam", 128),
    _configuration(96, 2, 0.2, "rmsprop", 64),
)


@dataclass(frozen=True, slots=True)
class Range:
    """A numeric dimension; integers where both ends are integers.

    Attributes:
        low: Smallest value.
        high: Largest value, included.
        log: Whether it is searched on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False


Dimension = Range | list[Any]


def race_space(name: str = "classic", schedule: bool = True) -> dict[str, Dimension]:
    """A space of the race, one entry a dimension: a range, or a list of choices.

    Args:
        name: ``classic``, or ``strong``: the space of our preset of that name, as it is for pictures.
        schedule: Whether the learning rate's schedule is searched; else the rate is constant.
    """
    space = _classic_space() if name == "classic" else _strong_space()
    return space if schedule else space | {"schedule": ["constant"]}


def _strong_space() -> dict[str, Dimension]:
    from search.spec.defaults import preset_space

    given = preset_space("strong", "mnist")
    return {key: Range(**value) if isinstance(value, dict) else list(value) for key, value in given.items()}


def _classic_space() -> dict[str, Dimension]:
    return {
        "width": Range(32, 1024, log=True),
        "depth": Range(1, 4),
        "dropout": Range(0.0, 0.5),
        "optimizer": ["sgd", "rmsprop", "adam"],
        "learning_rate": Range(1e-4, 1e-1, log=True),
        "schedule": ["constant", "cosine"],
        "batch_size": [32, 64, 128, 256],
        "epochs": Range(5, _CLASSIC_EPOCHS),
    }


@dataclass(frozen=True, slots=True)
class Arrays:
    """Training and validation rows.

    ``x_*`` are (n_rows, 784) float32 from 0 to 1; ``y_*`` (n_rows,) uint8 classes, or (n_rows, 10) float32 zeros and
    ones.
    """

    x_train: Any = field(repr=False)
    y_train: Any = field(repr=False)
    x_val: Any = field(repr=False)
    y_val: Any = field(repr=False)


def load_arrays(folder: Path, stratified_seed: int | None = None) -> Arrays:
    """Reads MNIST's 60,000 training rows and splits them.

    Args:
        folder: Where ``mnist.npz`` lies.
        stratified_seed: None takes the first 48,000 rows and the last 12,000; a number a stratified random
            split of the same sizes, which is the kind of split that our own studies make.
    """
    import numpy as np

    with np.load(folder / "mnist.npz") as archive:
        x = archive["x_train"].reshape(-1, N_FEATURES).astype("float32") / 255
        y = archive["y_train"]
    if stratified_seed is None:
        split, val = slice(None, N_TRAINING_ROWS), slice(-N_VALIDATION_ROWS, None)
        return Arrays(x[split], y[split], x[val], y[val])
    from sklearn.model_selection import train_test_split

    x_train, x_val, y_train, y_val = train_test_split(
        x, y, test_size=N_VALIDATION_ROWS, stratify=y, random_state=stratified_seed
    )
    return Arrays(x_train, y_train, x_val, y_val)


def race_arrays(options: Options) -> Arrays:
    """The rows of the race, whose classes are zeros and ones where the space smooths them."""
    import keras

    arrays = load_arrays(options.data, stratified_seed=0)
    if "label_smoothing" not in race_space(options.space):
        return arrays
    y_train, y_val = (
        keras.utils.to_categorical(y, N_CLASSES).astype("float32") for y in (arrays.y_train, arrays.y_val)
    )
    return replace(arrays, y_train=y_train, y_val=y_val)


def build_model(configuration: Configuration, epochs: int) -> Any:
    """A compiled Keras model: hidden layers, then softmax.

    A hidden layer is Dense, batch normalization, activation and Dropout; without the second and with ReLU where the
    configuration does not name them.

    Args:
        configuration: Values by name, as in ``CONFIGURATIONS``, and those of the dimensions of our preset.
        epochs: The epochs that a schedule decays over.
    """
    import keras

    model = keras.Sequential([keras.Input((N_FEATURES,))])
    width, activation = configuration["width"], configuration.get("activation", "relu")
    for _ in range(configuration["depth"]):
        if configuration.get("normalization") == "batch":
            model.add(keras.layers.Dense(width, use_bias=False))
            model.add(keras.layers.BatchNormalization())
            model.add(keras.layers.Activation(activation))
        else:
            model.add(keras.layers.Dense(width, activation=activation))
        model.add(keras.layers.Dropout(configuration["dropout"]))
    model.add(keras.layers.Dense(N_CLASSES, activation="softmax"))
    loss: Any = "sparse_categorical_crossentropy"
    if "label_smoothing" in configuration:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=configuration["label_smoothing"])
    model.compile(optimizer=_optimizer(configuration, epochs), loss=loss, metrics=["accuracy"])
    return model


def _optimizer(configuration: Configuration, epochs: int) -> Any:
    import keras

    config = {"learning_rate": _learning_rate(configuration, epochs)}
    if "weight_decay" in configuration:
        config["weight_decay"] = configuration["weight_decay"]
    if configuration.get("ema"):
        config |= {"use_ema": True, "ema_momentum": configuration["ema"]}
    return keras.optimizers.get({"class_name": configuration["optimizer"], "config": config})


def _learning_rate(configuration: Configuration, epochs: int) -> Any:
    """The rate, or Keras's schedule of it; ``onecycle`` rises in a straight line, as Keras has no other rise."""
    from keras.optimizers.schedules import CosineDecay

    rate, n_steps = configuration["learning_rate"], epochs * steps_per_epoch(configuration["batch_size"])
    if configuration["schedule"] == "constant":
        return rate
    if configuration["schedule"] == "cosine":
        return CosineDecay(rate, n_steps)
    n_rising = int(0.3 * n_steps)
    return CosineDecay(rate / 25, n_steps - n_rising, warmup_target=rate, warmup_steps=n_rising)


def callbacks_of(configuration: Configuration) -> list[Any]:
    """Keras's callbacks that a configuration needs, before all others: that for the average of the weights."""
    import keras

    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if configuration.get("ema") else []


def steps_per_epoch(batch_size: int) -> int:
    """Steps of an epoch; the last batch may hold fewer rows."""
    return -(-N_TRAINING_ROWS // batch_size)


def append_to_journal(journal: Path, val_accuracy: float) -> None:
    """Writes down that an epoch ended now with this validation accuracy: one JSON line, appended at once."""
    line = json.dumps({"time": time.time(), "val_accuracy": float(val_accuracy)}) + "\n"
    with journal.open("a", encoding="utf-8") as stream:
        stream.write(line)


def journal_callback(journal: Path) -> Any:
    """A Keras callback that appends every epoch to the journal."""
    import keras

    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _epoch, logs: append_to_journal(journal, logs["val_accuracy"])
    )


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a peer's command line.

    Attributes:
        mode: ``panel`` or ``race``.
        data: Folder of ``mnist.npz``.
        journal: File that takes one line an epoch.
        limit: How many of the eight configurations the panel trains.
        epochs: Epochs of each of them.
        seconds: How long the race lasts.
        seed: Seed of the race's sampler and of Keras.
        space: The race's space, as ``race_space`` takes it.
        schedule: Whether the learning rate's schedule is searched.
        model: How the Optuna peer stores a model: ``log_model`` or ``h5``.
    """

    mode: str
    data: Path
    journal: Path
    limit: int = len(CONFIGURATIONS)
    epochs: int = PANEL_EPOCHS
    seconds: float = 240.0
    seed: int = 0
    space: str = "strong"
    schedule: bool = True
    model: str = "log_model"

    def arguments(self) -> list[str]:
        """The command line that ``parse_options`` reads back."""
        values = asdict(self)
        mode, schedule = values.pop("mode"), values.pop("schedule")
        flags = [text for name, value in values.items() for text in (f"--{name}", str(value))]
        return [mode, *flags, *([] if schedule else ["--without-schedule"])]


def parse_options() -> Options:
    """Reads the peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["panel", "race"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=len(CONFIGURATIONS))
    parser.add_argument("--epochs", type=int, default=PANEL_EPOCHS)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", choices=["strong", "classic"], default="strong")
    parser.add_argument("--without-schedule", dest="schedule", action="store_false")
    parser.add_argument("--model", choices=["log_model", "h5"], default="log_model")
    return Options(**vars(parser.parse_args()))
