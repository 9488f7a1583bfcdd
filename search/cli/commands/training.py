"""``train``: one configuration, one run, no study."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import SpecError
from search.cli.options import Home, Json, Target, complete_source
from search.scheduling.progress import Observer

if TYPE_CHECKING:
    from pipelines.config import Layer
    from pipelines.training.history import EpochReport
    from search.training.configuration import TrainingSpec
    from search.training.train import TrainingResult


def train(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="digits, mnist, fashion_mnist or a data file.", autocompletion=complete_source
        ),
    ],
    width: Annotated[int | None, typer.Option(metavar="N", help="Units of each hidden layer: 512.")] = None,
    depth: Annotated[int | None, typer.Option(metavar="N", help="Hidden layers: 2.")] = None,
    dropout: Annotated[float | None, typer.Option(metavar="SHARE", help="Dropped after each of them: 0.2.")] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="One of Keras's: adam.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="Keras's for the optimizer.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="constant|cosine", help="Of the rate: constant.")] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the rows: 20. With --continue, how many more.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Rows of a step: 128.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Same seed, same weights: 0.")] = None,
    target: Target = None,
    validation_fraction: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the training rows, held back: 0.2.")
    ] = None,
    scaling: Annotated[str | None, typer.Option(metavar="minmax|standard|none", help="Of the inputs: minmax.")] = None,
    continue_run: Annotated[
        str | None, typer.Option("--continue", metavar="RUN", help="Go on where this run of train stopped.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train one configuration and log it as one run; prints its layers and each epoch."""
    from search.training.train import continue_training, train_once

    given = {
        "width": width, "depth": depth, "dropout": dropout, "optimizer": optimizer, "learning_rate": learning_rate,
        "schedule": schedule, "epochs": epochs, "batch_size": batch_size, "seed": seed, "target": target,
        "validation_fraction": validation_fraction, "scaling": scaling,
    }  # fmt: skip
    spec = _spec(source, given)
    observer = _Lines(as_json=as_json)
    if continue_run is None:
        result = train_once(spec, home=home, observer=observer)
    else:
        result = continue_training(continue_run, home=home, observer=observer, source=source, **given)
    _show(source, result, home, as_json=as_json)


def _spec(source: str, given: dict[str, Any]) -> TrainingSpec:
    from search.training.configuration import default_training

    try:
        return default_training(source, **given)
    except SpecError as error:
        raise SpecError([_as_option(problem) for problem in error.problems]) from error


def _as_option(problem: str) -> str:
    """``options, space.batch_size: …`` as ``--batch-size: …``."""
    place, colon, rest = problem.partition(":")
    name = place.rpartition(".")[2].replace("_", "-")
    return f"{'data.source' if name in ('name', 'source') else f'--{name}'}{colon}{rest}"


class _Lines(Observer):
    """The layers, then a line an epoch; with --json all of it on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        from search.reporting import display

        self._console, self._message = display.console(stderr=as_json), display.message

    def begin(self, layers: tuple[Layer, ...]) -> None:
        from search.reporting import display

        for renderable in display.layers_table(layers):
            self._console.print(renderable)

    def epoch(self, report: EpochReport) -> None:
        self._console.print(
            f"epoch {report.epoch:3}  loss {report.loss:.4f}  accuracy {report.accuracy:.4f}"
            f"  val_loss {report.val_loss:.4f}  val_accuracy {report.val_accuracy:.4f}  {report.duration_s:.2f} s"
        )

    def note(self, line: str) -> None:
        self._message(line)


def _show(source: str, result: TrainingResult, home: Path | None, *, as_json: bool) -> None:
    from search.reporting import display

    row = result.row
    best = "no epoch ended" if row.value is None else f"val_accuracy {row.value:.4f} at epoch {row.best_epoch}"
    lines = [f"best: {best} of {row.epochs_trained}, in {display.seconds(row.duration_s)}; run {row.run_id}"]
    display.show(lines, asdict(row), as_json=as_json)
    if result.undelivered:
        display.message("MLflow has not taken the run yet; it waits in the spool for the next train on this source")
    if result.stop_reason == "diverged":
        display.message("training ended early, with a loss that is no number: try a lower --learning-rate")
    if result.stop_reason == "interrupted":
        where = f" --home {shlex.quote(str(home))}" if home else ""
        display.message(f"to go on: mlp-search train {shlex.quote(source)} --continue {row.run_id}{where}")
        raise KeyboardInterrupt
