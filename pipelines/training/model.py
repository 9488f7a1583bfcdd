"""Builds an MLP for Keras, saves it as ``.h5`` bytes and loads it safely."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.config import Hyperparameters
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import InputError
from pipelines.training.history import Checkpoint, require_sha256
from pipelines.training.optimizers import keras_optimizer, state_variables


def glorot_weights(sizes: Sequence[int], seed: int) -> tuple[np.ndarray, ...]:
    """Fresh weights as Keras's Dense layers have them: Glorot-uniform kernels, zero biases.

    Args:
        sizes: Values at the input, after each hidden layer and at the output.
        seed: The same seed gives the same weights.

    Returns:
        A kernel (n_in, n_out) and a bias (n_out,) for each layer, float32.
    """
    rng = np.random.default_rng(seed)
    weights: list[np.ndarray] = []
    for n_in, n_out in itertools.pairwise(sizes):
        limit = np.sqrt(6 / (n_in + n_out))
        weights.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    return tuple(weights)


def scaling_map(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """The scaling as ``x * slope + offset``: float32 scalars, or one value a feature, each (n_features,)."""
    center, scale = (np.asarray(value, np.float64) for value in (preprocessing.center, preprocessing.scale))
    return (1 / scale).astype(np.float32), (-center / scale).astype(np.float32)


def build_model(
    hyperparameters: Hyperparameters,
    preprocessing: Preprocessing,
    weights: Sequence[np.ndarray],
    optimizer: Any = None,
) -> Any:
    """A compiled Keras model that takes rows as the source holds them.

    Args:
        hyperparameters: Width, depth, dropout.
        preprocessing: Gives the input shape, the classes, and the scaling that becomes the first layer.
        weights: A kernel and a bias for each layer, input to output.
        optimizer: What the model is compiled with; by default the configuration's, fresh.

    Returns:
        ``keras.Sequential``: (n_rows, *input_shape) to class probabilities (n_rows, n_classes).
    """
    import keras

    hp = hyperparameters
    # Every part is named: Keras would number the names through, and equal models would be unequal files.
    layers = [keras.Input(preprocessing.input_shape, name="rows"), keras.layers.Flatten(name="flatten")]
    layers.append(_scaling_layer(preprocessing))
    for number in range(1, hp.depth + 1):
        layers.append(keras.layers.Dense(hp.width, activation="relu", name=f"hidden_{number}"))
        layers.append(keras.layers.Dropout(hp.dropout, name=f"dropout_{number}"))
    layers.append(keras.layers.Dense(len(preprocessing.class_names), activation="softmax", name="classes"))
    model = keras.Sequential(layers, name="mlp")
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for layer, kernel, bias in zip(dense, weights[::2], weights[1::2], strict=True):
        layer.set_weights([kernel, bias])
    optimizer = optimizer or keras_optimizer(hp.optimizer, hp.learning_rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def restore_model(hyperparameters: Hyperparameters, preprocessing: Preprocessing, checkpoint: Checkpoint) -> Any:
    """The Keras model of a checkpoint, with the optimizer as it stands there: Keras's ``fit`` goes on from it."""
    optimizer = keras_optimizer(hyperparameters.optimizer, hyperparameters.learning_rate)
    model = build_model(hyperparameters, preprocessing, checkpoint.weights, optimizer)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(checkpoint.steps)
    for variable, array in zip(state_variables(optimizer), checkpoint.state, strict=True):
        variable.assign(array)
    return model


def read_checkpoint(model: Any, epochs: int) -> Checkpoint:
    """Where a model that ``restore_model`` made and ``to_h5`` saved stands.

    Args:
        model: As ``load_h5`` returns it.
        epochs: Epochs it was trained for.
    """
    weights = tuple(variable.numpy() for variable in model.trainable_variables)
    state = tuple(variable.numpy() for variable in state_variables(model.optimizer))
    return Checkpoint(weights, state, int(model.optimizer.iterations.numpy()), epochs)


def _scaling_layer(preprocessing: Preprocessing) -> Any:
    """``x * slope + offset``: Rescaling for one slope; for one a feature, a BatchNormalization that stands still.

    Rescaling would write a slope a feature into the file's configuration, and HDF5 holds no more than 64 KiB there;
    BatchNormalization keeps them with the weights.
    """
    import keras

    slope, offset = scaling_map(preprocessing)
    if slope.ndim == 0:
        return keras.layers.Rescaling(float(slope), float(offset), name="scaling")
    layer = keras.layers.BatchNormalization(epsilon=0.0, trainable=False, name="scaling")
    layer.build((None, len(slope)))
    layer.set_weights([slope, offset, np.zeros_like(slope), np.ones_like(slope)])
    return layer


def to_h5(model: Any) -> bytes:
    """The model as the bytes of an ``.h5`` file, with the state of its optimizer where that was built."""
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # Keras would advise its newer format; .h5 is this service's contract
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path)
        return path.read_bytes()


def load_h5(content: bytes, recorded_sha256: str, place: str = "model.h5") -> Any:
    """Loads a model file whose hash was recorded when it was written.

    Args:
        content: The bytes of the file.
        recorded_sha256: What they must hash to.
        place: How an error calls the file.

    Raises:
        InputError: The bytes are not those that were recorded, or Keras refuses them: its safe mode stays on.
    """
    import keras

    require_sha256(content, recorded_sha256, place)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        path.write_bytes(content)
        try:
            model = keras.models.load_model(path, safe_mode=True)
            _restore_optimizer(model, path)
        except Exception as error:  # Keras raises whatever its parts raise on a strange file
            raise InputError(f"{place}: Keras cannot load it: {' '.join(str(error).split())[:200]}") from error
    return model


def _restore_optimizer(model: Any, path: Path) -> None:
    """Gives the optimizer the state that the file holds: Keras builds it without variables and drops that state."""
    import h5py

    with h5py.File(path) as file:
        if (saved := file.get("optimizer_weights")) is None:
            return
        names = saved.attrs["weight_names"]
        optimizer = model.optimizer.from_config(model.optimizer.get_config())
        optimizer.build(model.trainable_variables)
        if len(names) < len(optimizer.variables):  # it was fresh when it was saved
            return
        for variable, name in zip(optimizer.variables, names, strict=True):
            variable.assign(saved[name][()])
    model.optimizer = optimizer
