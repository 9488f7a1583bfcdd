"""The cost of the parts of a network: the tape beside the handwritten gradient, and each dimension beside neither.

python benchmarks/parts.py --rows 12800
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import harness
import numpy as np
from rich.table import Table

NETWORKS = {"512x2, 128": (512, 2, 128), "1024x2, 256": (1024, 2, 256), "64x2, 64": (64, 2, 64)}
PARTS: dict[str, dict[str, Any]] = {
    "by hand": {},
    "by tape": {},
    "gelu": {"activation": "gelu"},
    "silu": {"activation": "silu"},
    "batch": {"normalization": "batch"},
    "layer": {"normalization": "layer"},
    "noise": {"noise": 0.1},
    "residual": {"residual": True},
    "max_norm": {"max_norm": 3.0},
    "weight_decay": {"weight_decay": 0.01},
    "gradient_clip": {"gradient_clip": 1.0},
    "ema": {"ema": 0.99},
    "label_smoothing": {"label_smoothing": 0.1},
    "shift and flip": {"shift": 2, "flip": True},
}


def epochs_of(rows: Any, shape: tuple[int, int, int], name: str, precision: Any) -> Any:
    """Yields processor seconds of epochs of one network, one epoch at a time."""
    from pipelines.config import Hyperparameters
    from pipelines.network.epoch import fused_epoch
    from pipelines.network.steps.schedules import learning_rates
    from pipelines.training.pack import Network, Pack

    width, depth, batch_size = shape
    hp = Hyperparameters(width, depth, 0.2, "adam", 0.001, "constant", 99, batch_size, **PARTS[name])
    pack = Pack(rows, hp, [Network(0)], "cross_entropy", precision)
    if name == "by tape":  # networks whose layers differ in width have no handwritten gradient
        program = pack._program
        program = program._replace(network=program.network._replace(narrows=True))
        pack._train = fused_epoch("adam", program, 1)
    rates = learning_rates(hp, len(rows.training.y), 0)
    for epoch in range(99):
        before = time.process_time()
        pack.train(epoch, rates, 1)
        yield time.process_time() - before


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures every network with every part, an epoch of each in turn, and keeps the least of each."""
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(1)
    from pipelines.data.datasets import Dataset, Split
    from pipelines.data.preprocessing import Preprocessing
    from pipelines.training.rows import TrainingRows

    rng = np.random.default_rng(0)
    x, y = (
        rng.integers(0, 256, (options.rows, 28, 28)).astype(np.uint8),
        rng.integers(0, 10, options.rows).astype(np.int32),
    )
    split = Split(x, y)
    dataset = Dataset("noise", split, split.head(100), Preprocessing((28, 28), tuple("0123456789"), 0.0, 255.0), "", 0)
    rows, found = TrainingRows.of(dataset), []
    for network in options.networks:
        running = {name: epochs_of(rows, NETWORKS[network], name, options.precision) for name in PARTS}
        for each in running.values():
            next(each)  # traces
        turns = [{name: next(each) for name, each in running.items()} for _ in range(options.repeats)]
        found.append({"network": network} | {name: min(turn[name] for turn in turns) for name in PARTS})
    return found


def show(rows: list[dict[str, Any]]) -> Table:
    """A table of the cost beside the handwritten gradient's."""
    view = Table(title="Processor time of an epoch of one network on one core, beside dense layers, ReLU and dropout")
    for column in ("network, batch", "by hand, s", *list(PARTS)[1:]):
        view.add_column(column, justify="right")
    for row in rows:
        costs = [f"{row[name] / row['by hand']:.2f}" for name in list(PARTS)[1:]]
        view.add_row(row["network"], f"{row['by hand']:.2f}", *costs)
    return view


def main() -> None:
    """Measures, shows and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rows", type=int, default=12_800)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    machine = harness.machine()
    rows = measure(options)
    harness.console().print(show(rows))
    harness.write_result(harness.RESULTS / "parts.json", {"machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
