"""Saves a Keras model as ``.h5`` bytes, and loads it safely."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InputError
from pipelines.keras_settings import tensorflow_backend
from pipelines.training.history import require_sha256

if TYPE_CHECKING:
    import keras


def to_h5(model: keras.Model) -> bytes:
    """Returns the model as the bytes of an ``.h5`` file, with the optimizer's state if it was built."""
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # silences Keras's advice to use its newer format
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path)
        return path.read_bytes()


def load_h5(content: bytes, recorded_sha256: str, place: str = "model.h5") -> keras.Model:
    """Loads a model file whose hash was recorded when it was written.

    Args:
        content: The bytes of the file.
        recorded_sha256: The hash that they must have.
        place: Name of the file in errors.

    Raises:
        InputError: The hash differs, or Keras rejects the file: its safe mode stays on.
    """
    with tensorflow_backend():
        import keras

    require_sha256(content, recorded_sha256, place)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        path.write_bytes(content)
        try:
            with _quiet_absl():  # it warns that a regression's metrics have no value before an evaluation
                model = keras.models.load_model(path, safe_mode=True)
            _restore_optimizer(model, path)
        except Exception as error:  # Keras raises whatever its parts raise on a strange file
            raise InputError(f"{place}: Keras cannot load it: {' '.join(str(error).split())[:200]}") from error
    return model


@contextmanager
def _quiet_absl() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _restore_optimizer(model: keras.Model, path: Path) -> None:
    """Gives the optimizer the state in the file.

    ``keras.models.load_model`` should do that. Up to Keras 3.15 it builds the optimizer of an ``.h5`` without the
    model's variables, and the state is lost without an error; hence the look into the file.
    """
    import h5py

    with h5py.File(path) as file:
        saved = file.get("optimizer_weights", {})
        state = [saved[name][()] for name in saved.attrs["weight_names"]] if saved else []
    optimizer = model.optimizer.from_config(model.optimizer.get_config())
    optimizer.build(model.trainable_variables)
    if len(state) == len(optimizer.variables):  # else it was fresh when it was saved
        optimizer.set_weights(state)
        model.optimizer = optimizer
