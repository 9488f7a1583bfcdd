"""``finalists`` and ``evaluate``: the winner of a study, and its accuracy on held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

import search
from search.cli.options import Home, Json, Pool, Study, option
from search.home.text import ordinal, times
from search.reporting import display

if TYPE_CHECKING:
    from pipelines.evaluation.metrics import Estimate, Evaluation

_MAX_CLASSES = 15

Again = Annotated[bool, typer.Option("--again", help="Read the held-out rows again; recorded.")]


def finalists(
    study: Study,
    top: Annotated[int, option("N", "Number of configurations, from the best.")] = 5,
    seeds: Annotated[int, option("N", "Trainings of each configuration, each with a new seed.")] = 5,
    refit: Annotated[bool, typer.Option("--refit", help="Train the winner again, with the validation rows.")] = False,
    pool: Pool = "local",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train the best configurations again, with several seeds each, and select the winner.

    Example: mlp-search finalists digits --top 3 --seeds 5
    """
    from search.cli.live import watching

    with watching(plain=as_json) as observer:
        result = search.run_finalists(study, top=top, seeds=seeds, refit=refit, home=home, pool=pool, observer=observer)
    if result.verdict is not None:
        _show_verdict(result, result.verdict, f"finalists of study {study}, {seeds} seeds each", as_json=as_json)
    if result.interrupted:
        raise KeyboardInterrupt
    display.undelivered(result.undelivered)
    if result.seal_opened:
        display.message(f"the held-out test of this study was read {times(result.seal_opened)}")
        return
    display.message(f"next: {display.command('evaluate', study, home=home)}   tests the winner on held-out rows, once")


def evaluate(study: Study, again: Again = False, home: Home = None, as_json: Json = False) -> None:
    """Test the winner on the held-out rows, once.

    Example: mlp-search evaluate digits
    """
    result = search.evaluate(study, again=again, home=home)
    document = result.figures | display.fields(result, "seal_opened")
    display.show(_evaluation_tables(result, study), document, as_json=as_json)
    display.message(f"the held-out test of this study was read {times(result.seal_opened)}")
    display.message(f"this is the {ordinal(result.ordinal)} model tested on these rows")
    display.message(f"next: {display.command('promote', study, home=home)}")


def _show_verdict(result: search.FinalistsResult, verdict: search.Verdict, title: str, *, as_json: bool) -> None:
    documents = [_as_json(finalist) for finalist in verdict.finalists]
    document = {"winner": documents[0], **display.fields(verdict, "significant", "p_value"), "finalists": documents}
    objective = verdict.winner.objective
    document |= {"loss": verdict.loss, "objective": objective.name, **display.fields(result, "majority", "baselines")}
    columns = (
        ">trial",
        f">mean {objective.name}",
        "95% interval",
        ">runs",
        ">leaderboard",
        ">parameters",
        "configuration",
    )
    table = display.table(columns, map(_row, verdict.finalists), title)
    from search.optimization.baselines import compare  # needs NumPy, which no help waits for

    beside = compare(verdict.winner.mean, objective, result.baselines, result.majority)
    display.show([table, verdict.explanation, *beside.sentences("the winner")], document, as_json=as_json)


def _row(finalist: search.Finalist) -> tuple[object, ...]:
    runs = "failed" if finalist.failure else f"{len(finalist.values)} of {finalist.n_seeds}"
    if not finalist.failure and not finalist.is_complete:
        runs += ", stopped: can no longer win"
    candidate = finalist.candidate
    return (
        candidate.trial, display.score(finalist.mean if finalist.values else None),
        display.interval(finalist.interval), runs, display.score(candidate.value),
        f"{finalist.n_parameters:,}", display.short(candidate.hyperparameters.to_json()),
    )  # fmt: skip


def _as_json(finalist: search.Finalist) -> dict[str, object]:
    params = {"params": finalist.candidate.hyperparameters.to_json()}
    # A mean of 0 without a run is kept for accuracy, where it is the worst.
    mean = {"mean": finalist.mean if finalist.values or finalist.objective.maximize else None}
    return params | mean | display.fields(finalist, "interval", "n_parameters", "run_ids")


def _evaluation_tables(result: search.SealedResult, study: str) -> list[RenderableType]:
    from pipelines.evaluation.metrics import Evaluation  # imports scikit-learn, which takes a second

    winner, evaluation, objective = result.winner, result.evaluation, result.winner.objective
    facts = {"model": f"{winner.run_name}, {winner.candidate.n_parameters:,} parameters"}
    names = dict.fromkeys((objective.metric, *evaluation.metrics))  # the study's own first
    facts |= {f"test {name.replace('_', ' ')}": _estimate(evaluation.metrics[name]) for name in names}
    from search.optimization.baselines import compare  # needs NumPy, which no help waits for

    beside = compare(result.estimate.value, objective, result.baselines)
    facts["baselines"] = " ".join(beside.sentences("the model"))
    side = "better" if result.gap > 0 else "worse"
    promised = f"{objective.name} {display.score(winner.candidate.value)}"
    of_classes = evaluation if isinstance(evaluation, Evaluation) else None
    facts |= _class_facts(of_classes, result.untrained_accuracy) if of_classes else {}
    facts |= {
        "on the leaderboard": f"{promised}, {display.score(abs(result.gap))} {side} than on the test rows",
        "test read": f"{times(result.seal_opened)} for this study",
        "tested on these rows": f"the {ordinal(result.ordinal)} model, over all studies",
    }
    tables: list[RenderableType] = [display.table(("held-out test", f"study {study}"), facts.items())]
    return tables + (_class_tables(of_classes) if of_classes else [])


def _estimate(found: Estimate) -> str:
    return f"{display.score(found.value)}, 95% interval {display.interval((found.low, found.high))}"


def _class_facts(evaluation: Evaluation, untrained_accuracy: float | None) -> dict[str, str]:
    return {
        "right and wrong": f"{evaluation.n_right:,} and {evaluation.n_wrong:,}",
        "before training": f"accuracy {display.score(untrained_accuracy)}",
    }


def _class_tables(evaluation: Evaluation) -> list[RenderableType]:
    scores = [(c.name, c.support, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}") for c in evaluation.classes]
    return [
        display.table(("class", ">rows", ">precision", ">recall", ">F1"), scores),
        _confusion_table(evaluation.confusion, [row.name for row in evaluation.classes]),
    ]


def _confusion_table(matrix: tuple[tuple[int, ...], ...], names: list[str]) -> RenderableType:
    if len(names) > _MAX_CLASSES:
        return f"more than {_MAX_CLASSES} classes: the confusion matrix is a figure of the run"
    rows = [(name, *(count or "·" for count in row)) for name, row in zip(names, matrix, strict=True)]
    return display.table(["true \\ predicted", *(f">{name}" for name in names)], rows)
