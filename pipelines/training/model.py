"""Builds an MLP for Keras, saves it as ``.h5`` bytes and loads it safely."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import Hyperparameters, output_name
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import InputError
from pipelines.keras_settings import tensorflow_backend
from pipelines.network.optimizers import keras_optimizer, state_variables
from pipelines.network.streams import weights_generator
from pipelines.objectives import Loss
from pipelines.training.history import Checkpoint, require_sha256

if TYPE_CHECKING:
    import keras


def glorot_weights(sizes: Sequence[int], seed: int) -> tuple[np.ndarray, ...]:
    """Draws initial weights as Keras's Dense layers have them: Glorot-uniform kernels, zero biases.

    Args:
        sizes: Values at the input, after each hidden layer and at the output.
        seed: Seed of the draw.

    Returns:
        A kernel (n_in, n_out) and a bias (n_out,) for each layer, float32.
    """
    rng = weights_generator(seed)
    weights: list[np.ndarray] = []
    for n_in, n_out in itertools.pairwise(sizes):
        limit = np.sqrt(6 / (n_in + n_out))
        weights.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    return tuple(weights)


def scaling_map(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Returns slope and offset of the scaling ``x * slope + offset``: float32 scalars, or (n_features,) each."""
    center, scale = (np.asarray(value, np.float64) for value in (preprocessing.center, preprocessing.scale))
    return (1 / scale).astype(np.float32), (-center / scale).astype(np.float32)


def build_model(
    hyperparameters: Hyperparameters,
    preprocessing: Preprocessing,
    weights: Sequence[np.ndarray],
    optimizer: keras.Optimizer | None = None,
) -> keras.Sequential:
    """Builds a compiled Keras model that takes rows as the source holds them, of a table its encoded features.

    Args:
        hyperparameters: Width, depth, dropout.
        preprocessing: Input shape, classes, and the scaling that becomes the first layer.
        weights: A kernel and a bias for each layer, input to output. With a first axis of folds they are those of
            several networks, and the model answers with the mean of their answers.
        optimizer: The optimizer to compile with; by default the configuration's, fresh.

    Returns:
        A model from (n_rows, *input_shape) to class probabilities (n_rows, n_classes), or of a regression to
        (n_rows, 1) values in the unit of the target.
    """
    import keras

    hp = hyperparameters
    # Every part has a name: Keras would number unnamed parts per process, and equal models would be unequal files.
    # Each type and layout is given: Keras would take the defaults of a user's keras.json.
    layers = [
        keras.Input(preprocessing.input_shape, dtype="float32", name="rows"),
        keras.layers.Flatten("channels_last", dtype="float32", name="flatten"),
    ]
    layers.append(_scaling_layer(preprocessing))
    n_networks = len(weights[-1]) if weights[-1].ndim > 1 else None
    for number in range(1, hp.depth + 1):
        layers.append(_dense(hp.width, f"hidden_{number}", n_networks, activation="relu", is_first=number == 1))
        layers.append(keras.layers.Dropout(hp.dropout, dtype="float32", name=f"dropout_{number}"))
    layers += _output_layers(preprocessing, n_networks, is_first=hp.depth == 0)
    model = keras.Sequential(layers, name="mlp")
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        variable.assign(weight)
    optimizer = optimizer or keras_optimizer(hp.optimizer, hp.learning_rate)
    if preprocessing.target:
        # Objects, not names: Keras reads "mse" from an .h5 as a metric that it cannot load.
        model.compile(optimizer, _keras_loss(hp.loss or "mse"), [keras.metrics.MeanAbsoluteError("mae", "float32")])
    else:
        model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def pack_models(models: Sequence[keras.Model]) -> list[np.ndarray]:
    """Returns the weights of several models of one configuration as those of one, for ``build_model``.

    Args:
        models: As ``load_h5`` returns them, each of one network or of several.

    Returns:
        A kernel and a bias for each layer, with a first axis of all networks, in the order of the models.
    """
    each = [[variable.numpy() for variable in model.trainable_variables] for model in models]
    # A bias has one axis, where it is no network's among several.
    packed = [weights if weights[-1].ndim > 1 else [weight[None] for weight in weights] for weights in each]
    return [np.concatenate(layer) for layer in zip(*packed, strict=True)]


def _keras_loss(name: Loss) -> keras.losses.Loss:
    import keras

    if name == "mse":
        return keras.losses.MeanSquaredError(name=name, dtype="float32")
    if name == "mae":
        return keras.losses.MeanAbsoluteError(name=name, dtype="float32")
    return keras.losses.Huber(name=name, dtype="float32")


def _dense(
    n_outputs: int, name: str, n_networks: int | None, *, activation: str | None = None, is_first: bool = False
) -> keras.Layer:
    """Returns a dense layer, or one of several networks side by side: (n_rows, n_networks, n_outputs)."""
    import keras

    if n_networks is None:
        return keras.layers.Dense(n_outputs, activation=activation, dtype="float32", name=name)
    return keras.layers.EinsumDense(
        "bi,kio->bko" if is_first else "bki,kio->bko",
        (n_networks, n_outputs),
        bias_axes="ko",
        activation=activation,
        dtype="float32",
        name=name,
    )


def _output_layers(preprocessing: Preprocessing, n_networks: int | None, *, is_first: bool) -> list[keras.Layer]:
    """Returns the softmax over classes, or one value and the way back to the target's own unit; then the mean."""
    import keras

    target, n_outputs = preprocessing.target, preprocessing.n_outputs
    activation = "softmax" if target is None else None
    layers = [_dense(n_outputs, output_name(n_outputs), n_networks, activation=activation, is_first=is_first)]
    if target is not None:
        layers.append(keras.layers.Rescaling(target.scale, target.center, dtype="float32", name="unit"))
        if target.transform == "log":
            layers.append(keras.layers.Activation("exponential", dtype="float32", name="exponential"))
    if n_networks is not None:
        layers.append(keras.layers.GlobalAveragePooling1D("channels_last", dtype="float32", name="mean"))
    return layers


def restore_model(
    hyperparameters: Hyperparameters, preprocessing: Preprocessing, checkpoint: Checkpoint
) -> keras.Sequential:
    """Builds the Keras model of a checkpoint, optimizer included, so that ``fit`` resumes from it."""
    optimizer = keras_optimizer(hyperparameters.optimizer, hyperparameters.learning_rate)
    model = build_model(hyperparameters, preprocessing, checkpoint.weights, optimizer)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(checkpoint.steps)
    for variable, array in zip(state_variables(optimizer), checkpoint.state, strict=True):
        variable.assign(array)
    return model


def read_checkpoint(model: keras.Model, epochs: int) -> Checkpoint:
    """Returns the checkpoint in a model that ``restore_model`` built and ``to_h5`` saved.

    Args:
        model: As ``load_h5`` returns it.
        epochs: Number of epochs it was trained for.
    """
    weights = tuple(variable.numpy() for variable in model.trainable_variables)
    state = tuple(variable.numpy() for variable in state_variables(model.optimizer))
    return Checkpoint(weights, state, int(model.optimizer.iterations.numpy()), epochs)


def _scaling_layer(preprocessing: Preprocessing) -> keras.Layer:
    """Returns ``x * slope + offset`` as Rescaling for scalars, else as a BatchNormalization that does not train.

    Rescaling would write one slope per feature into the file's configuration, where HDF5 allows 64 KiB;
    BatchNormalization keeps them with the weights.
    """
    import keras

    slope, offset = scaling_map(preprocessing)
    if slope.ndim == 0:
        return keras.layers.Rescaling(float(slope), float(offset), dtype="float32", name="scaling")
    layer = keras.layers.BatchNormalization(epsilon=0.0, trainable=False, dtype="float32", name="scaling")
    layer.build((None, len(slope)))
    layer.set_weights([slope, offset, np.zeros_like(slope), np.ones_like(slope)])
    return layer


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
