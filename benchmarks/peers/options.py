"""The command line of a peer, and the journal that it writes."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers.problem import CONFIGURATIONS, PANEL_EPOCHS


def append_to_journal(journal: Path, val_accuracy: float) -> None:
    """Writes down that an epoch ended now with this validation accuracy: one JSON line, appended at once."""
    line = json.dumps({"time": time.time(), "val_accuracy": float(val_accuracy)}) + "\n"
    with journal.open("a", encoding="utf-8") as stream:
        stream.write(line)


def journal_callback(journal: Path) -> Any:
    """A Keras callback that appends every epoch to the journal."""
    import keras

    return keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _epoch, logs: append_to_journal(journal, logs["val_accuracy"])
    )


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a peer's command line.

    Attributes:
        mode: ``panel`` or ``race``.
        data: Folder of ``mnist.npz``.
        journal: File that takes one line an epoch.
        limit: How many of the eight configurations the panel trains.
        epochs: Epochs of each of them.
        seconds: How long the race lasts.
        seed: Seed of the race's sampler and of Keras.
        space: The race's space, as ``race_space`` takes it.
        schedule: Whether the learning rate's schedule is searched.
        model: How the Optuna peer stores a model: ``log_model`` or ``h5``.
    """

    mode: str
    data: Path
    journal: Path
    limit: int = len(CONFIGURATIONS)
    epochs: int = PANEL_EPOCHS
    seconds: float = 240.0
    seed: int = 0
    space: str = "strong"
    schedule: bool = True
    model: str = "log_model"

    def arguments(self) -> list[str]:
        """The command line that ``parse_options`` reads back."""
        values = asdict(self)
        mode, schedule = values.pop("mode"), values.pop("schedule")
        flags = [text for name, value in values.items() for text in (f"--{name}", str(value))]
        return [mode, *flags, *([] if schedule else ["--without-schedule"])]


def parse_options() -> Options:
    """Reads the peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["panel", "race"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=len(CONFIGURATIONS))
    parser.add_argument("--epochs", type=int, default=PANEL_EPOCHS)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--space", choices=["strong", "classic"], default="strong")
    parser.add_argument("--without-schedule", dest="schedule", action="store_false")
    parser.add_argument("--model", choices=["log_model", "h5"], default="log_model")
    return Options(**vars(parser.parse_args()))
