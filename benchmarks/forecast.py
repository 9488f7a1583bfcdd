"""``plan`` beside what happens: a forecast and then the search, on digits, MNIST with a timeout, and a table.

Each case runs in a temporary home, and is planned a second time once the home has the first study. A row says whether
the search's time and number of trials lie inside the first forecast's range. Run it on a quiet machine: a load that
comes or goes between the two commands is not in the forecast; the load average of both moments is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import console, temporary_home
from rich.table import Table


@dataclass(frozen=True)
class Case:
    """A study file and its name in the table."""

    name: str
    text: str


def cases(table: Path, target: str) -> list[Case]:
    """The three studies; the table's rows are those of a file."""
    return [
        Case("digits, 24 trials", '[data]\nsource = "digits"\n[study]\nname = "case"\ntrials = 24\n'),
        Case("MNIST, 60 s", '[data]\nsource = "mnist"\n[study]\nname = "case"\ntimeout_s = 60\n'),
        Case(
            f"{table.stem}, 24 trials",
            f'[data]\nsource = "{table}"\ntarget = "{target}"\n[study]\nname = "case"\ntrials = 24\n',
        ),
    ]


def call(command: str, file: Path, home: Path) -> dict[str, Any]:
    """Runs a command of ``mlp-search`` and returns its JSON."""
    arguments = [sys.executable, "-m", "search", command, str(file), "--home", str(home), "--json"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure(case: Case, home: Path) -> list[str]:
    """Plans and runs a case; the cells of its row."""
    file = home / "case.toml"
    file.write_text(case.text)
    load = os.getloadavg()[0]
    plan, run = (call(command, file, home / "home") for command in ("plan", "run"))
    again = call("plan", file, home / "home")
    n_trials = sum(run["trials"].values())
    inside = plan["forecast_low_s"] <= run["wall_s"] <= plan["forecast_high_s"]
    inside = inside and plan["trials_low"] <= n_trials <= plan["trials_high"]
    return [
        case.name,
        f"{plan['forecast_s']:.0f} ({plan['forecast_low_s']:.0f} to {plan['forecast_high_s']:.0f})",
        f"{run['wall_s']:.0f}",
        f"{plan['trials_low']} to {plan['trials_high']}",
        str(n_trials),
        "yes" if inside else "no",
        f"{again['forecast_s']:.0f} ({again['forecast_low_s']:.0f} to {again['forecast_high_s']:.0f})",
        f"{load:.1f}, {os.getloadavg()[0]:.1f}",
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a table, such as churn.csv")
    parser.add_argument("--target", default="churn", help="its label column")
    arguments = parser.parse_args()
    columns = ("study", "forecast in s", "took", "trials forecast", "trials", "inside", "planned again", "load")
    table = Table(*columns)
    for case in cases(arguments.table.resolve(), arguments.target):
        with temporary_home() as home:
            table.add_row(*measure(case, home))
    console().print(table)


if __name__ == "__main__":
    main()
