"""Several networks in one program: what 1, 5 and 10 networks of one shape cost together and one after the other.

python benchmarks/members.py --widths 32 64 128 256 512 --members 1 5 10
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import harness
import numpy as np
from rich.table import Table

WIDTHS = (32, 64, 128, 256, 512)
MEMBERS = (1, 5, 10)
_BATCH = {32: 32, 64: 32, 128: 64}


def epoch_s(rows: Any, width: int, n_members: int, options: argparse.Namespace, at_once: int | None) -> float:
    """Processor seconds of an epoch of some networks on one core, the least of the repeats after a first one."""
    from pipelines.config import Hyperparameters
    from pipelines.training import training as module

    hp = Hyperparameters(
        width=width, depth=2, batch_size=_BATCH.get(width, 128), epochs=options.repeats + 1, optimizer="adam"
    )
    rule = module.networks_at_once
    if at_once is not None:
        module.networks_at_once = lambda *_: at_once  # type: ignore[assignment]
    try:
        training = module.Training(rows, hp, range(n_members), precision=options.precision)
    finally:
        module.networks_at_once = rule
    seconds, before = [], time.process_time()
    for _ in training:
        now = time.process_time()
        seconds.append(now - before)
        before = now
    return min(seconds[1:])


def measure(options: argparse.Namespace) -> list[dict[str, float]]:
    """Measures every width and number of networks."""
    from search.workers import trainer  # before any other module that imports TensorFlow

    trainer.configure_device(1)
    from pipelines.config import DataConfig
    from pipelines.data.datasets import Dataset, Split
    from pipelines.data.loading import load
    from pipelines.data.preprocessing import Preprocessing
    from pipelines.training.rows import TrainingRows

    if options.features:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(4000, options.features)).astype(np.float32), rng.integers(0, 2, 4000).astype(np.int32)
        preprocessing = Preprocessing((options.features,), ("no", "yes"), 0.0, 1.0)
        dataset = Dataset("table", Split(x[800:], y[800:]), Split(x[:800], y[:800]), preprocessing, "", 0)
    else:
        dataset = load(DataConfig("digits"))
    rows, found = TrainingRows.of(dataset), []
    for width in options.widths:
        for n_members in options.members:
            ours = epoch_s(rows, width, n_members, options, None)
            one_by_one = epoch_s(rows, width, n_members, options, 1)
            together = epoch_s(rows, width, n_members, options, n_members)
            row = {"width": width, "members": n_members, "ours_s": ours}
            found.append(row | {"one_by_one_s": one_by_one, "together_s": together})
    return found


def show(rows: list[dict[str, float]]) -> Table:
    """A table of epochs a minute of each network, and of the cost beside one network."""
    view = Table(title="Networks of one shape in one program, processor time of one core")
    for column in ("width", "networks", "epochs a minute", "one by one", "all in one", "cost of one", "all in one"):
        view.add_column(column, justify="right")
    single = {row["width"]: row["one_by_one_s"] for row in rows if row["members"] == 1}
    for row in rows:
        one = single.get(row["width"], row["one_by_one_s"] / row["members"])
        rates = (60 * row["members"] / row[key] for key in ("ours_s", "one_by_one_s", "together_s"))
        costs = (row[key] / one for key in ("ours_s", "together_s"))
        view.add_row(
            f"{row['width']:.0f}",
            f"{row['members']:.0f}",
            *(f"{rate:.0f}" for rate in rates),
            *(f"{c:.2f}" for c in costs),
        )
    return view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--members", type=int, nargs="+", default=MEMBERS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--features", type=int, help="of 4,000 rows of a table; the digits by default")
    options = parser.parse_args()
    machine = harness.machine()
    rows = measure(options)
    harness.console().print(show(rows))
    harness.write_result(harness.RESULTS / "members.json", {"machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
