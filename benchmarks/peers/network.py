"""The Keras model that every peer trains. Keras is imported inside the functions, so that tables can be read alone."""

from __future__ import annotations

from typing import Any

from peers.problem import N_CLASSES, N_FEATURES, N_TRAINING_ROWS, Configuration


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
