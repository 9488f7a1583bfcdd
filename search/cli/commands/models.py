"""``promote``, ``rollback``, ``models``, ``predict``: the model registry."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

import search
from pipelines.errors import InputError, UnavailableError
from pipelines.evaluation import ALPHA
from pipelines.objectives import OBJECTIVES
from search.cli.commands.finals import suggest_test
from search.cli.options import Figure, Home, Study, argument, inputs, option, own_models
from search.home.text import ordinal
from search.registry import CHAMPION
from search.reporting import display
from search.reporting.screen import Table

_MAX_ROWS, _MAX_CLASSES = 50, 3

Alias = Annotated[str, option("ALIAS", "Alias to move to the version.")]
Model = Annotated[str, argument("MODEL[@ALIAS|/VERSION]", "A registered model, by default its champion.", own_models)]
Input = Annotated[Path, argument("INPUT", "A .npz (rows as x), .csv, .tsv, .parquet, PNG or JPEG.", inputs)]
Registered = Annotated[str, argument("MODEL", "A registered model.", own_models)]


def promote(
    study: Study,
    model: Annotated[str | None, option("NAME", "The registered model.", "the study's name")] = None,
    alias: Alias = CHAMPION,
    alpha: Annotated[float, option("P", "Level of the gate, over all challengers on the same test rows.")] = ALPHA,
    force: Annotated[str | None, option("REASON", "Promote even if the gate refuses; recorded.")] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Promote the winner's networks of all seeds as one model.")
    ] = False,
    home: Home = None,
) -> None:
    """Register a study's winner if it passes the gate; exit code 3 if the gate refuses it.

    Example: mlp-search promote digits --model reader
    """
    from search.cli.live import working

    with working(f"promoting the winner of study {study}"):
        result = search.promote(study, model=model, alias=alias, alpha=alpha, force=force, ensemble=ensemble, home=home)
    document = {"study": study, "alias": alias, **asdict(result)}
    display.show(promotion_lines(result, alias), document)
    if result.ordinal is not None:
        display.message(f"this is the {ordinal(result.ordinal)} model tested on these rows")
    if result.promoted:
        display.suggest(display.command("predict", f"{result.model}@{alias}", "FILE", home=home))
        return
    _suggest_after_refusal(result, study, _own_options(model, alias), home)
    raise typer.Exit(3)


def _own_options(model: str | None, alias: str) -> list[str]:
    """The options of a promotion that are not the default ones."""
    return [*(["--model", model] if model else []), *(["--alias", alias] if alias != CHAMPION else [])]


def _suggest_after_refusal(result: search.Promotion, study: str, own: list[str], home: Path | None) -> None:
    """Suggests the test that is missing, or to overrule the gate; ``own`` are the options of this promotion."""
    if result.value is not None:
        forced = display.command("promote", study, *own, "--force", "REASON", home=home)
        display.suggest(forced, "promotes it in spite of that; the reason is recorded")
        return
    suggest_test(study, home, again=search.recorded_test(study, home=home) is not None)


def promotion_lines(result: search.Promotion, alias: str) -> list[RenderableType]:
    """The version that the alias points at, or that the gate refused, and why; and the baselines beside the model."""
    from search.optimization.baselines import compare  # needs NumPy, which no help waits for

    what = f"{result.model}@{alias} is version {result.version}" if result.promoted else f"{result.model}: refused"
    beside = compare(result.value, OBJECTIVES[result.objective], result.baselines).sentences("the model")
    return [f"{what}: {result.reason}", *([" ".join(beside)] if beside else [])]


def rollback(model: Registered, alias: Alias = CHAMPION, home: Home = None) -> None:
    """Return an alias to its previous version; a second call returns it one version further.

    Example: mlp-search rollback digits
    """
    result = search.rollback(model, alias=alias, home=home)
    left = f", no longer version {result.left}" if result.left else ""
    display.show([f"{model}@{alias} is version {result.version} again{left}"], asdict(result))


def models(home: Home = None) -> None:
    """List the registered models with their versions, aliases and test metric, and the metric of a constant prediction.

    Example: mlp-search models
    """
    found = search.models(home=home)
    tested = ("metric", ">test", ">majority or mean", ">linear model")
    columns = ("model", ">version", "alias", *tested, "study", ">trial", ">test read", "created", "gate")
    rows = (
        (row.model, row.version, ", ".join(row.aliases), row.objective.removeprefix("val_"),
         display.score(row.value), display.score(row.baseline), display.score(row.linear), row.study, row.trial,
         row.seal_opened, row.created, row.gate)
        for row in found
    )  # fmt: skip
    drop = ("gate", "created", "test read", "trial", "majority or mean", "linear model", "study")
    register = display.command("promote", "STUDY", home=home)
    shown = Table(columns, rows, drop=drop) if found else f"no models yet; {register} registers one"
    display.show([shown], [asdict(row) for row in found])


def predict(
    model: Model,
    source: Input,
    invert: Annotated[bool, typer.Option("--invert", help="Swap dark and light of a picture.")] = False,
    threshold: Annotated[
        str | None,
        option(
            "auto|NUMBER",
            "With two classes: predict the second above this probability. auto: as chosen on validation rows.",
            "0.5",
        ),
    ] = None,
    figure: Figure = None,
    output: Annotated[Path | None, option("FILE.csv", "Write the predictions to this file too.", "no file")] = None,
    home: Home = None,
) -> None:
    """Predict the class of each example, with its probabilities; or a number, with its 95% interval.

    Example: mlp-search predict digits@champion rows.npz
    """
    _require_output(output, source)
    result = search.predict(model, source, invert=invert, threshold=threshold, home=home)
    document = _prediction_rows(result, with_threshold=threshold is not None)
    _tell_unknown(result, document)
    # Files before the output: a command that fails prints nothing on stdout.
    if figure:
        _draw(result, figure)
    if output:
        _write(result, output)
    tables = _prediction_tables(result) if result.values is None else _value_tables(result)
    display.show(tables, document)


def _tell_unknown(result: search.Predictions, document: list[dict[str, Any]]) -> None:
    """Adds the texts that no training row has to the rows of the document, and prints what they and gaps count as."""
    for column, texts in result.unknown.items():
        for row, text in zip(document, texts, strict=True):
            row |= {} if text is None else {"unknown": {**row.get("unknown", {}), column: text}}
        named = ", ".join(f"{text!r} ({n})" for text, n in Counter(filter(None, texts)).most_common(5))
        display.message(f"column {column!r}: no training row has {named}: it counts as a rare text, or as missing")
    for line in result.notes:
        display.message(line)


def _prediction_rows(result: search.Predictions, *, with_threshold: bool) -> list[dict[str, Any]]:
    if result.values is not None:
        return [{str(name): value for name, value in row.items()} for row in result.to_frame().to_dict("records")]
    extra = {"threshold": result.threshold} if with_threshold else {}
    return [
        {"label": result.class_names[number], "probability": row[number], "probabilities": row, **extra}
        for number, row in zip(result.numbers.tolist(), result.probabilities.tolist(), strict=True)
    ]


def _draw(result: search.Predictions, path: Path) -> None:
    from pipelines.evaluation.figures import class_probabilities, predicted_value, save

    if result.values is None:
        chosen = int(result.numbers[0])
        figure = class_probabilities(result.rows[0], result.probabilities[0], result.class_names, chosen)
    else:
        ends = None if result.low is None or result.high is None else (float(result.low[0]), float(result.high[0]))
        figure = predicted_value(result.rows[0], float(result.values[0]), ends)
    save(figure, path)
    display.message(f"wrote {path}")


def _require_output(path: Path | None, source: Path) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".csv":
        raise InputError(f"--output {path}: must end in .csv: choose such a name")
    if path.resolve() == source.resolve():
        raise InputError(f"--output {path}: must not be the file of the rows: choose another")


def _write(result: search.Predictions, path: Path) -> None:
    try:
        result.to_frame().to_csv(path, index=False)
    except OSError as error:
        reason = error.strerror or error  # pandas gives no number where the folder is missing
        raise UnavailableError(f"--output {path}: cannot be written ({reason}); choose another") from error
    display.message(f"wrote {path}")


def _prediction_tables(result: search.Predictions) -> list[RenderableType]:
    title = f"{result.model} version {result.version}"
    from pipelines.evaluation.decisions import DEFAULT_THRESHOLD  # needs NumPy, which no help waits for

    if result.threshold != DEFAULT_THRESHOLD:
        title += f", {result.class_names[1]} above {result.threshold:.4g}"
    made = Table((">row", "class", ">probability", "the next"), title=title)
    for number, row in enumerate(result.probabilities[:_MAX_ROWS]):
        first = int(result.numbers[number])
        others = [other for other in (-row).argsort(kind="stable")[:_MAX_CLASSES] if other != first]
        rest = ", ".join(f"{result.class_names[other]} {row[other]:.1%}" for other in others[: _MAX_CLASSES - 1])
        made.add_row(number, result.class_names[first], f"{row[first]:.1%}", rest)
    return [made, *_more(len(result.probabilities))]


def _value_tables(result: search.Predictions) -> list[RenderableType]:
    frame = result.to_frame()
    columns = (">row", ">value", *([] if result.low is None else [">low", ">high"]))
    rows = ((number, *map(display.score, row)) for number, row in enumerate(frame.head(_MAX_ROWS).to_numpy().tolist()))
    about = "" if result.low is None else ", 95% intervals"
    made = Table(columns, rows, f"{result.model} version {result.version}{about}")
    return [made, *_more(len(frame))]


def _more(n_rows: int) -> list[str]:
    n_more = n_rows - _MAX_ROWS
    return [f"and {n_more:,} more rows; --json prints all of them"] if n_more > 0 else []
