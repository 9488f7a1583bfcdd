"""``finalists`` and ``evaluate``: the winner of a study, and its accuracy on held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.commands.studies import resumable
from search.cli.options import Home, Json, Study

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.finals.finalist import Finalist
    from search.finals.readings import SealedResult
    from search.finals.verdict import Verdict


def finalists(
    study: Study,
    top: Annotated[int, typer.Option(metavar="N", help="How many of the best configurations.")] = 5,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each, with new seeds.")] = 5,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train the winner once more on training and validation rows together.")
    ] = False,
    pool: Annotated[str, typer.Option(metavar="local|ray", help="Where they train.")] = "local",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train the best configurations again, with several seeds each, and name the winner."""
    from search.cli.live import watching
    from search.finals.finals import run_finalists
    from search.reporting import display

    with resumable():
        with watching(plain=as_json) as observer:
            result = run_finalists(study, top=top, seeds=seeds, refit=refit, home=home, pool=pool, observer=observer)
        if (verdict := result.verdict) is not None:
            _show_verdict(verdict, f"finalists of study {study}, {seeds} seeds each", as_json=as_json)
        if result.interrupted:
            raise KeyboardInterrupt
    if result.undelivered:
        display.message(f"MLflow has not taken {result.undelivered} runs yet; they wait in the spool")
    _say_seal(result.seal_opened)
    if not result.seal_opened:
        display.message(f"next: mlp-search evaluate {display.quoted(study, home)}   reads the held-out test, once")


def evaluate(
    study: Study,
    again: Annotated[bool, typer.Option("--again", help="Read it although it was read before; recorded.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read the held-out test set, once, for the winner."""
    from search.finals.sealed_test import evaluate as evaluate_winner
    from search.reporting import display

    result = evaluate_winner(study, again=again, home=home)
    document = result.figures | {"seal_opened": result.seal_opened}
    display.show(_evaluation_tables(result, study), document, as_json=as_json)
    _say_seal(result.seal_opened)
    display.message(f"next: mlp-search promote {display.quoted(study, home)}")


def _say_seal(opened: int) -> None:
    from search.finals.readings import times
    from search.reporting import display

    if opened:
        display.message(f"the held-out test of this study was read {times(opened)}")


def _show_verdict(verdict: Verdict, title: str, *, as_json: bool) -> None:
    from search.reporting import display

    document: dict[str, Any] = {
        "winner": _as_json(verdict.winner),
        "significant": verdict.significant,
        "p_value": verdict.p_value,
        "finalists": [_as_json(finalist) for finalist in verdict.finalists],
    }
    made = display.table(
        ">trial", ">mean", "95% interval", ">runs", ">leaderboard", ">parameters", "configuration", title=title
    )
    for finalist in verdict.finalists:
        low, high = finalist.interval
        candidate = finalist.candidate
        display.add_row(
            made, candidate.trial, f"{finalist.mean:.4f}", f"{low:.4f} to {high:.4f}", _runs(finalist),
            f"{candidate.value:.4f}", f"{finalist.n_parameters:,}", display.short(_params(finalist)),
        )  # fmt: skip
    display.show([made, verdict.explanation], document, as_json=as_json)


def _runs(finalist: Finalist) -> str:
    if finalist.failure:
        return "failed"
    done = f"{len(finalist.values)} of {finalist.n_seeds}"
    return done if finalist.is_complete else f"{done}, stopped: can no longer win"


def _params(finalist: Finalist) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(finalist.candidate.hyperparameters)


def _as_json(finalist: Finalist) -> dict[str, Any]:
    return {
        "params": _params(finalist),
        "mean": finalist.mean,
        "interval": list(finalist.interval),
        "n_parameters": finalist.n_parameters,
        "run_ids": list(finalist.run_ids),
    }


def _evaluation_tables(result: SealedResult, study: str) -> list[RenderableType]:
    from search.finals.readings import times
    from search.reporting import display

    evaluation, winner = result.evaluation, result.winner
    low, high = evaluation.interval
    facts = display.table("held-out test", f"study {study}")
    for name, fact in (
        ("model", f"{winner.run_name}, {winner.n_parameters:,} parameters"),
        ("test accuracy", f"{evaluation.accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}"),
        ("right and wrong", f"{evaluation.n_right:,} and {evaluation.n_wrong:,}"),
        ("test loss", f"{evaluation.loss:.4f}"),
        ("before training", f"{result.untrained_accuracy:.4f}"),
        ("on the leaderboard", f"{winner.expected_accuracy:.4f}, {abs(result.gap):.4f} {_side(result.gap)}"),
        ("test read", times(result.seal_opened)),
    ):
        display.add_row(facts, name, fact)
    classes = display.table("class", ">rows", ">precision", ">recall", ">F1")
    for row in evaluation.classes:
        display.add_row(classes, row.name, row.support, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}")
    tables: list[RenderableType] = [facts, classes]
    return [*tables, _confusion_table(evaluation.confusion, [row.name for row in evaluation.classes])]


def _side(gap: float) -> str:
    return "more than the test shows" if gap > 0 else "less than the test shows"


def _confusion_table(matrix: tuple[tuple[int, ...], ...], names: list[str]) -> RenderableType:
    from search.reporting import display

    if len(names) > _MAX_CLASSES:
        return "the confusion matrix of this many classes is a figure on the run"
    made = display.table("true \\ predicted", *(f">{name}" for name in names))
    for name, row in zip(names, matrix, strict=True):
        display.add_row(made, name, *(count or "·" for count in row))
    return made


_MAX_CLASSES = 15
