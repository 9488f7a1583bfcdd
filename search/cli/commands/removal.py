"""``delete``, ``prune-models`` and ``rename``: what is deleted is named first."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import search
from pipelines.files.sources import SOURCES
from search.cli.options import Home, Study, argument, option, own_studies
from search.home.text import counted, times
from search.reporting import display
from search.reporting.screen import is_quiet

Yes = Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")]
StudyOrVersion = Annotated[str, argument("STUDY|MODEL/VERSION", "A study's name, or a version.", own_studies)]
Keep = Annotated[int, option("N", "Keep the model files of the best N complete trials.")]
NewName = Annotated[str, argument("NAME", "Its new name.")]
_MB = 1_000_000


def delete(study: StudyOrVersion, yes: Yes = False, home: Home = None) -> None:
    """Delete a study, its trials, its MLflow runs and their files; or a version of a registered model.

    A study is not deleted while a version of a registered model comes from it.

    Example: mlp-search delete digits
    """
    model, slash, version = study.partition("/")  # no study has one in its name
    if slash:
        _delete_version(model, version, yes=yes, home=home)
        return
    found = search.delete_study(study, dry_run=True, home=home)
    read = f"; its test was read {times(found.seal_opened)}, which MLflow still counts" if found.seal_opened else ""
    what = f"{counted(found.trials, 'trial')} and {counted(found.runs, 'run')} with their files"
    _confirm(f"study {study}: {what}{read}", yes=yes)
    result = search.delete_study(study, home=home)
    display.show([f"deleted study {study}"], asdict(result))


def _delete_version(model: str, version: str, *, yes: bool, home: Path | None) -> None:
    found = search.delete_version(model, version, dry_run=True, home=home)
    aliases = f", at which {', '.join(found.aliases)} points" if found.aliases else ""
    _confirm(f"version {version} of model {model}{aliases}", yes=yes)
    result = search.delete_version(model, version, home=home)
    display.show([f"deleted version {version} of model {model}"], asdict(result))
    for alias in result.aliases:
        display.suggest(
            display.command("rollback", model, "--alias", alias, home=home),
            "points it at an earlier version, if there is one",
        )


def prune_models(study: Study, keep: Keep = 10, yes: Yes = False, home: Home = None) -> None:
    """Delete model files, except those of the best trials, the finalists, the tested model and registered models.

    Example: mlp-search prune-models digits --keep 10
    """
    found = search.prune_models(study, keep=keep, dry_run=True, home=home)
    files = f"{counted(len(found.trials), 'model file')}, {found.size_bytes / _MB:,.1f} MB"
    if found.trials:
        of_trials = f"of {'trials' if len(found.trials) > 1 else 'trial'} {_listed(found.trials)}"
        _confirm(f"study {study}: {files}, {of_trials}", yes=yes)
        found = search.prune_models(study, keep=keep, home=home)
    keep_theirs = f"{counted(len(found.kept), 'trial')} {'keeps its own' if len(found.kept) == 1 else 'keep theirs'}"
    line = f"deleted {files}; {keep_theirs}" if found.trials else "nothing to delete"
    display.show([line], asdict(found))


def rename(study: Study, name: NewName, home: Home = None) -> None:
    """Rename a study, in Optuna and in MLflow.

    Example: mlp-search rename digits digits-first-try
    """
    result = search.rename_study(study, name, home=home)
    line = f"renamed study {study} to {name}; updated {counted(result.runs, 'run')}"
    display.show([line], asdict(result))
    display.message(f"a study file with the old name starts a new study: set study.name to {name} to resume this one")
    if name not in SOURCES and not name.endswith(".toml") and not Path(name).is_file():  # which run takes for a file
        display.suggest(display.command("run", name, home=home), "resumes it without a file")


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:10]))
    return f"{shown} and {len(numbers) - 10:,} more" if len(numbers) > 10 else shown


def _confirm(what: str, *, yes: bool) -> None:
    """Names what is deleted, and asks on a terminal; elsewhere ``--yes`` is the answer."""
    display.message(f"to be deleted: {what}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("--yes: required when stdin is not a terminal; nothing was deleted")
    try:
        is_confirmed = typer.confirm(f"delete {what}?" if is_quiet() else "delete?", err=True)
    except typer.Abort as error:
        typer.echo(err=True)  # the cursor stands behind the question
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        is_confirmed = False  # the end of the input
    if not is_confirmed:
        display.message("nothing was deleted")
        raise typer.Exit(1)
