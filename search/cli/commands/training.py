"""``train``: one configuration, one run, no study."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import search
from pipelines.config import FUSED_OPTIMIZERS, DataConfig, Hyperparameters, Layer, Scaling, Schedule
from pipelines.errors import UnavailableError
from pipelines.objectives import Loss
from search.cli import tables
from search.cli.option_groups import NOTHING, GroupedOptions, data_option, one_of, suggesting, with_option_groups
from search.cli.options import ClassWeight, Home, Objective, Precision, Seed, Source, option, options_named
from search.reporting import display
from search.reporting.screen import console, is_json, is_quiet, is_verbose, print_all
from search.scheduling import Observer

if TYPE_CHECKING:
    from pipelines.training.history import EpochReport

_OF_THE_COMMAND = ("source", "data", "network", "continue_run", "home")
_HP, _DATA = Hyperparameters(), DataConfig("")
_Loss = Annotated[str | None, option(one_of(Loss), "Loss of a regression.", "mse")]
_Scaling = Annotated[str | None, data_option(one_of(Scaling), "Scaling of the inputs.", "auto")]
_ValidationFraction = Annotated[
    float | None, data_option("SHARE", "Validation share of training rows.", _DATA.validation_fraction)
]


@with_option_groups
def train(
    source: Source,
    width: Annotated[int | None, option("N", "Units of each hidden layer.", _HP.width)] = None,
    depth: Annotated[int | None, option("N", "Hidden layers.", _HP.depth)] = None,
    dropout: Annotated[float | None, option("SHARE", "Share of units dropped after each layer.", _HP.dropout)] = None,
    optimizer: Annotated[
        str | None, option("NAME", "A Keras optimizer.", _HP.optimizer, complete=suggesting(FUSED_OPTIMIZERS))
    ] = None,
    learning_rate: Annotated[float | None, option("RATE", "Learning rate.", "Keras's for the optimizer")] = None,
    schedule: Annotated[str | None, option(one_of(Schedule), "Schedule of the learning rate.", _HP.schedule)] = None,
    epochs: Annotated[int | None, option("N", "Passes over the rows; with --continue, more.", _HP.epochs)] = None,
    batch_size: Annotated[int | None, option("N", "Rows of a step.", _HP.batch_size)] = None,
    seed: Seed = None,
    objective: Objective = None,
    loss: _Loss = None,
    class_weight: ClassWeight = None,
    network: GroupedOptions = NOTHING,
    data: GroupedOptions = NOTHING,
    validation_fraction: _ValidationFraction = None,
    scaling: _Scaling = None,
    precision: Precision = None,
    continue_run: Annotated[str | None, option("RUN", "Resume a run from its last epoch.", None, "--continue")] = None,
    home: Home = None,
) -> None:
    """Train one configuration and log it as one run; prints its layers and each epoch.

    Example: mlp-search train digits --width 64 --epochs 10
    """
    # Every other option is a hyperparameter, the seed, or says how the data is read.
    given = {key: value for key, value in locals().items() if key not in _OF_THE_COMMAND} | dict(data) | dict(network)
    _show(source, _train(source, given, continue_run, home), home)


def _train(source: str, given: dict[str, object], continue_run: str | None, home: Path | None) -> search.TrainingResult:
    observer = TrainingLines()
    with options_named(name="data.source", source="data.source"):
        spec = search.default_training(source, **given)
    from search.workers.start import prepare_pool

    prepare_pool("local")  # another process imports TensorFlow, while this one imports the rest
    if continue_run is None:
        return search.train_once(spec, home=home, observer=observer)
    return search.continue_training(continue_run, home=home, observer=observer, source=source, **given)


class TrainingLines(Observer):
    """Prints the layers, then a line an epoch; with --json on stderr, and nothing with -q."""

    def __init__(self) -> None:
        self._console, self._notes = console(stderr=is_json(), lasts=True), console(stderr=True)
        self._started = time.monotonic()
        self._is_quiet = is_quiet()  # other threads, whose notes come here too, do not know it

    def waiting(self, what: str) -> None:
        """Prints the step of the start-up, where everything is printed, and the time since the start."""
        if is_verbose():
            self.note(display.step(what, time.monotonic() - self._started))

    def begin(self, layers: tuple[Layer, ...]) -> None:
        """Prints the layers."""
        if not self._is_quiet:
            self._console.print(tables.layers_table(layers))

    def epoch(self, report: EpochReport) -> None:
        """Prints an epoch."""
        values = "".join(f"  {name} {display.score(value)}" for name, value in report.metrics.items())
        if not self._is_quiet:
            self._console.print(f"epoch {report.epoch:3}{values}  {report.duration_s:.2f} s")

    def note(self, line: str) -> None:
        """Prints a line."""
        if not self._is_quiet:
            print_all(self._notes, [line])


def _show(source: str, result: search.TrainingResult, home: Path | None) -> None:
    row = result.row
    value = f"{row.objective} {display.score(row.value)}{display.over_folds([row])}"
    best = "no epoch ended" if row.value is None else f"{value} at epoch {row.best_epoch}"
    line = f"best: {best} of {row.epochs_trained}, in {display.seconds(row.duration_s)}; run {row.run_id}"
    try:
        display.show([*display.baseline([row], "this training"), line], asdict(row))
    except (SystemExit, BrokenPipeError, UnavailableError):  # stdout was closed, perhaps by the same Ctrl-C
        if result.stop_reason != "interrupted":
            raise
    display.undelivered(result.undelivered)
    if result.stop_reason == "diverged":
        display.message("training ended early because the loss is not a number: try a lower --learning-rate")
    if result.stop_reason == "interrupted":
        if row.folds == 1 and row.run_id:
            resume = display.command("train", source, "--continue", row.run_id, home=home)
            display.suggest(resume, before="to resume, run: ")
        raise KeyboardInterrupt
