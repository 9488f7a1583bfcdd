"""``delete``, ``prune-models`` and ``rename``: what is deleted is named first."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

import search
from search.cli.options import Home, Json, Study, argument, option
from search.home.text import times
from search.reporting import display

Yes = Annotated[bool, typer.Option("--yes", help="Delete without a question.")]
Keep = Annotated[int, option("N", "Number of the best complete trials that keep their model files.")]
NewName = Annotated[str, argument("NAME", "Its new name.")]
_MB = 1_000_000


def delete(study: Study, yes: Yes = False, home: Home = None, as_json: Json = False) -> None:
    """Delete a study: its trials, its runs in MLflow and their files; a registered model forbids that.

    Example: mlp-search delete digits
    """
    found = search.delete_study(study, dry_run=True, home=home)
    read = f"; its test was read {times(found.seal_opened)}, which MLflow still counts" if found.seal_opened else ""
    _confirm(f"study {study}: {found.trials} trials and {found.runs} runs with their files{read}", yes=yes)
    result = search.delete_study(study, home=home)
    display.show([f"deleted study {study}"], asdict(result), as_json=as_json)


def prune_models(study: Study, keep: Keep = 10, yes: Yes = False, home: Home = None, as_json: Json = False) -> None:
    """Delete the model files of all trials but the best ones, the finalists' and those of registered models.

    Example: mlp-search prune-models digits --keep 10
    """
    found = search.prune_models(study, keep=keep, dry_run=True, home=home)
    size, n_files = f"{found.size_bytes / _MB:,.1f} MB", len(found.trials)
    if n_files:
        _confirm(f"study {study}: {n_files:,} model files, {size}, of trials {_listed(found.trials)}", yes=yes)
        found = search.prune_models(study, keep=keep, home=home)
    line = f"deleted {n_files:,} model files, {size}; {len(found.kept):,} trials keep theirs"
    display.show([line if n_files else "nothing to delete"], asdict(found), as_json=as_json)


def rename(study: Study, name: NewName, home: Home = None, as_json: Json = False) -> None:
    """Rename a study, in Optuna and in MLflow.

    Example: mlp-search rename digits digits-first-try
    """
    result = search.rename_study(study, name, home=home)
    display.show([f"study {study} is {name} now; {result.runs} runs have its name"], asdict(result), as_json=as_json)
    display.message(f"a study file with the old name starts another study: its study.name must be {name} to resume it")


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:10]))
    return f"{shown} and {len(numbers) - 10:,} more" if len(numbers) > 10 else shown


def _confirm(what: str, *, yes: bool) -> None:
    """Names what is deleted, and asks on a terminal; elsewhere ``--yes`` is the answer."""
    display.message(f"to be deleted: {what}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("--yes: must be given where nobody can be asked; nothing was deleted")
    if not typer.confirm("delete that?", err=True):
        display.message("nothing was deleted")
        raise typer.Exit(1)
