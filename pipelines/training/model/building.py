"""Builds an MLP for Keras, of one network or of several whose predictions it takes the mean of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import Hyperparameters, layer_sizes
from pipelines.data.preprocessing import Preprocessing
from pipelines.network.architecture import Architecture
from pipelines.network.normalization import EPSILON
from pipelines.network.optimizers import keras_optimizer, state_variables
from pipelines.objectives import Loss
from pipelines.training.history import Checkpoint
from pipelines.training.model.parts import Parts, embedding, scaling_layer

if TYPE_CHECKING:
    import keras


def build_model(
    hyperparameters: Hyperparameters,
    preprocessing: Preprocessing,
    weights: Sequence[np.ndarray],
    optimizer: keras.Optimizer | None = None,
) -> keras.Model:
    """Builds a compiled Keras model that takes rows as the source holds them, of a table its encoded features.

    Args:
        hyperparameters: The configuration.
        preprocessing: Input shape, classes, and the scaling that becomes the first layer.
        weights: All arrays of a network, in the order of ``network.architecture``. With a first axis of networks they
            are those of several, and the model predicts the mean of their predictions.
        optimizer: The optimizer to compile with; by default the configuration's, fresh.

    Returns:
        A model from (n_rows, *input_shape) to class probabilities (n_rows, n_classes), or of a regression to
        (n_rows, 1) values in the unit of the target.
    """
    if weights[-1].ndim > 1:
        return build_pack(hyperparameters, preprocessing, packed(_order(hyperparameters), weights))
    return _build(hyperparameters, preprocessing, weights, None, optimizer)


def build_pack(
    hyperparameters: Hyperparameters, preprocessing: Preprocessing, arrays: Sequence[np.ndarray]
) -> keras.Model:
    """Builds a model, as ``build_model``, of several networks whose arrays are as ``packed`` returns them."""
    return _build(hyperparameters, preprocessing, arrays, len(arrays[0]), None)


def packed(network: Architecture, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the arrays of several networks in one model, which predicts and is not trained.

    Args:
        network: Their architecture.
        weights: All arrays, with a first axis of networks.

    Returns:
        With a first axis of networks: of each hidden layer a kernel, into which batch normalization is multiplied, and
        a bias, and of layer normalization gamma and beta; kernel and bias of the output. Then, without that axis, the
        kernel and the bias of the embedding, which all networks of a dataset share.
    """
    arrays: list[np.ndarray] = []
    for number in range(network.depth):
        layer = network.layer(weights, number)
        if layer.bias is not None:
            arrays += [array for array in layer if array is not None]
            continue
        mean, variance = (array.astype(np.float64) for array in network.moving(weights, number))
        factor = layer.gamma / np.sqrt(variance + EPSILON)
        arrays += [(layer.kernel * factor[:, None]).astype(np.float32), (layer.beta - mean * factor).astype(np.float32)]
    output = network.layer(weights, network.depth)
    arrays += [output.kernel, *([] if output.bias is None else [output.bias])]
    return arrays + ([array[0] for array in network.pieces(weights)] if network.embedding else [])


def pack_models(hyperparameters: Hyperparameters, models: Sequence[keras.Model]) -> list[np.ndarray]:
    """Returns the arrays of all networks of several models of one configuration, for ``build_pack``.

    Args:
        hyperparameters: The configuration.
        models: As ``load_h5`` returns them, each of one network or of several.
    """
    each = []
    for model in models:
        arrays = [variable.numpy() for variable in variables_of(model)]
        # A kernel has two axes, where it is no network's among several.
        alone = [array[None] for array in arrays] if arrays[0].ndim == 2 else None
        each.append(packed(_order(hyperparameters), alone) if alone else arrays)
    shared = 2 if hyperparameters.embedding == "piecewise" else 0
    own = [arrays[: len(arrays) - shared] for arrays in each]
    return [*(np.concatenate(layer) for layer in zip(*own, strict=True)), *each[0][len(own[0]) :]]


def variables_of(model: keras.Model) -> list[keras.Variable]:
    """Returns the variables of a model that are a network's arrays, in the order of ``network.architecture``."""
    named = {layer.name: layer for layer in model.layers}
    moving = [layer for name, layer in named.items() if name.startswith("normalization_")]
    fixed = [variable for layer in moving for variable in layer.non_trainable_variables]
    return [*model.trainable_variables, *fixed, *(named["pieces"].variables if "pieces" in named else ())]


def restore_model(
    hyperparameters: Hyperparameters, preprocessing: Preprocessing, checkpoint: Checkpoint
) -> keras.Model:
    """Builds the Keras model of a checkpoint, optimizer included, so that ``fit`` resumes from it."""
    optimizer = keras_optimizer(hyperparameters)
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
    weights = tuple(variable.numpy() for variable in variables_of(model))
    state = tuple(variable.numpy() for variable in state_variables(model.optimizer))
    return Checkpoint(weights, state, int(model.optimizer.iterations.numpy()), epochs)


def _order(hyperparameters: Hyperparameters) -> Architecture:
    """An architecture that tells the places of a configuration's arrays, which sizes do not change."""
    return Architecture.of(hyperparameters, layer_sizes(hyperparameters, 1, 1))


def _build(
    hyperparameters: Hyperparameters,
    preprocessing: Preprocessing,
    arrays: Sequence[np.ndarray],
    n_networks: int | None,
    optimizer: keras.Optimizer | None,
) -> keras.Model:
    n_pieces = arrays[-1].shape[-1] if hyperparameters.embedding == "piecewise" else 0
    n_features = math.prod(preprocessing.input_shape)
    sizes = layer_sizes(hyperparameters, n_features, preprocessing.n_outputs, n_pieces)
    hp = hyperparameters.filled()
    parts = Parts(hp, Architecture.of(hp, sizes), n_networks)
    model = _assemble(parts, preprocessing, sizes, n_pieces)
    for variable, array in zip(variables_of(model), arrays, strict=True):
        variable.assign(array)
    _compile(model, hyperparameters, preprocessing, optimizer)
    return model


def _assemble(parts: Parts, preprocessing: Preprocessing, sizes: Sequence[int], n_pieces: int) -> keras.Model:
    """Connects the layers: one after the other in a Sequential where that says it all."""
    import keras

    rows = keras.Input(preprocessing.input_shape, dtype="float32", name="rows")
    first = [keras.layers.Flatten("channels_last", dtype="float32", name="flatten"), scaling_layer(preprocessing)]
    last = parts.output(preprocessing)
    hp = parts.hyperparameters
    if parts.network.is_plain:
        hidden = []
        for number, width in enumerate(sizes[1:-1], 1):
            hidden.append(parts.dense(width, f"hidden_{number}", "relu", is_first=number == 1))
            hidden.append(keras.layers.Dropout(hp.dropout, dtype="float32", name=f"dropout_{number}"))
        return keras.Sequential([rows, *first, *hidden, *last], name="mlp")
    x = rows
    for layer in first:
        x = layer(x)
    if n_pieces:
        x = embedding(x, n_pieces)
    if hp.input_dropout:
        x = keras.layers.Dropout(hp.input_dropout, dtype="float32", name="input_dropout")(x)
    for number, width in enumerate(sizes[1:-1], 1):
        x = parts.hidden(x, number, width)
    for layer in last:
        x = layer(x)
    return keras.Model(rows, x, name="mlp")


def _compile(
    model: keras.Model,
    hp: Hyperparameters,
    preprocessing: Preprocessing,
    optimizer: keras.Optimizer | None,
) -> None:
    import keras

    optimizer = optimizer or keras_optimizer(hp)
    if preprocessing.target:
        # Objects, not names: Keras reads "mse" from an .h5 as a metric that it cannot load.
        model.compile(optimizer, _keras_loss(hp.loss or "mse"), [keras.metrics.MeanAbsoluteError("mae", "float32")])
    else:
        model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])


def _keras_loss(name: Loss) -> keras.losses.Loss:
    import keras

    losses = keras.losses
    kinds = {"mse": losses.MeanSquaredError, "mae": losses.MeanAbsoluteError, "huber": losses.Huber}
    return kinds[name](name=name, dtype="float32")
