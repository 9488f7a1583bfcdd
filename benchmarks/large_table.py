"""Peak memory of loading a large Parquet file, beside the arrays that are kept.

``python benchmarks/large_table.py [--rows N] [--columns N] [--text N] [--whole N]`` writes a table to a temporary
folder and loads it in a fresh process. The peak is that process's highest resident memory (``VmHWM``) less that of
one that loads a table of 100 rows, so it holds neither the interpreter nor the imports of pandas and pyarrow. The
arrays that are kept are features, targets and weights of the training and validation rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import RESULTS, console, machine, temporary_home, write_result
from pyarrow import parquet
from rich.table import Table

MB = 1e6
N_FEW = 100
ROW_GROUP = 1 << 20
LOAD = """
import json, re, sys, time
from pathlib import Path
from pipelines.config import DataConfig
from pipelines.data.loading import load
started = time.perf_counter()
said = []
dataset = load(DataConfig(sys.argv[1]), note=said.append)
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
arrays = [a for s in (dataset.training, dataset.validation) for a in (s.x, s.y, s.weight) if a is not None]
record = {"peak": peak, "kept": sum(a.nbytes for a in arrays), "seconds": time.perf_counter() - started}
print(json.dumps({**record, "said": said[:1], "fingerprint": dataset.fingerprint}))
"""


def generate(path: Path, n_rows: int, columns: argparse.Namespace) -> None:
    """Writes rows group by group: normal numbers, whole numbers, words, and a real target."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "violet"])
    n_numbers = columns.columns - 1 - columns.text - columns.whole
    writer = None
    for start in range(0, n_rows, ROW_GROUP):
        n = min(ROW_GROUP, n_rows - start)
        rows = {f"number_{k}": rng.normal(size=n) for k in range(n_numbers)}
        rows |= {f"whole_{k}": rng.integers(0, 1000, n) for k in range(columns.whole)}
        rows |= {f"text_{k}": words[rng.integers(0, len(words), n)] for k in range(columns.text)}
        rows["target"] = rows["number_0"] + rng.normal(size=n)
        table = pa.table(rows)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def measure(path: Path) -> dict[str, float]:
    """Loads a table in a fresh process."""
    command = [sys.executable, "-c", LOAD, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=20, help="with the target")
    parser.add_argument("--text", type=int, default=0)
    parser.add_argument("--whole", type=int, default=4)
    parser.add_argument("--output", type=Path, default=RESULTS / "large_table.json")
    arguments = parser.parse_args()
    with temporary_home() as folder:
        few, many = folder / "few.parquet", folder / "many.parquet"
        generate(few, N_FEW, arguments)
        started = time.perf_counter()
        generate(many, arguments.rows, arguments)
        print(f"written in {time.perf_counter() - started:.0f} s, {many.stat().st_size / MB:.0f} MB", file=sys.stderr)
        empty, full = measure(few), measure(many)
    held = full["peak"] - empty["peak"]
    row = {
        "rows": arguments.rows, "columns": arguments.columns, "kept_mb": round(full["kept"] / MB),
        "peak_mb": round(held / MB), "ratio": round(held / full["kept"], 3), "imports_mb": round(empty["peak"] / MB),
        "seconds": round(full["seconds"], 1),
    }  # fmt: skip
    table = Table(*(name.replace("_", " ") for name in row))
    table.add_row(*map(str, row.values()))
    console().print(table)
    print(full["said"], full["fingerprint"])
    write_result(arguments.output, {"machine": machine(), "rows": [row]})


if __name__ == "__main__":
    main()
