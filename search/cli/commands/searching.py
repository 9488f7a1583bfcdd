"""``plan`` and ``run``: forecast a study, and search."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

import search
from pipelines.errors import NotFoundError, TrainingError
from pipelines.files.sources import SOURCES
from search.cli import options, tables
from search.cli.commands.finals import suggest_after_finals, verdict_document, verdict_tables
from search.cli.option_groups import NOTHING, GroupedOptions, with_option_groups
from search.cli.options import Home
from search.reporting import display
from search.reporting.screen import is_json
from search.reporting.trial_table import leaderboard_table

if TYPE_CHECKING:
    from search.scheduling.run_study import StudyResult

_TOP = 10
_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


@with_option_groups(settings=options.SETTINGS)
def plan(
    study: options.StudyOrSource,
    settings: GroupedOptions = NOTHING,
    data: GroupedOptions = NOTHING,
    home: Home = None,
) -> None:
    """Check a study and forecast its time and memory from short trainings; nothing is recorded.

    Example: mlp-search plan study.toml --workers 2
    """
    spec = _read(study, home, **settings, **data)
    from search.workers.start import prepare_pool

    prepare_pool("local")  # another process imports TensorFlow, while this one imports what forecasts
    from search.cli.live import working

    with working(f"training a few configurations of study {spec.name} for two epochs"):
        forecast = search.plan_study(spec, home=home)
    display.notes(forecast.notes)
    figures = ("configurations_per_hour", "forecast_s", "memory_mb", "slots")
    ranges = ("forecast_low_s", "forecast_high_s", "trials_low", "trials_high", "folds")
    document = display.fields(forecast, *figures, *ranges, "precision", "bfloat16_share")
    display.show(tables.forecast_tables(forecast.spec or spec, forecast), document)


@with_option_groups(settings=options.SETTINGS)
def run(
    study: options.StudyOrSource,
    settings: GroupedOptions = NOTHING,
    pool: options.Pool = "local",
    auto: options.Auto = False,
    like: options.Like = None,
    keep_models: options.KeepModels = None,
    data: GroupedOptions = NOTHING,
    home: Home = None,
) -> None:
    """Search: start a study, or resume the one of that name, until its budget is used.

    Example: mlp-search run digits --trials 20
    """
    own = {"budget": "auto" if auto else None, "like": like or None, "keep_models": keep_models}
    spec = _read(study, home, **settings, **data, **own)
    from search.workers.start import prepare_pool

    prepare_pool(pool)  # another process imports TensorFlow, while this one imports what searches
    if spec.budget == "auto":
        _search_and_finish(spec, home, pool)
    else:
        _search(spec, home, pool)


def _search(spec: search.StudySpec, home: Path | None, pool: str) -> None:
    """Searches, and shows the result."""
    from search.cli.live import watching

    with watching() as observer:
        result = search.run_study(spec, home=home, pool=pool, observer=observer)
    lines, document = _result_of(result)
    display.show(lines, document)
    if is_json() and not result.n_trained and not result.interrupted:
        display.message("nothing was trained")
    if result.interrupted:
        raise KeyboardInterrupt
    _show_next(result, home)


def _search_and_finish(spec: search.StudySpec, home: Path | None, pool: str) -> None:
    """Searches, then trains finalists, and shows both."""
    from search.automatic.run_auto import run_automatically
    from search.cli.live import watching

    with watching() as observer:
        found = run_automatically(spec, home=home, pool=pool, observer=observer)
    lines, document = _result_of(found.search)
    document |= {"changed_over": found.changed_over or None, "finals": None}
    if found.changed_over:
        lines.append(found.changed_over)
    if found.finals and found.finals.verdict:
        title = f"finalists of study {spec.name}"
        lines += verdict_tables(found.finals, found.finals.verdict, title)
        document["finals"] = verdict_document(found.finals, found.finals.verdict)
    display.show(lines, document)
    if found.error:
        raise found.error
    if found.search.asked_to_stop or (found.finals and found.finals.interrupted):
        raise KeyboardInterrupt
    if found.finals:
        display.undelivered(found.finals.undelivered)
        suggest_after_finals(found.finals, spec.name, home)
        return
    _show_next(found.search, home)


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


def _result_of(result: StudyResult) -> tuple[list[RenderableType], dict[str, object]]:
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
    n_diverged = sum(row.stop_reason == "diverged" for row in result.rows)
    of = {"pruned": f" ({n_diverged} diverged)" if n_diverged else ""}
    done = ", ".join(f"{count} {name}{of.get(name, '')}" for name, count in counts.items()) + unfinished
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


def _show_next(result: StudyResult, home: Path | None) -> None:
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
