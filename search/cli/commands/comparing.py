"""``compare``, ``enqueue``, ``follow``: look at trials side by side, add one, and watch a search."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

import search
from search.cli.options import Home, Study, hyperparameter_values, option, own_studies
from search.reporting import display
from search.reporting.configurations import short
from search.reporting.screen import is_json

Compared = Annotated[
    list[str],
    typer.Argument(
        metavar="STUDY NUMBER NUMBER… | STUDY STUDY…",
        help="Trials of one study, or studies.",
        autocompletion=own_studies,
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME=VALUE…", help="Hyperparameters.", autocompletion=hyperparameter_values),
]
Like = Annotated[int | None, option("NUMBER", "Take the values that are not given from this trial.", "none")]


def compare(names: Compared, home: Home = None) -> None:
    """Compare trials of a study, or studies, side by side: first what differs.

    Example: mlp-search compare digits 3 17
    """
    comparison = search.compare(names, home=home)
    display.show([comparison], comparison.to_json())


def enqueue(study: Study, values: Values = None, like: Like = None, home: Home = None) -> None:
    """Enqueue a configuration of your own: the study trains it next.

    Example: mlp-search enqueue digits --like 17 width=512 dropout=0.1
    """
    pairs = [text.partition("=") for text in values or ()]
    for text, (name, sign, value) in zip(values or (), pairs, strict=True):
        if not (name and sign and value):
            raise typer.BadParameter(f"{text!r}: must be NAME=VALUE, such as width=512")
    names = [name for name, _, _ in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise typer.BadParameter(f"{twice}: must be given once, got {names.count(twice)} values")
    result = search.enqueue(study, {name: value for name, _, value in pairs}, like=like, home=home)
    line = f"enqueued trial {result.number} of study {study}: {short(result.params)}"
    document = {key: value for key, value in asdict(result).items() if key != "has_budget"}
    display.show([line], document)
    if not result.has_budget:
        used = "has used its budget"
        if result.waiting > 1:  # an interrupted search leaves those that it had asked for
            used = f"has too little budget for {result.waiting} waiting trials"
        display.message(f"study {study} {used}; raise --trials or --timeout to train it")


def follow(study: Study, home: Home = None) -> None:
    """Follow a search in another terminal or on another machine until it ends; with --json, print one snapshot.

    Example: mlp-search follow digits
    """
    from search.cli.live import watching
    from search.home import read_settings
    from search.optimization.studies import load_own_study
    from search.reporting.live import following, view

    if is_json():
        progress = following.progress_of(load_own_study(read_settings(home), study))
        found = {"searched": following.is_being_searched(study, home)}
        display.show([], following.document(progress) | found)
        return
    with suppress(KeyboardInterrupt):
        with watching(lasts=False) as observer:
            progress = following.follow(study, home=home, observer=observer)
        display.show([f"{study}: {view.line(progress, None)}", following.ending(progress, home)], None)
