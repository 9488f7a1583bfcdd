"""Peer: KerasTuner with a ``HyperModel``; the panel walks through given values by its own oracle."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import trial as trial_module
from peers.network import build_model, callbacks_of, steps_per_epoch
from peers.options import Options, journal_callback, parse_options
from peers.problem import CONFIGURATIONS, Arrays, Configuration, load_arrays, race_arrays, race_space


class Mlp(keras_tuner.HyperModel):
    """The model as a function of the hyperparameters.

    Args:
        space: Its dimensions; ``epochs`` is the tuner's own.
        epochs: The epochs that a schedule decays over.
    """

    def __init__(self, space: dict[str, Any], epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.space = {name: value for name, value in space.items() if name != "epochs"}

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Declares the dimensions and builds the model."""
        configuration = {name: declare(hp, name, dimension) for name, dimension in self.space.items()}
        model = build_model(configuration, self.epochs)
        # Hyperband continues a trial with a new optimizer: its schedule has to go on where the trial stopped.
        epochs_done = hp.values.get("tuner/initial_epoch", 0)
        model.optimizer.iterations.assign(epochs_done * steps_per_epoch(configuration["batch_size"]))
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Trains with the trial's own batch size and average of the weights."""
        configuration = {name: hp.get(name) for name in self.space}
        if configuration.get("ema"):
            # A trial that goes on has its weights from a file, without their average, which begins at them.
            model.optimizer.build(model.trainable_variables)
            averages = [variable for variable in model.optimizer.variables if variable.path.endswith("_average")]
            for average, weight in zip(averages, model.trainable_variables, strict=True):
                average.assign(weight)
        callbacks = [*callbacks_of(configuration), *kwargs.pop("callbacks")]
        return model.fit(*args, batch_size=hp.get("batch_size"), callbacks=callbacks, **kwargs)


def declare(hp: keras_tuner.HyperParameters, name: str, dimension: Any) -> Any:
    """One dimension in KerasTuner's words; returns its value in this trial."""
    if isinstance(dimension, list):
        return hp.Choice(name, dimension)
    kind = hp.Int if isinstance(dimension.low, int) else hp.Float
    sampling = "log" if dimension.log else "linear"
    return kind(name, dimension.low, dimension.high, sampling=sampling)


class ListOracle(keras_tuner.Oracle):
    """Hands out given configurations in their order.

    Args:
        configurations: Values by name.
        kwargs: What every oracle takes.
    """

    def __init__(self, configurations: tuple[Configuration, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.waiting = list(configurations)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next configuration, or the end of the search."""
        if not self.waiting:
            return {"status": trial_module.TrialStatus.STOPPED}
        return {"status": trial_module.TrialStatus.RUNNING, "values": self.waiting.pop(0)}


def search(tuner: keras_tuner.Tuner, arrays: Arrays, options: Options, **kwargs: Any) -> None:
    """Runs the tuner on the arrays."""
    tuner.search(
        arrays.x_train,
        arrays.y_train,
        validation_data=(arrays.x_val, arrays.y_val),
        callbacks=[journal_callback(options.journal)],
        verbose=0,
        **kwargs,
    )


def panel(options: Options) -> None:
    """The eight configurations through an oracle that knows them; the tuner stores each trial's weights."""
    oracle = ListOracle(CONFIGURATIONS[: options.limit], objective="val_accuracy")
    tuner = keras_tuner.Tuner(
        oracle=oracle,
        hypermodel=Mlp(race_space(), options.epochs),
        directory=".",
        project_name="panel",
    )
    search(tuner, load_arrays(options.data), options, epochs=options.epochs)


def race(options: Options) -> None:
    """Hyperband, over and over; the race ends the process when its time is over."""
    space = race_space(options.space, options.schedule)
    max_epochs = space["epochs"].high
    tuner = keras_tuner.Hyperband(
        Mlp(space, max_epochs),
        objective="val_accuracy",
        max_epochs=max_epochs,
        hyperband_iterations=1000,
        seed=options.seed,
        directory=".",
        project_name="race",
    )
    search(tuner, race_arrays(options.data, options.space), options)


def main() -> None:
    options = parse_options()
    keras.utils.set_random_seed(options.seed)
    (panel if options.mode == "panel" else race)(options)


if __name__ == "__main__":
    main()
