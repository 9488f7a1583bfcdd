"""``finalists`` and ``evaluate``: the winner of a study, and its accuracy on held-out rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

import search
from search.cli.options import Home, Pool, Study, option, options_named
from search.home.text import counted, ordinal, times
from search.reporting import display
from search.reporting.screen import Table
from search.reporting.trial_table import ConfigurationTable

if TYPE_CHECKING:
    from pipelines.evaluation.metrics import Evaluation

_MAX_CLASSES = 15
_AS_BEFORE = "as before, at first 5"
_TOGETHER = "Make one model of the winner's networks with all seeds; with --refit, of as many refits."
_REFIT = "Train the winner again, with the validation rows, and use that model."

OwnWorkers = Annotated[int | None, option("N", "Trainings at the same time.", "the study's")]
OwnGpus = Annotated[
    str | None, option("N|LIST", "Number of GPUs, or their indexes or UUIDs: 0,2. 0: cores.", "the study's")
]
Together = Annotated[bool, typer.Option("--ensemble", help=_TOGETHER)]
Again = Annotated[bool, typer.Option("--again", help="Read the held-out rows again; each reading is recorded.")]


def finalists(
    study: Study,
    top: Annotated[int | None, option("N", "Number of configurations, from the best.", _AS_BEFORE)] = None,
    seeds: Annotated[
        int | None, option("N", "Trainings of each configuration, each with a new seed.", _AS_BEFORE)
    ] = None,
    refit: Annotated[
        bool | None,
        typer.Option("--refit/--no-refit", help=_REFIT, show_default="as before; refit without folds"),
    ] = None,
    ensemble: Together = False,
    workers: OwnWorkers = None,
    gpus: OwnGpus = None,
    pool: Pool = "local",
    home: Home = None,
) -> None:
    """Train the best configurations again, with several seeds each, and select the winner.

    Example: mlp-search finalists digits --top 3 --seeds 5
    """
    from search.workers.start import prepare_pool

    prepare_pool(pool)  # another process imports TensorFlow, while this one imports the rest
    from search.cli.live import watching

    with watching() as observer, options_named(slots="--workers"):
        result = search.run_finalists(
            study, top=top, seeds=seeds, refit=refit, ensemble=ensemble, slots=workers, gpus=gpus, home=home, pool=pool,
            observer=observer,
        )  # fmt: skip
    _show_finals(result)
    if result.interrupted:
        raise KeyboardInterrupt
    display.undelivered(result.undelivered)
    suggest_after_finals(result, study, home)


def suggest_after_finals(result: search.FinalistsResult, study: str, home: Path | None) -> None:
    """Suggests the held-out test, or its recorded result where it was read."""
    if not result.seal_opened:
        suggest_test(study, home)
        return
    display.message(f"the held-out test of this study was read {times(result.seal_opened)}")
    shows = "shows the recorded result, and whether its model is still the winner"
    display.suggest(display.command("evaluate", study, home=home), shows)


def suggest_test(study: str, home: Path | None, *, again: bool = False, before: str = "next: ") -> None:
    """Suggests the held-out test, or to read it again."""
    shows = "reads the test rows again and records it" if again else "tests the winner on held-out rows, once"
    display.suggest(display.command("evaluate", study, *(["--again"] if again else []), home=home), shows, before)


def _show_finals(result: search.FinalistsResult) -> None:
    if result.verdict is not None:
        each = f"{counted(result.verdict.winner.n_seeds, 'seed')} each"
        each += f", means of {result.folds} folds" if result.folds > 1 else ""
        tables = verdict_tables(result, result.verdict, f"finalists of study {result.study}, {each}")
        display.show(tables, verdict_document(result, result.verdict))
    else:
        display.show([], verdict_document(result, None))


def evaluate(study: Study, again: Again = False, home: Home = None) -> None:
    """Test the winner on the held-out rows, once; called again, show the recorded result.

    Example: mlp-search evaluate digits
    """
    recorded = None if again else search.recorded_test(study, home=home)
    if recorded is not None:
        _show_recorded(recorded, study, home)
        return
    from search.cli.live import watching

    with watching() as observer:
        result = search.evaluate(study, again=again, home=home, observer=observer)
    document = result.figures | display.fields(result, "seal_opened")
    document |= display.fields(result.winner, "run_name", "run_id")
    display.show(evaluation_tables(result, study), document)
    display.message(f"the held-out test of this study was read {times(result.seal_opened)}")
    display.message(f"this is the {ordinal(result.ordinal)} model tested on these rows")
    display.suggest(display.command("promote", study, home=home))


def _show_recorded(reading: dict[str, Any], study: str, home: Path | None) -> None:
    document = {key: value for key, value in reading.items() if key not in ("model_sha256", "promised")}
    display.show([held_out_table(reading, study, reading["run_name"])], document)
    read = times(reading["seal_opened"])
    display.message(f"the held-out test of this study was read {read}; showing the recorded result")
    lead = "next: "
    if "winner" in reading:
        display.message(f"the winner has changed to {reading['winner']}, which has not been tested")
    else:
        display.suggest(display.command("promote", study, home=home))
        lead = "      "
    suggest_test(study, home, again=True, before=lead)


def held_out_table(test: Mapping[str, Any], study: str, model: str) -> Table:
    """The figures of a held-out test, as its study records them; ``model`` says what was tested."""
    from search.finals.readings import facts_of  # needs NumPy, which no help waits for

    return Table(("held-out test", f"study {study}"), facts_of(test, model).items())


def verdict_document(result: search.FinalistsResult, verdict: search.Verdict | None) -> dict[str, object]:
    """The finals as JSON; what a verdict would tell is null in interrupted ones."""

    def told(*names: str) -> dict[str, object]:
        return display.fields(verdict, *names) if verdict else dict.fromkeys(names)

    documents = [_as_json(finalist) for finalist in verdict.finalists] if verdict else []
    document = {"winner": next(iter(documents), None), **told("significant", "p_value"), "finalists": documents}
    document |= told("loss") | {"objective": verdict.winner.objective.name if verdict else None}
    document |= display.fields(result, "majority", "baselines", "refit_run_id", "refit_failure", "model")
    document["ensemble"] = asdict(result.ensemble) if result.ensemble else None
    return document | told("expected", "expected_interval") | display.fields(result, "folds")


def verdict_tables(result: search.FinalistsResult, verdict: search.Verdict, title: str) -> list[RenderableType]:
    """The finalists, the reason why the winner won, and the winner beside the baselines."""
    finalists, name = verdict.finalists, verdict.winner.objective.name
    columns: dict[str, list[object]] = {
        ">trial": [f.candidate.trial for f in finalists],
        f">mean {name}": [display.score(f.mean if f.values else None) for f in finalists],
        "95% interval": [display.interval(f.interval) for f in finalists],
        "runs": list(map(_runs, finalists)),
        ">leaderboard": [display.score(f.candidate.value) for f in finalists],
        ">parameters": [f"{f.n_parameters:,}" for f in finalists],
    }
    is_stopped = any(str(runs).endswith("stopped") for runs in columns["runs"])
    remarks = ["stopped: can no longer win, so it gets no more runs"] if is_stopped else []
    params = [f.candidate.hyperparameters.to_json() for f in finalists]
    table = ConfigurationTable(columns, params, title, drop=("parameters", "leaderboard"), remarks=remarks)
    from search.optimization.baselines import compare  # needs NumPy, which no help waits for

    beside = compare(verdict.winner.mean, verdict.winner.objective, result.baselines, result.majority)
    lines = [verdict.explanation, *_expected_lines(verdict)]
    lines += beside.sentences("the winner")
    return [table, *lines, *_refit_lines(result, verdict), *_ensemble_lines(result, name)]


def _expected_lines(verdict: search.Verdict) -> list[str]:
    """The value to expect of the winner, which its own mean overstates."""
    name = verdict.winner.objective.name
    if verdict.expected is None:
        return [f"Every seed was used to select the winner: its mean {name} is optimistic."]
    interval = verdict.expected_interval
    ends = f" (95% interval {display.interval(interval)})" if interval else ""
    value = display.score(verdict.expected)
    return [
        f"Expected {name} with a new seed: {value}{ends}, estimated from seeds that were not used for the selection."
    ]


def _refit_lines(result: search.FinalistsResult, verdict: search.Verdict) -> list[str]:
    """Names the refit where it is the model of the study."""
    run = verdict.winner.refit_run
    if result.refit_failure:
        return [
            f"failed: {result.refit_failure}. evaluate, promote and predict use {result.used_run or 'another model'}.",
            f"finalists {result.study} trains a refit again unless its loss was not a number; --no-refit does without.",
        ]
    if result.model != "refit" or result.refit_run_id is None:
        return []
    return [f"{run} is the winner trained again, with the validation rows: evaluate, promote and predict use it."]


def _ensemble_lines(result: search.FinalistsResult, objective: str) -> list[str]:
    """Describes the ensemble of the winner's networks, in at most one line."""
    if (ensemble := result.ensemble) is None:
        return []
    again = ", each trained again with the validation rows" if result.model == "refit-ensemble" else ""
    line = f"{ensemble.run_name} predicts the mean of the winner's {ensemble.networks} networks{again}"
    if ensemble.value is None:
        return [f"{line}. It has no {objective} of its own: every row is a training row of some of them."]
    return [f"{line}: {objective} {display.score(ensemble.value)}."]


def _runs(finalist: search.Finalist) -> str:
    runs = "failed" if finalist.failure else f"{len(finalist.values)} of {finalist.n_seeds}"
    if not finalist.failure and not finalist.is_complete:
        runs += ", stopped"
    return runs


def _as_json(finalist: search.Finalist) -> dict[str, object]:
    params = {"params": finalist.candidate.hyperparameters.to_json()}
    mean = {"mean": finalist.mean if finalist.values else None}
    return params | mean | display.fields(finalist, "interval", "n_parameters", "run_ids")


def evaluation_tables(result: search.SealedResult, study: str) -> list[RenderableType]:
    """The figures of a held-out test; of a classification its classes and the confusion matrix too."""
    from pipelines.evaluation.metrics import Evaluation  # imports scikit-learn, which takes a second

    winner = result.winner
    together = f" in each of {winner.networks} networks" if winner.networks > 1 else ""
    model = f"{winner.run_name}, {winner.candidate.n_parameters:,} parameters{together}"
    table = held_out_table(result.record | display.fields(result, "seal_opened"), study, model)
    return [table, *(_class_tables(result.evaluation) if isinstance(result.evaluation, Evaluation) else ())]


def _class_tables(evaluation: Evaluation) -> list[RenderableType]:
    scores = [(c.name, c.support, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}") for c in evaluation.classes]
    return [
        Table(("class", ">rows", ">precision", ">recall", ">F1"), scores),
        _confusion_table(evaluation.confusion, [row.name for row in evaluation.classes]),
    ]


def _confusion_table(matrix: tuple[tuple[int, ...], ...], names: list[str]) -> RenderableType:
    """The matrix; on a narrow screen its columns have numbers in place of names."""
    instead = "the confusion matrix is wider than this screen: it is a figure of the run"
    if len(names) > _MAX_CLASSES:
        return f"more than {_MAX_CLASSES} classes: the confusion matrix is a figure of the run"
    counts = [[count or "·" for count in row] for row in matrix]
    numbered = [(f"{name} ({number})", *row) for number, (name, row) in enumerate(zip(names, counts, strict=True))]
    narrow = Table(["true \\ predicted", *(f">({n})" for n in range(len(names)))], numbered, instead=instead)
    named = [(name, *row) for name, row in zip(names, counts, strict=True)]
    return Table(["true \\ predicted", *(f">{name}" for name in names)], named, instead=narrow)
