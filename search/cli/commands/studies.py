"""``studies``, ``trials``, ``show``, ``report``: the results of searches."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import search
from search.cli import tables
from search.cli.options import Home, Study, option
from search.reporting import display
from search.reporting.configurations import short
from search.reporting.screen import is_json
from search.reporting.trial_table import leaderboard_table

Top = Annotated[int | None, typer.Option(metavar="N", min=1, show_default="all", help="Show the best N trials.")]
Output = Annotated[Path | None, option("FILE.html", "The file to write.", "STUDY.html")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="The trial's number.")]


def studies(home: Home = None) -> None:
    """List the studies of this home.

    Example: mlp-search studies
    """
    found = search.studies(home=home)
    display.show([tables.studies_table(found, home)], [asdict(study) for study in found])


def trials(
    study: Study,
    top: Top = None,
    sort: Annotated[str | None, option("[-]COLUMN", "Sort by a column or a hyperparameter; -: largest first.")] = None,
    conditions: Annotated[
        list[str] | None, option("CONDITION", 'Show the trials with "depth == 2".', None, "--filter")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a column for each hyperparameter.")] = False,
    home: Home = None,
) -> None:
    """Show a study's leaderboard: complete trials by rank, then pruned and failed ones.

    Example: mlp-search trials digits --top 10 --filter "depth == 2"
    """
    from search.reporting import trial_rows

    if as_csv and is_json():
        raise typer.BadParameter("--csv and --json: choose one of them")
    found = search.trials(study, home=home)
    condition = " and ".join(conditions) if conditions else None
    kept = trial_rows.matching(found, condition) if condition is not None else found
    kept = trial_rows.ordered(kept, sort) if sort else kept
    if as_csv:
        display.show_text(trial_rows.to_csv(kept[:top], found))
        return
    document = [asdict(row) for row in kept[:top]]
    if not kept:
        display.show(["no trial meets the condition" if found else "no trials yet"], document)
        return
    table = leaderboard_table(kept[:top], _title(study, condition, sort), len(kept))
    display.show([table, *display.baseline(found)], document)


def _title(study: str, condition: str | None, sort: str | None) -> str:
    chosen = "" if condition is None else f", trials with {condition}"
    return f"study {study}{chosen}" + (f", by {sort}" if sort else "")


def show(study: Study, number: Number, home: Home = None) -> None:
    """Explain in a paragraph why a trial is the best, was pruned or failed.

    Example: mlp-search show digits 7
    """
    explanation = search.explain_trial(study, number, home=home)
    document = asdict(explanation.row) | {"explanation": explanation.text}
    display.show(explanation_lines(explanation), document)


def explanation_lines(explanation: search.Explanation) -> list[str]:
    """A trial in a paragraph, its configuration and its run."""
    row = explanation.row
    precision = f", matrix products in {row.precision}" if row.precision else ""
    return [
        explanation.text,
        f"Configuration: {short(row.params)}{precision}.",
        f"MLflow run: {row.run_id or 'none yet'}.",
    ]


def report(study: Study, output: Output = None, home: Home = None) -> None:
    """Write one self-contained page of a study: its search, results, pruning and tests; it opens without a network.

    Example: mlp-search report digits --output digits.html
    """
    from search.reporting.report import write_report

    path = write_report(study, output, home=home)
    display.show([f"{path}: open it in a browser"], {"path": str(path)})
