"""Peer on real tables: KerasTuner's Hyperband over Keras MLPs, as its manual shows it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import keras
import keras_tuner
import numpy as np
from peers.table_rows import Options, Rows, parse_options, read_rows, write

_EPOCHS = 40


class _Late(Exception):  # noqa: N818
    """The time is over."""


class _Deadline(keras.callbacks.Callback):
    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if time.time() > self.at:
            raise _Late

    def __deepcopy__(self, memo: Any) -> _Deadline:
        return _Deadline(self.at)


def search(options: Options, rows: Rows) -> np.ndarray:
    """Hyperband until the time is over; the best model so far answers."""
    x, n_classes = rows.encoded(rows.fit), 1 if rows.is_regression else int(rows.y.max()) + 1
    center, scale = (rows.y[rows.fit].mean(), rows.y[rows.fit].std()) if rows.is_regression else (0, 1)
    y = (rows.y - center) / scale if rows.is_regression else rows.y

    def build(hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((x.shape[1],))])
        width, dropout = hp.Int("width", 32, 512, sampling="log"), hp.Float("dropout", 0, 0.5)
        for _ in range(hp.Int("depth", 1, 3)):
            model.add(keras.layers.Dense(width, activation="relu"))
            model.add(keras.layers.Dropout(dropout))
        model.add(keras.layers.Dense(n_classes, activation=None if rows.is_regression else "softmax"))
        rate = keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-2, sampling="log"))
        loss = "mse" if rows.is_regression else "sparse_categorical_crossentropy"
        model.compile(rate, loss, metrics=[] if rows.is_regression else ["accuracy"])
        return model

    tuner = keras_tuner.Hyperband(
        build, "val_loss" if rows.is_regression else "val_accuracy", _EPOCHS, hyperband_iterations=1000,
        seed=options.seed, directory=".", project_name="tables", max_consecutive_failed_trials=1,
    )  # fmt: skip
    held = (x[rows.validation], y[rows.validation])
    deadline = _Deadline(time.time() + options.seconds)
    with contextlib.suppress(_Late, RuntimeError):
        tuner.search(x[rows.fit], y[rows.fit], validation_data=held, batch_size=64, callbacks=[deadline], verbose=0)
    found = tuner.get_best_models(1)[0].predict(x[rows.test], verbose=0)
    return found.reshape(-1) * scale + center if rows.is_regression else found


def main() -> None:
    options, started = parse_options(), time.time()
    keras.utils.set_random_seed(options.seed)
    rows = read_rows(options)
    write(options, rows, search(options, rows), started)


if __name__ == "__main__":
    main()
