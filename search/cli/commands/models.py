"""``promote``, ``rollback``, ``models``, ``predict``: the model registry."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

import search
from pipelines.evaluation import ALPHA
from search.cli.options import Figure, Home, Json, Study, argument, option
from search.home.text import ordinal
from search.reporting import display

_MAX_ROWS, _MAX_CLASSES = 50, 3

Alias = Annotated[str, option("ALIAS", "The alias that moves.")]
Registered = Annotated[str, argument("MODEL", "A registered model.")]


def promote(
    study: Study,
    model: Annotated[str | None, option("NAME", "The registered model.", "the study's name")] = None,
    alias: Alias = "champion",
    alpha: Annotated[float, option("P", "Level of the gate, over all challengers on the same test rows.")] = ALPHA,
    force: Annotated[str | None, option("REASON", "Promote even if the gate refuses; recorded.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Register a study's winner if it passes the gate; exit code 3 if the gate refuses it.

    Example: mlp-search promote digits --model reader
    """
    result = search.promote(study, model=model, alias=alias, alpha=alpha, force=force, home=home)
    document = asdict(result)
    del document["model"]
    what = f"{result.model}@{alias} is version {result.version}" if result.promoted else f"{result.model}: refused"
    display.show([f"{what}: {result.reason}"], document, as_json=as_json)
    if result.ordinal is not None:
        display.message(f"this is the {ordinal(result.ordinal)} model tested on these rows")
    if not result.promoted:
        raise typer.Exit(3)
    display.message(f"next: {display.command('predict', f'{result.model}@{alias}', 'FILE', home=home)}")


def rollback(model: Registered, alias: Alias = "champion", home: Home = None, as_json: Json = False) -> None:
    """Return an alias to its previous version; a second call returns it one version further.

    Example: mlp-search rollback digits
    """
    result = search.rollback(model, alias=alias, home=home)
    line = f"{model}@{alias} is version {result.version} again, no longer version {result.left}"
    display.show([line], asdict(result), as_json=as_json)


def models(home: Home = None, as_json: Json = False) -> None:
    """List the registered models: versions, aliases, accuracies.

    Example: mlp-search models
    """
    found = search.models(home=home)
    tested = (">test accuracy", ">majority class")
    columns = ("model", ">version", "alias", *tested, "study", ">trial", ">test read", "created", "gate")
    rows = (
        (row.model, row.version, ", ".join(row.aliases), display.score(row.test_accuracy),
         display.score(row.majority), row.study, row.trial, row.seal_opened, row.created, row.gate)
        for row in found
    )  # fmt: skip
    shown = display.table(columns, rows) if found else "no models yet; mlp-search promote STUDY registers one"
    display.show([shown], [asdict(row) for row in found], as_json=as_json)


def predict(
    model: Annotated[str, argument("MODEL[@ALIAS]", "A registered model, by default its champion.")],
    source: Annotated[Path, argument("INPUT", "A .npz (rows as x), .csv, .tsv, .parquet, PNG or JPEG.")],
    invert: Annotated[bool, typer.Option("--invert", help="Swap dark and light of a picture.")] = False,
    figure: Figure = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Predict the class of each example, with its probabilities.

    Example: mlp-search predict digits@champion rows.npz
    """
    result = search.predict(model, source, invert=invert, home=home)
    document: list[dict[str, Any]] = [
        {"label": label, "probability": max(row), "probabilities": row}
        for label, row in zip(result.labels, result.probabilities.tolist(), strict=True)
    ]
    for column, texts in result.unknown.items():
        for row, text in zip(document, texts, strict=True):
            row |= {} if text is None else {"unknown": {**row.get("unknown", {}), column: text}}
        named = ", ".join(f"{text!r} ({n})" for text, n in Counter(filter(None, texts)).most_common(5))
        display.message(f"column {column!r}: texts that no training row has count as missing, got {named}")
    if figure:  # before the output: a command that fails prints nothing on stdout
        from pipelines.evaluation.figures import class_probabilities, save

        save(class_probabilities(result.rows[0], result.probabilities[0], result.class_names), figure)
        display.message(f"wrote {figure}")
    display.show(_prediction_tables(result), document, as_json=as_json)


def _prediction_tables(result: search.Predictions) -> list[RenderableType]:
    title = f"{result.model} version {result.version}"
    made = display.table((">row", "class", ">probability", "the next"), title=title)
    for number, row in enumerate(result.probabilities[:_MAX_ROWS]):
        first, *others = (-row).argsort(kind="stable")[:_MAX_CLASSES]
        rest = ", ".join(f"{result.class_names[other]} {row[other]:.1%}" for other in others)
        display.add_row(made, number, result.class_names[first], f"{row[first]:.1%}", rest)
    n_more = len(result.probabilities) - _MAX_ROWS
    return [made, f"and {n_more:,} more rows; --json prints all of them"] if n_more > 0 else [made]
