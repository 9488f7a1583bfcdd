"""``plan``, ``run``, ``studies``, ``trials``, ``show``: from a study file to a leaderboard."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import SpecError, TrainingError
from search.cli.options import Gpus, Home, Json, Study, Target, Workers, complete_study_file, complete_study_or_source

if TYPE_CHECKING:
    from search.scheduling.run_study import StudyResult
    from search.spec.study_spec import StudySpec

_TOP = 10
_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
_OPTION_OF = {
    "data.target": "--target",
    "study.name": "--study",
    "study.seed": "--seed",
    "study.timeout_s": "--timeout",
    "study.trials": "--trials",
    "workers.gpus": "--gpus",
    "workers.slots": "--workers",
}


def plan(
    study: Annotated[
        str, typer.Argument(metavar="STUDY.toml", help="A study file.", autocompletion=complete_study_file)
    ],
    target: Target = None,
    workers: Workers = None,
    gpus: Gpus = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a study and forecast its time and memory from short trainings; nothing is recorded."""
    from search.reporting import display
    from search.training.forecast import plan_study

    spec = _read(study, target=target, slots=workers, gpus=gpus)
    forecast = plan_study(spec, home=home)
    names = ("configurations_per_hour", "forecast_s", "memory_mb", "slots")
    document = {name: getattr(forecast, name) for name in names}
    display.show(display.forecast_tables(spec, forecast), document, as_json=as_json)


def run(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY.toml|SOURCE",
            help="A study file; or digits, mnist, fashion_mnist or a data file, with the default space.",
            autocompletion=complete_study_or_source,
        ),
    ],
    name: Annotated[str | None, typer.Option("--study", metavar="NAME", help="The study's name.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="The most trials, over all runs.")] = None,
    timeout: Annotated[float | None, typer.Option(metavar="S", help="The most seconds, over all runs.")] = None,
    workers: Workers = None,
    gpus: Gpus = None,
    pool: Annotated[str, typer.Option(metavar="local|ray", help="Where trials train.")] = "local",
    seed: Annotated[int | None, typer.Option(metavar="N", help="Same seed, same trials.")] = None,
    target: Target = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Search: start a study, or go on with the one of that name, until its budget is spent."""
    from search.cli.live import watching
    from search.scheduling.run_study import run_study

    where = {"slots": workers, "gpus": gpus}
    spec = _read(study, name=name, trials=trials, timeout_s=timeout, seed=seed, target=target, **where)
    with resumable():
        with watching(plain=as_json) as observer:
            result = run_study(spec, home=home, pool=pool, observer=observer)
        _show_result(result, as_json=as_json)
        if result.interrupted:
            raise KeyboardInterrupt
    _say_next(result, home)


def studies(home: Home = None, as_json: Json = False) -> None:
    """List the studies of this home."""
    from search.reporting import display, study_summaries as overview

    found = overview.studies(home=home)
    display.show(display.studies_table(found), [asdict(study) for study in found], as_json=as_json)


def trials(
    study: Study,
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the best N.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show a study's leaderboard: the complete trials, the best first, then those that were pruned or failed."""
    from search.reporting import display
    from search.scheduling.run_study import trials as read_trials

    rows = read_trials(study, home=home)[:top]
    display.show(display.leaderboard_table(rows, f"study {study}"), [asdict(row) for row in rows], as_json=as_json)


def show(
    study: Study,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="The trial's number.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say in a paragraph why a trial won, was pruned or failed."""
    from search.reporting import display
    from search.reporting.explain import explain_trial

    explanation = explain_trial(study, number, home=home)
    row = explanation.row
    lines = [f"Configuration: {display.short(row.params)}.", f"MLflow run: {row.run_id or 'none yet'}."]
    display.show([explanation.text, *lines], asdict(row) | {"explanation": explanation.text}, as_json=as_json)


def _read(study: str, **options: Any) -> StudySpec:
    """The study of a file, or of a dataset with the default space, with the options put over it."""
    from search.spec.study_spec import default_spec, override, read_spec

    try:
        if Path(study).suffix.lower() != ".toml":
            return default_spec(study, **options)
        spec = read_spec(study)
        return override(spec, **options)
    except SpecError as error:
        raise SpecError([_as_option(problem) for problem in error.problems]) from error


def _as_option(problem: str) -> str:
    """``options, study.trials: …`` as ``--trials: …``; what a study file says of itself stays."""
    place, colon, rest = problem.partition(":")
    return _OPTION_OF.get(place.removeprefix("options, "), place) + colon + rest


@contextmanager
def resumable() -> Iterator[None]:
    """Says after Ctrl-C, however it ended the search, how to go on."""
    from search.reporting import display

    try:
        yield
    except KeyboardInterrupt:
        display.message(f"to go on, type the same again: {shlex.join(['mlp-search', *sys.argv[1:]])}")
        raise


def _show_result(result: StudyResult, *, as_json: bool) -> None:
    from search.reporting import display

    best, counts = result.best, {name: result.count(state) for name, state in _STATES.items()}
    document = {
        "study": result.study,
        "trials": counts,
        "best": best and {key: getattr(best, key) for key in ("number", "value", "params", "run_id")},
        "wall_s": round(result.wall_s, 3),
    }
    lines = display.leaderboard_table(result.rows[:_TOP], f"study {result.study}")
    done = ", ".join(f"{count} {name}" for name, count in counts.items())
    display.show([*lines, f"{done} in {display.seconds(result.wall_s)}"], document, as_json=as_json)


def _say_next(result: StudyResult, home: Path | None) -> None:
    """What to type next, ready to be copied."""
    from search.reporting import display

    study, where = shlex.quote(result.study), f" --home {shlex.quote(str(home))}" if home else ""
    if result.undelivered:
        display.message(
            f"MLflow has not taken {result.undelivered} runs yet; they wait in the spool for the next run of this study"
        )
    if result.rows and all(row.state == "FAIL" for row in result.rows):
        raise TrainingError(f"every trial failed; mlp-search show {study} 0{where} says why the first did")
    if result.best:
        display.message(f"next: mlp-search show {study} {result.best.number}{where}   why this one won")
    display.message(f"      mlp-search ui{where}   every run with its curves, in MLflow")
