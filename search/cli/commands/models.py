"""``promote``, ``rollback``, ``models``, ``predict``: the winner, where people use it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import Home, Json, Study

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.registry.predict import Predictions

_MAX_ROWS, _MAX_CLASSES = 50, 3

Alias = Annotated[str, typer.Option(metavar="ALIAS", help="The alias that moves.")]


def promote(
    study: Study,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The registered model; else the study's name.")
    ] = None,
    alias: Alias = "champion",
    alpha: Annotated[float, typer.Option(metavar="P", help="The gate's significance level.")] = 0.05,
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Pass the gate in spite of its refusal; recorded.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take the winner through the gate into the registry; exit code 3 where the gate refuses it."""
    from search.registry.promotion import promote as promote_winner
    from search.reporting import display

    result = promote_winner(study, model=model, alias=alias, alpha=alpha, force=force, home=home)
    names = ("promoted", "reason", "version", "test_accuracy", "champion_accuracy", "p_value")
    document = {name: getattr(result, name) for name in names}
    what = f"{result.model}@{alias} is version {result.version}" if result.promoted else f"{result.model}: refused"
    display.show([f"{what}: {result.reason}"], document, as_json=as_json)
    if not result.promoted:
        raise typer.Exit(3)
    display.message(f"next: mlp-search predict {display.quoted(f'{result.model}@{alias}', home)} FILE")


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A registered model.")],
    alias: Alias = "champion",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Return the alias to the version before; twice goes two back."""
    from search.registry.models import rollback as roll_back
    from search.reporting import display

    result = roll_back(model, alias=alias, home=home)
    line = f"{model}@{alias} is version {result.version} again, no longer version {result.left}"
    display.show([line], asdict(result), as_json=as_json)


def models(home: Home = None, as_json: Json = False) -> None:
    """List the registered models: versions, aliases, accuracies."""
    from search.registry.models import models as read_models
    from search.reporting import display

    rows = read_models(home=home)
    made = display.table(
        "model", ">version", "alias", ">test accuracy", "study", ">trial", ">seal opened", "created", "gate"
    )
    for row in rows:
        accuracy = None if row.test_accuracy is None else f"{row.test_accuracy:.4f}"
        display.add_row(
            made, row.model, row.version, ", ".join(row.aliases), accuracy, row.study, row.trial, row.seal_opened,
            row.created, row.gate,
        )  # fmt: skip
    tables: list[RenderableType] = [made] if rows else ["no models yet; mlp-search promote STUDY makes one"]
    display.show(tables, [asdict(row) for row in rows], as_json=as_json)


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL[@ALIAS]", help="A registered model; else its champion.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A .npz (rows as x), .csv, .parquet, PNG or JPEG.")],
    invert: Annotated[bool, typer.Option("--invert", help="Swap dark and light of a picture first.")] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the first example and its probabilities.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say the class of each example, with its probabilities."""
    from search.registry.predict import predict as answer
    from search.reporting import display

    result = answer(model, source, invert=invert, home=home)
    document = [
        {"label": label, "probability": max(row), "probabilities": row}
        for label, row in zip(result.labels, result.probabilities.tolist(), strict=True)
    ]
    if figure:
        from pipelines.evaluation.figures import class_probabilities, save

        save(class_probabilities(result.rows[0], result.probabilities[0], result.class_names), figure)
    display.show(_prediction_tables(result), document, as_json=as_json)
    if figure:
        display.message(f"wrote {figure}")


def _prediction_tables(result: Predictions) -> list[RenderableType]:
    from search.reporting import display

    title = f"{result.model} version {result.version}"
    made = display.table(">row", "class", ">probability", "the next", title=title)
    for number, row in enumerate(result.probabilities[:_MAX_ROWS]):
        first, *others = (-row).argsort(kind="stable")[:_MAX_CLASSES]
        rest = ", ".join(f"{result.class_names[other]} {row[other]:.1%}" for other in others)
        display.add_row(made, number, result.class_names[first], f"{row[first]:.1%}", rest)
    left = len(result.probabilities) - _MAX_ROWS
    return [made, *([f"and {left:,} more rows; --json gives them all"] if left > 0 else [])]
