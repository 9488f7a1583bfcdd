"""The cost of folds for a search, and of seeds for finalists, and the time of a study of the digits to its leaderboard.

``python benchmarks/folds.py [--sources NAME ...]`` prints a table and writes results/folds.json; about ten minutes on
two cores, on which nothing else should run. The exit code is 1 where a limit of ``LIMITS`` is passed.
``--sources digits --trials 4`` is a quick try.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
from peers.table_rows import TARGETS
from rich.table import Table

SOURCES = ("digits", "credit", "churn", "attrition")
N_FOLDS, N_SEEDS, N_TOP, N_HELPS = 5, 5, 3, 5
LIMITS = {"folds": 2.2, "seeds": 2.0, "digits_one_split_s": 7.0, "digits_folds_s": 13.0, "help_s": 0.2}
"""Times of a search with one split, times of finalists with one seed, and seconds of commands."""
_LIMIT_S = 1800.0

Row = dict[str, Any]
"""The seconds of a source's commands."""


def seconds_of(home: Path, *words: str) -> float:
    """The time of a command, which must succeed.

    Raises:
        SystemExit: It fails.
    """
    outcome = harness.run([*harness.COMMAND, *words], home, _LIMIT_S, MLP_SEARCH_HOME=str(home))
    if outcome.exit_code != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {outcome.exit_code}\n{outcome.last_lines()}")
    return outcome.wall_s


def place_of(source: str, options: argparse.Namespace) -> str:
    """The path of a table, or the name of a built-in dataset."""
    return str(options.data / "tables" / f"{source}.csv") if source in TARGETS else source


def search_s(home: Path, source: str, folds: int, options: argparse.Namespace) -> float:
    """Seconds of ``mlp-search run`` with so many folds in a new home."""
    home.mkdir()
    given = [place_of(source, options), *(("--target", TARGETS[source]) if source in TARGETS else ())]
    return seconds_of(home, "run", *given, "--study", source, "--trials", str(options.trials), "--folds", str(folds))


def finalists_s(home: Path, source: str, seeds: int) -> float:
    """Seconds of ``mlp-search finalists`` in a copy of a home, in which no finalist is trained yet."""
    copy = home.with_name(f"{home.name}-{seeds}")
    shutil.copytree(home, copy)
    return seconds_of(copy, "finalists", source, "--top", str(N_TOP), "--seeds", str(seeds))


def measure(source: str, options: argparse.Namespace) -> Row:
    """The seconds of a source's two searches, and of its finalists with one seed and with several."""
    with harness.temporary_home() as folder:
        one_split_s = search_s(folder / "split", source, 1, options)
        folds_s = search_s(folder / "folds", source, N_FOLDS, options)
        one_seed_s, seeds_s = (finalists_s(folder / "folds", source, seeds) for seeds in (1, N_SEEDS))
    return {
        "source": source,
        "one_split_s": one_split_s,
        "folds_s": folds_s,
        "folds": folds_s / one_split_s,
        "one_seed_s": one_seed_s,
        "seeds_s": seeds_s,
        "seeds": seeds_s / one_seed_s,
    }


def verdicts(rows: Sequence[Row], help_s: float, trials: int) -> list[tuple[str, bool]]:
    """Each limit that was measured, and whether it is held."""
    found = []
    for row in rows:
        source = row["source"]
        line = f"{source}: {trials} trials with {N_FOLDS} folds take {row['folds']:.2f} times those with one split"
        found.append((f"{line}, at most {LIMITS['folds']:g}", row["folds"] <= LIMITS["folds"]))
        line = f"{source}: finalists with {N_SEEDS} seeds take {row['seeds']:.2f} times those with one"
        found.append((f"{line}, at most {LIMITS['seeds']:g}", row["seeds"] <= LIMITS["seeds"]))
        for name in ("one_split_s", "folds_s") if source == "digits" else ():
            limit = LIMITS[f"digits_{name}"]
            how = "one split" if name == "one_split_s" else f"{N_FOLDS} folds"
            line = f"digits: {trials} trials with {how} take {row[name]:.1f} s, at most {limit:g} s"
            found.append((line, row[name] <= limit))
    return [*found, (f"--help takes {help_s:.2f} s, at most {LIMITS['help_s']:g} s", help_s <= LIMITS["help_s"])]


def table(rows: Sequence[Row]) -> Table:
    view = Table(title=f"Seconds of searches, and of finalists --top {N_TOP} of the search with folds")
    columns = ("one split", f"{N_FOLDS} folds", "times", "one seed", f"{N_SEEDS} seeds", "times")
    for column in ("source", *columns):
        view.add_column(column, justify="left" if column == "source" else "right")
    for row in rows:
        keys = ("one_split_s", "folds_s", "folds", "one_seed_s", "seeds_s", "seeds")
        view.add_row(row["source"], *(f"{row[key]:.{1 if key.endswith('_s') else 2}f}" for key in keys))
    return view


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--data", type=Path, help="folder of tables/ and mnist.npz")
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "folds.json")
    arguments = parser.parse_args()
    arguments.data = harness.data_folder(arguments.data)
    return arguments


def main() -> int:
    arguments = parse_arguments()
    machine, rows = harness.machine(), []
    with harness.temporary_home() as home:
        help_s = min(seconds_of(home, "--help") for _ in range(N_HELPS))
    for source in arguments.sources:
        print(f"{source} ...", file=sys.stderr)
        rows.append(measure(source, arguments))
    found = verdicts(rows, help_s, arguments.trials)
    harness.console().print(table(rows))
    harness.show_verdicts(found)
    result = {"machine": machine, "options": harness.options(arguments), "limits": LIMITS, "help_s": help_s}
    harness.write_result(arguments.output, {**result, "sources": rows, "holds": dict(found)})
    return 0 if all(is_held for _, is_held in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
