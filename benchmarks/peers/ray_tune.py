"""Peer: Ray Tune with reused actors, one core a trial, as many at once as there are cores."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import ray
from peers.network import build_model, callbacks_of
from peers.options import Options, append_to_journal, parse_options
from peers.problem import CONFIGURATIONS, Arrays, load_arrays, race_arrays, race_space
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch


def report(journal: Path, epochs: int) -> Any:
    """A Keras callback: every epoch to Tune, the model as ``.h5`` with the last one."""
    import keras

    class Report(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            append_to_journal(journal, logs["val_accuracy"])
            if epoch + 1 < epochs:
                tune.report(dict(logs))
                return
            with tempfile.TemporaryDirectory() as folder:
                self.model.save(Path(folder) / "model.h5")
                tune.report(dict(logs), checkpoint=tune.Checkpoint.from_directory(folder))

    return Report()


def train(config: dict[str, Any], arrays: Arrays, journal: Path, seed: int) -> None:
    """One trial in its actor."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    configuration = config["configuration"]
    build_model(configuration, configuration["epochs"]).fit(
        arrays.x_train,
        arrays.y_train,
        batch_size=configuration["batch_size"],
        epochs=configuration["epochs"],
        validation_data=(arrays.x_val, arrays.y_val),
        callbacks=[*callbacks_of(configuration), report(journal, configuration["epochs"])],
        verbose=0,
    )


def tuner(options: Options, arrays: Arrays, space: Any, **tune_config: Any) -> tune.Tuner:
    """The tuner over a space of configurations."""
    trainable = tune.with_parameters(train, arrays=arrays, journal=options.journal, seed=options.seed)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"configuration": space},
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            reuse_actors=True,
            max_concurrent_trials=os.cpu_count(),
            **tune_config,
        ),
        run_config=tune.RunConfig(storage_path=str(Path.cwd()), name=options.mode, verbose=0),
    )


def panel(options: Options) -> None:
    """The eight configurations as a grid of one dimension."""
    chosen = [values | {"epochs": options.epochs} for values in CONFIGURATIONS[: options.limit]]
    tuner(options, load_arrays(options.data), tune.grid_search(chosen)).fit()


def _dimension(dimension: Any) -> Any:
    if isinstance(dimension, list):
        return tune.choice(dimension)
    if isinstance(dimension.low, int):
        draw = tune.lograndint if dimension.log else tune.randint
        return draw(dimension.low, dimension.high + 1)
    return (tune.loguniform if dimension.log else tune.uniform)(dimension.low, dimension.high)


def race(options: Options) -> None:
    """Optuna's TPE inside Tune, with ASHA over the epochs, until the time is over."""
    dimensions = race_space(options.space, options.schedule)
    space = {name: _dimension(dimension) for name, dimension in dimensions.items()}
    tuner(
        options,
        race_arrays(options.data, options.space),
        space,
        search_alg=OptunaSearch(seed=options.seed),
        scheduler=ASHAScheduler(max_t=dimensions["epochs"].high),
        num_samples=-1,
        time_budget_s=options.seconds,
    ).fit()


def main() -> None:
    options = parse_options()
    ray.init(include_dashboard=False)
    (panel if options.mode == "panel" else race)(options)


if __name__ == "__main__":
    main()
