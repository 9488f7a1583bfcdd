"""Memory and pace of a study of 2,000 tiny trials, and response times afterwards.

``mlp-search run`` searches digits in a temporary home, and its memory is sampled five times a second. A trial ends
at the time in Optuna's database; the time between trials is the median over up to 200 of them. Afterwards
``mlp-search trials`` is timed as a process, and the request behind MLflow's page (the best 100 runs) against the server
of ``mlp-search ui``; then ``prune-models --keep 10``, and ``doctor``, which must find nothing, once each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ours
import psutil
import requests
from harness import COMMAND, RESULTS, Outcome, console, machine, temporary_home, write_result
from rich.table import Table

from search.operations.ui import serving

MB = 2**20
PORT = 5987
SPAN = 200
"""Trials that are looked at together, a third where there are few; the first of them warm up."""
KEEP = 10
"""Model files that ``prune-models`` leaves."""
STUDY = """\
[study]
name = "long"
trials = {trials}
[data]
source = "digits"
[space]
width = {{ low = 8, high = 32 }}
depth = 1
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
dropout = {{ low = 0.0, high = 0.5 }}
epochs = {{ low = 1, high = 5 }}
batch_size = 128
[workers]
slots = 1
"""


def watch(process: subprocess.Popen[bytes]) -> list[tuple[float, int]]:
    """The memory of a process until it ended: (seconds since 1970, bytes)."""
    held, parent = [], psutil.Process(process.pid)
    while process.poll() is None:
        held.append((time.time(), parent.memory_info().rss))
        time.sleep(0.2)
    return [row for row in held if row[1]]  # one that has just ended holds nothing


def run(home: Path, n_trials: int) -> tuple[float, list[tuple[float, int]]]:
    """Runs the study; returns when it began and what its process held.

    Raises:
        SystemExit: The command failed.
    """
    file = home / "long.toml"
    file.write_text(STUDY.format(trials=n_trials))
    command = [*COMMAND, "run", str(file), "--home", str(home), "--json"]
    started = time.time()
    with (home / "stdout.txt").open("wb") as out, (home / "stderr.txt").open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        held = watch(process)
    if process.returncode:
        raise SystemExit((home / "stderr.txt").read_text()[-2000:])
    return started, held


def figures(outcome: Outcome, held: list[tuple[float, int]]) -> dict[str, float]:
    """Memory after the first trials and at most since then; the time between trials at the start and at the end."""
    ends = sorted(end for end, _ in ours.finished_trials(outcome, "long").values())
    gaps = [1000 * (b - a) for a, b in itertools.pairwise(ends)]
    span = min(SPAN, len(gaps) // 3)
    later = [rss for at, rss in held if at - outcome.started >= ends[span - 1]]
    warm, most = later[0], max(later)
    first, last = statistics.median(gaps[span : 2 * span]), statistics.median(gaps[-span:])
    return {
        "memory_after_200_mb": warm / MB, "memory_at_most_mb": most / MB, "memory_growth": most / warm - 1,
        "between_trials_first_ms": first, "between_trials_last_ms": last, "slower": last / first,
    }  # fmt: skip


def median_s(call: Callable[[], Any]) -> float:
    """The median time of five calls."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def type_(home: Path, *words: str) -> str:
    """Runs a command, which must succeed; returns what it printed."""
    command = [*COMMAND, *words, "--home", str(home)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def waits(home: Path, n_trials: int) -> dict[str, float]:
    """Seconds that people wait for the leaderboard, for one trial, and for the runs on MLflow's page."""
    with serving(home, "127.0.0.1", PORT) as server:
        api = f"{server.url}/ajax-api/2.0/mlflow"
        found = requests.get(f"{api}/experiments/get-by-name", {"experiment_name": "long"}, timeout=60).json()
        order = ["metrics.`best_val_accuracy` DESC"]
        query = {"experiment_ids": [found["experiment"]["experiment_id"]], "order_by": order, "max_results": 100}

        def page() -> None:
            answer = requests.post(f"{api}/runs/search", json=query, timeout=60)
            assert len(answer.json()["runs"]) == min(100, n_trials)

        page_s = median_s(page)
    return {
        "trials_s": median_s(lambda: type_(home, "trials", "long", "--top", "20")),
        "show_s": median_s(lambda: type_(home, "show", "long", "0")),
        "page_s": page_s,
    }


def upkeep(home: Path) -> dict[str, float]:
    """Seconds of deleting model files, how many were deleted, and seconds of checking the home that is left."""
    started = time.perf_counter()
    pruned = json.loads(type_(home, "prune-models", "long", "--keep", str(KEEP), "--yes", "--json"))
    took = time.perf_counter() - started
    started = time.perf_counter()
    type_(home, "doctor")
    return {"prune_models_s": took, "pruned_models": len(pruned["trials"]), "doctor_s": time.perf_counter() - started}


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=RESULTS / "long_run.json")
    arguments = parser.parse_args()
    with temporary_home() as home:
        started, held = run(home, arguments.trials)
        outcome = Outcome(home, started, time.time() - started, 0, 0.0)
        row = {"trials": arguments.trials, "wall_s": outcome.wall_s, **figures(outcome, held)}
        row |= waits(home, arguments.trials) | upkeep(home)
    table = Table("figure", "value")
    for name, value in row.items():
        table.add_row(name.replace("_", " "), f"{value:.2f}")
    console().print(table)
    write_result(arguments.output, {"machine": machine(), "rows": [row]})


if __name__ == "__main__":
    main()
