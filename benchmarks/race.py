"""The race: the best validation accuracy each system has after 60, 120 and 240 s, counted from process start.

``python benchmarks/race.py [--only NAME ...] [--seeds N]`` races us, with our starts and without them, against the
peers, all in the space of our preset ``strong``: five systems of 240 s, so 20 minutes a seed.
``python benchmarks/race.py --variants [NAME ...]`` races our own ways to search against each other.
Both print a table and write results/race.json (results/variants.json). The exit code is 1 where we are not ahead of
each peer at each mark, or where we need more than 20 s to pass what the peers have at the end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import harness
import ours
from peers.options import Options
from rich.table import Table

_PEERS = {"kerastuner": "kerastuner.py", "optuna-mlflow": "optuna_mlflow.py", "ray-tune": "ray_tune.py"}
OURS = ("ours", "ours-cold")
"""Our default study, and the same without starts."""
SYSTEMS = (*OURS, *_PEERS)
LIMIT_S = 20.0
"""In which ``ours`` passes, from the start of its process, the best that the peers have at the end."""
# One change at a time from the first, then the coldest.
VARIANTS = (
    "tpe-asha-searched-start",
    "random-asha-searched-start",
    "tpe-hyperband-searched-start",
    "tpe-median-searched-start",
    "tpe-none-searched-start",
    "tpe-asha-constant-start",
    "tpe-asha-searched-cold",
    "tpe-asha-constant-cold",
)
_OURS_GRACE_S = 30.0

Event = tuple[float, float]  # seconds after the start, validation accuracy
Row = dict[str, Any]
"""A race of one system, or its figures."""


def race_peer(name: str, seed: int, home: Path, arguments: argparse.Namespace) -> list[Event]:
    """A peer's epochs; it is ended when its time is over."""
    options = Options(
        mode="race",
        data=arguments.data,
        journal=home / harness.JOURNAL,
        seconds=arguments.seconds,
        seed=seed,
        space=arguments.space,
        schedule=arguments.schedule,
        model="h5",
    )
    outcome = harness.run_peer(_PEERS[name], options.arguments(), home, arguments.seconds + 1)
    if outcome.exit_code:
        print(f"{name}: exit code {outcome.exit_code}\n{outcome.last_lines()}")
    return [(epoch["time"] - outcome.started, epoch["val_accuracy"]) for epoch in harness.journal_of(home)]


def race_ours(name: str, seed: int, home: Path, arguments: argparse.Namespace) -> list[Event]:
    """Our epochs, each at its end: of the default study, of the same without starts, or of a variant."""
    source = "mnist"
    if name != "ours":
        is_cold = name == "ours-cold"
        study = ours.cold_study if is_cold else partial(ours.variant_study, ours.Variant.parse(name))
        path = home / "race.toml"
        path.write_text(study(seed, arguments.seconds), encoding="utf-8")
        source = str(path)
    words = [source, "--study", "race", "--timeout", f"{arguments.seconds:g}", "--seed", str(seed)]
    outcome = ours.run(home, arguments.data, arguments.seconds + _OURS_GRACE_S, *words)
    if outcome.exit_code != 0:
        print(f"{name}: exit code {outcome.exit_code}\n{outcome.last_lines()}")
    # One that was ended, as a busy machine kept it, counts with the epochs that it had stored.
    return [] if outcome.exit_code else ours.epoch_values(outcome, "race")


def improvements(events: list[Event]) -> list[Event]:
    """The events that were better than all before them, in their order."""
    kept: list[Event] = []
    for seconds, value in sorted(events):
        if not kept or value > kept[-1][1]:
            kept.append((seconds, value))
    return kept


def best_at(events: list[Event], mark_s: float) -> float | None:
    """The best value up to a moment; None before the first."""
    return max((value for seconds, value in events if seconds <= mark_s), default=None)


def race_once(name: str, seed: int, arguments: argparse.Namespace) -> Row:
    load = os.getloadavg()[0]
    with harness.temporary_home(arguments.keep) as home:
        race = race_peer if name in _PEERS else race_ours
        events = race(name, seed, home, arguments)
    return {
        "name": name,
        "seed": seed,
        "load_before": load,
        "best": {f"{mark:g}": best_at(events, mark) for mark in arguments.marks},
        "n_events": len(events),
        "improvements": improvements(events),
    }


def rows_of(runs: list[Row], marks: list[float]) -> list[Row]:
    """One row a system and mark: the mean over the seeds, the lowest and the highest; None where one has no value."""
    rows = []
    for name in dict.fromkeys(run["name"] for run in runs):
        for mark in marks:
            values = [run["best"][f"{mark:g}"] for run in runs if run["name"] == name]
            found = [function(values) for function in (statistics.mean, min, max)] if None not in values else [None] * 3
            mean, lowest, highest = found
            rows.append({"system": name, "mark_s": mark, "mean": mean, "lowest": lowest, "highest": highest})
    return rows


def passing_times(runs: list[Row], end_s: float) -> list[Row]:
    """For each of our systems and seeds, when it passed the best that the peers had at the end; None for never."""
    found = []
    for run in (run for run in runs if run["name"] in OURS):
        peers = [other for other in runs if other["name"] in _PEERS and other["seed"] == run["seed"]]
        best = max((other["best"][f"{end_s:g}"] or 0.0 for other in peers), default=None)
        if best is not None:
            seconds = next((seconds for seconds, value in run["improvements"] if value > best), None)
            found.append({"system": run["name"], "seed": run["seed"], "to_pass": best, "seconds": seconds})
    return found


def verdicts(rows: list[Row], passed: list[Row]) -> list[tuple[str, bool]]:
    """Each target that the systems which raced can be held against, and whether it is held."""
    means = {(row["system"], row["mark_s"]): row["mean"] for row in rows}
    found = []
    for name, mark in means:
        peers = [means[peer, mark] or 0.0 for peer in _PEERS if (peer, mark) in means]
        if name in OURS and peers:
            found.append((f"{name} is ahead of each peer at {mark:g} s", (means[name, mark] or 0.0) > max(peers)))
    for row in passed:
        at = "never" if row["seconds"] is None else f"after {row['seconds']:.1f} s"
        line = f"{row['system']}, seed {row['seed']}: passes the {row['to_pass']:.4f} of the peers {at}"
        if row["system"] == "ours":
            is_held = row["seconds"] is not None and row["seconds"] <= LIMIT_S
            found.append((f"{line}, at most {LIMIT_S:g} s", is_held))
    return found


def table(runs: list[Row], marks: list[float]) -> Table:
    """One row a system: the mean over the seeds at each mark, and the lowest and highest of several."""
    view = Table(title="Best validation accuracy on MNIST, counted from process start")
    view.add_column("system")
    for mark in marks:
        view.add_column(f"{mark:g} s", justify="right")
    for name in dict.fromkeys(run["name"] for run in runs):
        mine = [run for run in runs if run["name"] == name]
        view.add_row(name, *(_cell([run["best"][f"{mark:g}"] for run in mine]) for mark in marks))
    return view


def _cell(values: list[float | None]) -> str:
    reached = [value for value in values if value is not None]
    if len(reached) < len(values):
        return "none" if not reached else f"none in {len(values) - len(reached)} of {len(values)}"
    spread = f" ({min(reached):.4f} to {max(reached):.4f})" if len(reached) > 1 else ""
    return f"{statistics.mean(reached):.4f}{spread}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="NAME", help=str(SYSTEMS))
    parser.add_argument(
        "--variants",
        nargs="*",
        metavar="NAME",
        help=f"race our own ways to search instead, by default {', '.join(VARIANTS)}",
    )
    parser.add_argument("--seeds", type=int, default=1, help="run each with the seeds 0 to N-1")
    parser.add_argument("--seconds", type=float, default=240.0, help="marks: a quarter, half and all of it")
    parser.add_argument("--space", choices=["strong", "classic"], default="strong", help="for the peers")
    parser.add_argument("--without-schedule", dest="schedule", action="store_false", help="for the peers")
    parser.add_argument("--data", type=Path, help="folder of mnist.npz")
    parser.add_argument("--output", type=Path, help="by default results/race.json or results/variants.json")
    parser.add_argument("--keep", action="store_true", help="keep what the systems stored")
    arguments = parser.parse_args()
    arguments.data = harness.data_folder(arguments.data)
    arguments.marks = [arguments.seconds / 4, arguments.seconds / 2, arguments.seconds]
    return arguments


def main() -> int:
    arguments = parse_arguments()
    names = list(arguments.only) if arguments.variants is None else arguments.variants or list(VARIANTS)
    for name in names if arguments.variants is not None else []:
        ours.Variant.parse(name)
    machine, runs = harness.machine(), []
    for seed in range(arguments.seeds):
        for name in names:
            print(f"{name}, seed {seed} ...", file=sys.stderr)
            runs.append(race_once(name, seed, arguments))
    rows, passed = rows_of(runs, arguments.marks), passing_times(runs, arguments.seconds)
    found = verdicts(rows, passed)
    harness.console().print(table(runs, arguments.marks))
    harness.show_verdicts(found)
    result = {
        "machine": machine,
        "options": harness.options(arguments),
        "seconds": arguments.seconds,
        "rows": rows,
        "passed": passed,
        "holds": dict(found),
        "runs": runs,
    }
    default = harness.RESULTS / ("race.json" if arguments.variants is None else "variants.json")
    harness.write_result(arguments.output or default, result)
    return 0 if all(run["n_events"] for run in runs) and all(is_held for _, is_held in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
