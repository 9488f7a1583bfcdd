"""The problem that every system solves: the rows of MNIST, the eight configurations of the panel, the race's space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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


def race_arrays(folder: Path, space: str) -> Arrays:
    """The rows of the race, whose classes are zeros and ones where the space smooths them.

    Args:
        folder: Where ``mnist.npz`` lies.
        space: As ``race_space`` takes it.
    """
    import keras

    arrays = load_arrays(folder, stratified_seed=0)
    if "label_smoothing" not in race_space(space):
        return arrays
    y_train, y_val = (
        keras.utils.to_categorical(y, N_CLASSES).astype("float32") for y in (arrays.y_train, arrays.y_val)
    )
    return replace(arrays, y_train=y_train, y_val=y_val)
