"""``train``: one configuration, one run, no study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipelines.config import DataConfig, Hyperparameters
from search.cli.options import Home, Json, Seed, Source, Target, option, options_named
from search.reporting import display
from search.scheduling import Observer

if TYPE_CHECKING:
    from pipelines.config import Layer
    from pipelines.training.history import EpochReport
    from search.training import TrainingResult

_HP, _DATA = Hyperparameters(), DataConfig("")
Width = Annotated[int | None, option("N", "Units of each hidden layer.", _HP.width)]
Depth = Annotated[int | None, option("N", "Hidden layers.", _HP.depth)]
Dropout = Annotated[float | None, option("SHARE", "Share of units dropped after each hidden layer.", _HP.dropout)]
Optimizer = Annotated[str | None, option("NAME", "A Keras optimizer.", _HP.optimizer)]
LearningRate = Annotated[float | None, option("RATE", "Learning rate.", "Keras's for the optimizer")]
Schedule = Annotated[str | None, option("constant|cosine", "Schedule of the learning rate.", _HP.schedule)]
Epochs = Annotated[int | None, option("N", "Passes over the rows; with --continue, further passes.", _HP.epochs)]
BatchSize = Annotated[int | None, option("N", "Rows of a step.", _HP.batch_size)]
Validation = Annotated[float | None, option("SHARE", "Validation share of training rows.", _DATA.validation_fraction)]
Scaling = Annotated[str | None, option("minmax|standard|none", "Scaling of the inputs.", _DATA.scaling)]
Continue = Annotated[str | None, option("RUN", "Continue a run of train from its last epoch.", None, "--continue")]


def train(
    source: Source,
    width: Width = None,
    depth: Depth = None,
    dropout: Dropout = None,
    optimizer: Optimizer = None,
    learning_rate: LearningRate = None,
    schedule: Schedule = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    seed: Seed = None,
    target: Target = None,
    validation_fraction: Validation = None,
    scaling: Scaling = None,
    continue_run: Continue = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train one configuration and log it as one run; prints its layers and each epoch.

    Example: mlp-search train digits --width 64 --epochs 10
    """
    given = {
        "width": width, "depth": depth, "dropout": dropout, "optimizer": optimizer, "learning_rate": learning_rate,
        "schedule": schedule, "epochs": epochs, "batch_size": batch_size, "seed": seed, "target": target,
        "validation_fraction": validation_fraction, "scaling": scaling,
    }  # fmt: skip
    result = _train(source, given, continue_run, home, _Lines(as_json=as_json))
    _show(source, result, home, as_json=as_json)


def _train(
    source: str, given: Mapping[str, object], continue_run: str | None, home: Path | None, observer: Observer
) -> TrainingResult:
    from search.training import continue_training, default_training, train_once

    with options_named(name="data.source", source="data.source"):
        spec = default_training(source, **given)
    if continue_run is None:
        return train_once(spec, home=home, observer=observer)
    return continue_training(continue_run, home=home, observer=observer, source=source, **given)


class _Lines(Observer):
    """Prints the layers, then a line an epoch; with --json on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = display.console(stderr=as_json)

    def begin(self, layers: tuple[Layer, ...]) -> None:
        self._console.print(display.layers_table(layers))

    def epoch(self, report: EpochReport) -> None:
        self._console.print(
            f"epoch {report.epoch:3}  loss {report.loss:.4f}  accuracy {report.accuracy:.4f}"
            f"  val_loss {report.val_loss:.4f}  val_accuracy {report.val_accuracy:.4f}  {report.duration_s:.2f} s"
        )

    def note(self, line: str) -> None:
        display.message(line)


def _show(source: str, result: TrainingResult, home: Path | None, *, as_json: bool) -> None:
    row = result.row
    best = "no epoch ended" if row.value is None else f"val_accuracy {row.value:.4f} at epoch {row.best_epoch}"
    line = f"best: {best} of {row.epochs_trained}, in {display.seconds(row.duration_s)}; run {row.run_id}"
    display.show([line], asdict(row), as_json=as_json)
    display.undelivered(result.undelivered)
    if result.stop_reason == "diverged":
        display.message("training ended early because the loss is not a number: try a lower --learning-rate")
    if result.stop_reason == "interrupted":
        resume = display.command("train", source, "--continue", row.run_id, home=home)
        display.message(f"to resume, run: {resume}")
        raise KeyboardInterrupt
