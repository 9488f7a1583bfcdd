"""The panel: eight given configurations, trained and stored by each system, everything counted.

``python benchmarks/panel.py [--only NAME ...] [--data FOLDER]`` prints a table and writes results/panel.json.
``python benchmarks/panel.py --gpu`` runs ours alone on the GPUs; the exit code is 1 where a trial trains elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import floor
import harness
import ours
from peers.options import Options
from peers.problem import CONFIGURATIONS, PANEL_EPOCHS
from rich.table import Table

from search.devices.gpus import find_gpus

_PEERS = {
    "optuna-mlflow": ("optuna_mlflow.py", "log_model"),
    "optuna-mlflow-h5": ("optuna_mlflow.py", "h5"),
    "kerastuner": ("kerastuner.py", "log_model"),
    "ray-tune": ("ray_tune.py", "log_model"),
}
SYSTEMS = ("floor", "ours", *_PEERS)


def run_peer(name: str, home: Path, arguments: argparse.Namespace) -> tuple[harness.Outcome, dict[str, Any]]:
    script, model = _PEERS[name]
    options = Options(
        mode="panel",
        data=arguments.data,
        journal=home / harness.JOURNAL,
        limit=arguments.limit,
        epochs=arguments.epochs,
        model=model,
    )
    outcome = harness.run_peer(script, options.arguments(), home, arguments.time_limit)
    epochs = harness.journal_of(home)
    best = max((epoch["val_accuracy"] for epoch in epochs), default=None)
    return outcome, {"best_val_accuracy": best, "n_epochs": len(epochs)}


def run_ours(home: Path, arguments: argparse.Namespace) -> tuple[harness.Outcome, dict[str, Any]]:
    study = home / "panel.toml"
    study.write_text(ours.panel_study(arguments.data, arguments.limit, arguments.epochs), encoding="utf-8")
    outcome = ours.run(home, arguments.data, arguments.time_limit, str(study))
    if outcome.exit_code != 0:
        return outcome, {"best_val_accuracy": None}
    startup_s, rows = ours.startup_s(outcome, "panel"), ours.trial_rows(outcome, "panel")
    found = {
        "best_val_accuracy": ours.summary(outcome)["best"]["value"],
        "n_epochs": sum(row["epochs_trained"] for row in rows),
        "devices": [row["device"] or "no device" for row in rows],
        "startup_s": startup_s,
        "without_startup_s": outcome.wall_s - startup_s,
    }
    return outcome, found


def run_system(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    with harness.temporary_home(arguments.keep) as home:
        outcome, found = run_ours(home, arguments) if name == "ours" else run_peer(name, home, arguments)
        n_models = sum(1 for pattern in ("*.h5", "*.keras") for _ in home.rglob(pattern))
        expected = arguments.limit * arguments.epochs
        complete = outcome.exit_code == 0 and found.get("n_epochs") == expected and n_models == arguments.limit
        if not complete:
            print(f"{name}: exit code {outcome.exit_code}, {found}, {n_models} models\n{outcome.last_lines()}")
    return {
        "name": name,
        "complete": complete,
        "wall_s": outcome.wall_s,
        "load_before": outcome.load_before,
        "n_models": n_models,
        **found,
    }


def table(rows: list[dict[str, Any]], bottom: dict[str, float] | None) -> Table:
    ours_s = next((row["wall_s"] for row in rows if row["name"] == "ours" and row["complete"]), None)
    view = Table(title="Eight configurations, everything counted")
    view.add_column("system", no_wrap=True)
    for column in ("wall s", "ours / it", "val accuracy", "start-up s", "rest s", "rest / floor"):
        view.add_column(column, justify="right")
    for row in rows:
        rest_s = row.get("without_startup_s")
        view.add_row(
            row["name"] if row["complete"] else f"{row['name']} (failed)",
            f"{row['wall_s']:.1f}",
            _number(ours_s / row["wall_s"] if ours_s and row["complete"] else None, 2),
            _number(row["best_val_accuracy"], 4),
            _number(row.get("startup_s"), 1),
            _number(rest_s, 1),
            _number(rest_s / bottom["floor_s"] if rest_s and bottom else None, 2),
        )
    if bottom:
        view.add_section()
        view.add_row("floor, all shapes", f"{bottom['floor_s']:.1f}", *[""] * 5)
        view.add_row("floor, best shape", f"{bottom['peak_floor_s']:.1f}", *[""] * 5)
        view.caption = (
            f"{bottom['gflop']:.0f} GFLOP at {bottom['gflops']:.0f} GFLOP/s over the panel's shapes, "
            f"{bottom['peak_gflops']:.0f} at the best one"
        )
    return view


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, metavar="NAME", help=str(SYSTEMS))
    parser.add_argument("--data", type=Path, help="folder of mnist.npz")
    parser.add_argument("--limit", type=int, default=len(CONFIGURATIONS), help="the first N configurations only")
    parser.add_argument("--epochs", type=int, default=PANEL_EPOCHS)
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "panel.json")
    parser.add_argument("--time-limit", type=float, default=900.0, metavar="S", help="seconds of each system")
    parser.add_argument("--gpu", action="store_true", help="ours alone, each trial on a GPU")
    parser.add_argument("--keep", action="store_true", help="keep what the systems stored")
    arguments = parser.parse_args()
    if arguments.gpu and not find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES")):
        raise SystemExit("--gpu: must run where NVML shows a GPU, got none; nvidia-smi lists what the driver shows")
    arguments.only = ["ours"] if arguments.gpu else arguments.only
    arguments.data = harness.data_folder(arguments.data)
    return arguments


def main() -> int:
    arguments = parse_arguments()
    machine = harness.machine()
    bottom = floor.measure(arguments.limit, arguments.epochs) if "floor" in arguments.only else None
    rows = []
    for name in (name for name in SYSTEMS if name in arguments.only and name != "floor"):
        print(f"{name} ...", file=sys.stderr)
        rows.append(run_system(name, arguments))
    result = {
        "machine": machine,
        "configurations": arguments.limit,
        "epochs": arguments.epochs,
        "floor": bottom,
        "systems": rows,
    }
    harness.console().print(table(rows, bottom))
    harness.write_result(arguments.output, result)
    elsewhere = [device for row in rows for device in row.get("devices", ()) if not device.startswith("gpu:")]
    if arguments.gpu and elsewhere:
        print(f"{len(elsewhere)} trials trained on {elsewhere[0]} instead of a GPU", file=sys.stderr)
    return 0 if all(row["complete"] for row in rows) and not (arguments.gpu and elsewhere) else 1


if __name__ == "__main__":
    raise SystemExit(main())
