"""Memory of a long study of small trials: the searching process, and the process of each slot.

``python benchmarks/memory.py [--trials N]`` runs ``mlp-search run digits`` in a temporary home and samples its
processes five times a second. Resident memory counts the pages that the processes share once for each of them.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import psutil
from harness import COMMAND, RESULTS, console, machine, temporary_home, write_result
from rich.table import Table

MB = 2**20


def watch(process: subprocess.Popen[bytes]) -> tuple[int, dict[int, list[int]]]:
    """The peak memory of the process, and the memory of each descendant over time, in bytes."""
    parent, peak, series = psutil.Process(process.pid), 0, {}
    while process.poll() is None:
        try:
            peak = max(peak, parent.memory_info().rss)
            for child in parent.children(recursive=True):
                series.setdefault(child.pid, []).append(child.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.2)
    return peak, series


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS / "memory.json")
    arguments = parser.parse_args()
    with temporary_home() as home:
        command = [*COMMAND, "run", "digits", "--json", "--home", str(home)]
        options = ["--trials", str(arguments.trials), "--workers", str(arguments.workers)]
        started = time.perf_counter()
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak, series = watch(process)
        wall_s = time.perf_counter() - started
    # The fork server, which never trains, and short-lived helpers are among the children: workers are the largest.
    workers = sorted((max(held) for held in series.values()), reverse=True)
    row = {
        "trials": arguments.trials, "exit_code": process.returncode, "wall_s": round(wall_s, 1),
        "searching_process_mb": peak // MB, "largest_child_mb": workers[0] // MB, "children": len(workers),
    }  # fmt: skip
    table = Table(*(name.replace("_", " ") for name in row))
    table.add_row(*map(str, row.values()))
    console().print(table)
    write_result(arguments.output, {"machine": machine(), "rows": [row]})


if __name__ == "__main__":
    main()
