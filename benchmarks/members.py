"""Several networks in one program: what trials of 1, 5 and 10 networks of one shape cost, and one after the other.

``python benchmarks/members.py [--widths N ...] [--members N ...]`` prints a table and writes results/members.json; two
minutes on a quiet machine. The exit code is 1 where a trial of five networks costs more than 2 times one of one network
at a width of at most 64, or 3 times at 128.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np
from rich.table import Table

WIDTHS = (32, 64, 128, 256, 512)
MEMBERS = (1, 5, 10)
TRIAL_EPOCHS = 20
"""Epochs of the trials that are counted."""
LIMITED_MEMBERS, LIMITS = 5, {64: 2.0, 128: 3.0}
"""Most that a trial of so many networks may cost, in trials of one network, up to each width."""
_BATCH = {32: 32, 64: 32, 128: 64}
Row = dict[str, Any]
"""The figures of a width and a number of networks."""


def epoch_s(rows: Any, width: int, n_members: int, options: argparse.Namespace, at_once: int | None) -> float:
    """Processor seconds of an epoch of some networks on one core, the least of the repeats after a first one."""
    from pipelines.config import Hyperparameters
    from pipelines.training import training as module

    hp = Hyperparameters(
        width=width, depth=2, batch_size=_BATCH.get(width, 128), epochs=options.repeats + 1, optimizer="adam"
    )
    rule = module.networks_at_once
    if at_once is not None:
        module.networks_at_once = lambda *_, **__: at_once  # type: ignore[assignment]
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


def measure(options: argparse.Namespace) -> list[Row]:
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


def judged(rows: list[Row]) -> list[Row]:
    """The measured rows with trials a minute of a core, the cost beside one network, its limit and whether it holds."""
    single = {row["width"]: row["ours_s"] for row in rows if row["members"] == 1}
    found = []
    for row in rows:
        rates = {f"{key}_trials": 60 / (TRIAL_EPOCHS * row[f"{key}_s"]) for key in ("ours", "one_by_one", "together")}
        limited = [limit for width, limit in LIMITS.items() if row["width"] <= width]
        limit = limited[0] if limited and row["members"] == LIMITED_MEMBERS else None
        cost = row["ours_s"] / single[row["width"]] if row["width"] in single else None
        holds = None if limit is None or cost is None else cost <= limit
        found.append({**row, **rates, "cost": cost, "limit": limit, "holds": holds})
    return found


def show(rows: list[Row]) -> Table:
    """A table of trials a minute of a core, and of the cost beside one network."""
    view = Table(title=f"Trials of {TRIAL_EPOCHS} epochs, processor time of one core")
    for column in ("width", "networks", "trials a minute", "one by one", "all in one", "cost of one", "limit"):
        view.add_column(column, justify="right")
    for row in rows:
        rates = (row[f"{key}_trials"] for key in ("ours", "one_by_one", "together"))
        ratios = (row["cost"], row["limit"])
        cells = (*(f"{rate:.1f}" for rate in rates), *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
        view.add_row(f"{row['width']}", f"{row['members']}", *cells)
    return view


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--members", type=int, nargs="+", default=MEMBERS)
    parser.add_argument("--repeats", type=int, default=20, help="epochs of which the one of least time counts")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--features", type=int, help="of 4,000 rows of a table; the digits by default")
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "members.json")
    options = parser.parse_args()
    machine = harness.machine()
    rows = judged(measure(options))
    harness.console().print(show(rows))
    limited = [row for row in rows if row["holds"] is not None]
    line = "{members} networks of width {width} cost {cost:.2f} times one, at most {limit:g}"
    harness.show_verdicts([(line.format(**row), row["holds"]) for row in limited])
    result = {"machine": machine, "options": harness.options(options), "trial_epochs": TRIAL_EPOCHS, "rows": rows}
    harness.write_result(options.output, result)
    return 0 if all(row["holds"] for row in limited) else 1


if __name__ == "__main__":
    raise SystemExit(main())
