"""Real tables: searches of our presets beside other networks, boosted trees and a linear model, on the same rows.

python benchmarks/tables.py --tables hpc concrete --timeout 15 --seeds 1
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import harness
from peers.table_rows import TARGETS
from rich.table import Table

SCRIPTS = {
    "strong": "tables_ours.py",
    "classic": "tables_ours.py",
    "sklearn-mlp": "tables_sklearn.py",
    "kerastuner": "tables_kerastuner.py",
    "realmlp": "tables_sklearn.py",
    "boosting": "tables_sklearn.py",
    "linear": "tables_sklearn.py",
}
NETWORKS = ("strong", "classic", "sklearn-mlp", "kerastuner", "realmlp")
_NEEDED = {"kerastuner": "keras_tuner", "realmlp": "pytabkit"}
_ACCURACY = ("hpc",)
_GRACE_S = 600.0

Scores = dict[str, dict[str, dict[str, float]]]
"""metrics by ``TABLE/SEED`` and system"""


def headline(table: str, metrics: dict[str, float]) -> tuple[str, float]:
    """The metric that ranks a table: R², accuracy for more than two classes, else AUC."""
    name = "r2" if "r2" in metrics else "accuracy" if table in _ACCURACY else "auc"
    return name, metrics[name]


def ranks(scores: Scores, systems: list[str]) -> dict[str, float]:
    """Mean rank of each of the systems over the tables and seeds in which all have a score; equal ones share a rank."""
    found: dict[str, list[float]] = {system: [] for system in systems}
    for place, of_place in scores.items():
        values = {name: headline(place.split("/")[0], of_place[name])[1] for name in systems if name in of_place}
        if len(values) < len(systems):
            continue
        for name, value in values.items():
            above, equal = (sum(test) for test in zip(*((v > value, v == value) for v in values.values()), strict=True))
            found[name].append(above + (equal + 1) / 2)
    return {name: sum(places) / len(places) for name, places in found.items() if places}


def run_system(name: str, table: Path, target: str, timeout: float, seed: int) -> dict[str, float]:
    """Runs a system as a process of its own in a home of its own; empty where it fails, which is said."""
    with harness.temporary_home() as home:
        output = home / "metrics.json"
        values = {"table": table, "target": target, "seconds": timeout, "seed": seed, "output": output}
        arguments = [name, *(text for key, value in values.items() for text in (f"--{key}", str(value)))]
        outcome = harness.run_peer(SCRIPTS[name], arguments, home, timeout + _GRACE_S)
        if not output.exists():
            print(f"{name} on {table.stem}: failed\n{outcome.last_lines()}", file=sys.stderr)
            return {}
        metrics: dict[str, float] = json.loads(output.read_text())
        return metrics


def show(scores: Scores, systems: list[str]) -> None:
    """Prints the metrics of each table, and mean ranks among all systems and among networks."""
    table = Table("table/seed", "metric", *systems)
    for place, of_place in scores.items():
        found = {name: headline(place.split("/")[0], metrics) for name, metrics in of_place.items()}
        metric = next(iter(found.values()))[0] if found else ""
        table.add_row(place, metric, *(f"{found[name][1]:.4f}" if name in found else "-" for name in systems))
    networks = [name for name in systems if name in NETWORKS]
    for title, group in (("mean rank", systems), ("mean rank of networks", networks)):
        of_group = ranks(scores, group)
        table.add_row(title, "", *(f"{of_group[name]:.2f}" if name in of_group else "-" for name in systems))
    harness.console().print(table)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    data = os.environ.get("MLP_SEARCH_DATA", harness.FOLDER.parent.parent / "shared" / "data")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(data) / "tables", help="folder of the tables")
    parser.add_argument("--tables", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds of each search")
    parser.add_argument("--seeds", type=int, default=3, help="number of split seeds")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "tables.json")
    return parser.parse_args()


def main() -> None:
    options, scores = arguments(), Scores()
    systems = [name for name in options.only if importlib.util.find_spec(_NEEDED.get(name, "numpy"))]
    for name in set(options.only) - set(systems):
        print(f"{name}: left out, because {_NEEDED[name]} is not installed", file=sys.stderr)
    for seed in range(options.seeds):
        for table in options.tables:
            path = (options.data / f"{table}.csv").resolve()
            found = {name: run_system(name, path, TARGETS[table], options.timeout, seed) for name in systems}
            scores[f"{table}/{seed}"] = {name: metrics for name, metrics in found.items() if metrics}
            document: dict[str, Any] = {"machine": harness.machine(), "timeout_s": options.timeout, "scores": scores}
            harness.write_result(options.output, document)
    show(scores, systems)


if __name__ == "__main__":
    main()
