"""``plan``, ``run``, ``studies``, ``trials``, ``show``, ``report``: from a study file to a report."""

from __future__ import annotations

import difflib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

import search
from pipelines.errors import NotFoundError, TrainingError
from pipelines.files.sources import SOURCES
from search.cli import options
from search.cli.option_groups import NOTHING, GroupedOptions, with_option_groups
from search.cli.options import Home, Study, option
from search.reporting import display
from search.reporting.configurations import short
from search.reporting.screen import is_json
from search.reporting.trial_table import leaderboard_table

if TYPE_CHECKING:
    from search.scheduling.run_study import StudyResult

_TOP = 10
_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}

Top = Annotated[int | None, typer.Option(metavar="N", min=1, show_default="all", help="Show the best N trials.")]
Output = Annotated[Path | None, option("FILE.html", "The file to write.", "STUDY.html")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="The trial's number.")]


@with_option_groups
def plan(
    study: options.StudyOrSource,
    name: options.Name = None,
    trials: options.Trials = None,
    timeout: options.Timeout = None,
    workers: options.Workers = None,
    gpus: options.Gpus = None,
    precision: options.Precision = None,
    preset: options.Preset = None,
    seed: options.Seed = None,
    objective: options.Objective = None,
    class_weight: options.ClassWeight = None,
    data: GroupedOptions = NOTHING,
    home: Home = None,
) -> None:
    """Check a study and forecast its time and memory from short trainings; nothing is recorded.

    Example: mlp-search plan study.toml --workers 2
    """
    given = {"preset": preset, "name": name, "trials": trials, "timeout_s": timeout, "seed": seed, **data}
    given |= {"slots": workers, "gpus": gpus, "precision": precision}
    spec = _read(study, home, objective=objective, class_weight=class_weight, **given)
    from search.workers.start import prepare_pool

    prepare_pool("local")  # another process imports TensorFlow, while this one imports what forecasts
    from search.cli.live import working

    with working(f"training a few configurations of study {spec.name} for two epochs"):
        forecast = search.plan_study(spec, home=home)
    display.notes(forecast.notes)
    figures = ("configurations_per_hour", "forecast_s", "memory_mb", "slots")
    ranges = ("forecast_low_s", "forecast_high_s", "trials_low", "trials_high", "folds")
    document = display.fields(forecast, *figures, *ranges, "precision", "bfloat16_share")
    display.show(display.forecast_tables(forecast.spec or spec, forecast), document)


@with_option_groups
def run(
    study: options.StudyOrSource,
    name: options.Name = None,
    trials: options.Trials = None,
    timeout: options.Timeout = None,
    workers: options.Workers = None,
    gpus: options.Gpus = None,
    precision: options.Precision = None,
    pool: options.Pool = "local",
    preset: options.Preset = None,
    seed: options.Seed = None,
    objective: options.Objective = None,
    class_weight: options.ClassWeight = None,
    auto: options.Auto = False,
    like: options.Like = None,
    keep_models: options.KeepModels = None,
    data: GroupedOptions = NOTHING,
    home: Home = None,
) -> None:
    """Search: start a study, or resume the one of that name, until its budget is used.

    Example: mlp-search run digits --trials 20
    """
    given = {"preset": preset, "name": name, "trials": trials, "timeout_s": timeout, "seed": seed, **data}
    given |= {"slots": workers, "gpus": gpus, "precision": precision}
    given |= {"budget": "auto" if auto else None, "like": like or None, "keep_models": keep_models}
    spec = _read(study, home, objective=objective, class_weight=class_weight, **given)
    from search.workers.start import prepare_pool

    prepare_pool(pool)  # another process imports TensorFlow, while this one imports what searches
    if spec.budget == "auto":
        from search.cli.commands import automatic  # which shows its search with this file's functions

        automatic.run(spec, home, pool)
        return
    _search(spec, home, pool)


def _search(spec: search.StudySpec, home: Path | None, pool: str) -> None:
    """Searches, and shows the result."""
    from search.cli.live import watching

    with watching() as observer:
        result = search.run_study(spec, home=home, pool=pool, observer=observer)
    lines, document = result_of(result)
    display.show(lines, document)
    if is_json() and not result.n_trained and not result.interrupted:
        display.message("nothing was trained")
    if result.interrupted:
        raise KeyboardInterrupt
    show_next(result, home)


def studies(home: Home = None) -> None:
    """List the studies of this home.

    Example: mlp-search studies
    """
    found = search.studies(home=home)
    display.show([display.studies_table(found)], [asdict(study) for study in found])


def trials(
    study: Study,
    top: Top = None,
    sort: Annotated[str | None, option("[-]COLUMN", "Sort by a column or a hyperparameter; -: largest first.")] = None,
    condition: Annotated[
        str | None, option("CONDITION", 'Show the trials with "depth == 2".', None, "--filter")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a column for each hyperparameter.")] = False,
    home: Home = None,
) -> None:
    """Show a study's leaderboard: complete trials by rank, then pruned and failed ones.

    Example: mlp-search trials digits --top 10 --filter "depth == 2"
    """
    from search.reporting import trial_rows

    if as_csv and is_json():
        raise typer.BadParameter("--csv and --json: choose one of them")
    found = search.trials(study, home=home)
    kept = trial_rows.matching(found, condition) if condition is not None else found
    kept = trial_rows.ordered(kept, sort) if sort else kept
    if as_csv:
        sys.stdout.write(trial_rows.to_csv(kept[:top]))
        return
    document = [asdict(row) for row in kept[:top]]
    if not kept:
        display.show(["no trial meets the condition" if found else "no trials yet"], document)
        return
    table = leaderboard_table(kept[:top], _title(study, condition, sort), len(kept))
    display.show([table, *display.baseline(found)], document)


def _title(study: str, condition: str | None, sort: str | None) -> str:
    chosen = "" if condition is None else f", trials with {condition}"
    return f"study {study}{chosen}" + (f", by {sort}" if sort else "")


def show(study: Study, number: Number, home: Home = None) -> None:
    """Explain in a paragraph why a trial is the best, was pruned or failed.

    Example: mlp-search show digits 7
    """
    explanation = search.explain_trial(study, number, home=home)
    document = asdict(explanation.row) | {"explanation": explanation.text}
    display.show(explanation_lines(explanation), document)


def explanation_lines(explanation: search.Explanation) -> list[str]:
    """A trial in a paragraph, its configuration and its run."""
    row = explanation.row
    precision = f", matrix products in {row.precision}" if row.precision else ""
    return [
        explanation.text,
        f"Configuration: {short(row.params)}{precision}.",
        f"MLflow run: {row.run_id or 'none yet'}.",
    ]


def report(study: Study, output: Output = None, home: Home = None) -> None:
    """Write one self-contained page of a study: its search, results, pruning and tests; it opens without a network.

    Example: mlp-search report digits --output digits.html
    """
    from search.reporting.report import write_report

    path = write_report(study, output, home=home)
    display.show([f"{path}: open it in a browser"], {"path": str(path)})


def _read(study: str, home: Path | None, **given: Any) -> search.StudySpec:
    """The study of a file, of a dataset with a preset, or an existing one, with the options applied."""
    with options.options_named(name="--study", timeout_s="--timeout", slots="--workers", source="data.source"):
        if Path(study).suffix.lower() == ".toml":
            return search.override(search.read_spec(study), **given)
        if study in _studies_beside(study, home):
            return search.resumed_spec(study, home=home, **given)
        return search.default_spec(study, **given)


def _studies_beside(given: str, home: Path | None) -> list[str]:
    """The studies of the home, for a name that is no dataset's.

    Raises:
        NotFoundError: There is none of that name, but one of a similar name.
    """
    if given in SOURCES or os.path.isfile(given):  # noqa: PTH113  (Path.is_file raises for long names)
        return []
    from search.home import read_settings
    from search.optimization.studies import study_names  # imports Optuna
    from search.storage import storage_errors

    settings = read_settings(home)
    with storage_errors(settings):
        names = study_names(settings)
    near = difflib.get_close_matches(given, names, 1)
    if near and given not in names and not Path(given).suffix:
        raise NotFoundError(f"{given!r}: must be a study file, a dataset or a study; did you mean {near[0]}?")
    return names


def result_of(result: StudyResult) -> tuple[list[RenderableType], dict[str, object]]:
    """A search as tables and lines, and as JSON."""
    counts = {name: result.count(state) for name, state in _STATES.items()}
    best = result.best and display.fields(result.best, "number", "value", "params", "run_id", "std", "precision")
    document: dict[str, object] = {
        "study": result.study,
        "trials": counts,
        "best": best,
        "wall_s": round(result.wall_s, 3),
        "waited_s": result.waited_s,
        "waited_share": result.waited_share,
    }
    document["majority"] = result.rows[0].majority if result.rows else None
    document["baselines"] = result.rows[0].baselines if result.rows else {}
    document["folds"] = result.rows[0].folds if result.rows else 1
    document["precision"] = _precision(result)
    if not result.rows:
        return [f"study {result.study} has no trials: none was begun in this time"], document
    table = leaderboard_table(result.rows[:_TOP], f"study {result.study}", len(result.rows))
    lines = [_trained(result, counts), *_waited(result), *display.baseline(result.rows)]
    return [table, *lines], document


def _precision(result: StudyResult) -> str | None:
    """The precision of all trials, ``by_size`` where they have several, None before the first has ended."""
    found = {row.precision for row in result.rows if row.precision}
    return "by_size" if len(found) > 1 else next(iter(found), None)


def _trained(result: StudyResult, counts: dict[str, int]) -> str:
    """The number of trials of the study, and of those that this run trained."""
    n_unfinished = len(result.rows) - sum(counts.values())
    unfinished = f", {n_unfinished} not finished" if n_unfinished else ""
    done = ", ".join(f"{count} {name}" for name, count in counts.items()) + unfinished
    if not result.n_trained:
        nothing = "no trial was finished" if result.interrupted else "nothing was trained"
        return f"{nothing}: the study has {done}"
    wall = display.seconds(result.wall_s)
    return f"{done} in {wall}" if result.n_trained == sum(counts.values()) else f"{done}; {result.n_trained} in {wall}"


def _waited(result: StudyResult) -> list[str]:
    """The time that slots waited; no line where they did not."""
    if round(result.waited_s) < 1:
        return []
    return [f"slots waited {display.seconds(result.waited_s)} for results, {result.waited_share:.1%} of their time"]


def show_next(result: StudyResult, home: Path | None) -> None:
    """Suggests the next commands, ready to be copied."""
    display.undelivered(result.undelivered)
    explain = display.command("show", result.study, result.best.number if result.best else 0, home=home)
    if result.rows and all(row.state == "FAIL" for row in result.rows):
        raise TrainingError(f"every trial failed; {explain} explains the first failure")
    if not result.best:
        display.suggest(display.command("ui", home=home), "every run with its curves, in MLflow")
        return
    finals = display.command("finalists", result.study, home=home)
    display.suggest(finals, "trains the best again with new seeds, and selects the winner")
    display.suggest(explain, "why this trial is the best", before="      ")
    display.suggest(display.command("ui", home=home), "every run with its curves, in MLflow", before="      ")
