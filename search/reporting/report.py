"""A study as one HTML page that opens without a network: what was searched, found, pruned and tested."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from pipelines.errors import UnavailableError
from pipelines.evaluation.metrics import mean_interval
from search.home.settings import Settings, read_settings
from search.optimization.leaderboard import TrialRow, leaderboard
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_own_study
from search.reporting.charts import charts, learning_curves
from search.reporting.display import seconds, short
from search.reporting.explain import explain_trial
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED, FACTS, GATE, PRUNED_AT, RESULT, SEAL, SPEC, VERDICT
from search.tracking.entries import Epoch
from search.tracking.history import read_history
from search.tracking.run_names import finalist_run_name
from search.tracking.runs import connect

_TOP, _CURVES = 15, 3


def write_report(name: str, output: Path | None = None, *, home: Path | None = None) -> Path:
    """Writes the page of a study, whole or not at all.

    Args:
        name: The study.
        output: Where to; ``NAME.html`` in the working directory where it is not given.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.

    Returns:
        Where it lies.

    Raises:
        NotFoundError: There is no study of that name.
        UnavailableError: The database cannot be read, or the file cannot be written.
    """
    settings = read_settings(home)
    study = load_own_study(settings, name)
    try:
        path = (output.expanduser() if output else Path(f"{name}.html")).absolute()
    except RuntimeError as error:  # no such user
        raise UnavailableError(f"--output {output}: must be a file's path ({error}); choose another") from error
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    page = render(study, settings)
    try:
        unfinished.write_text(page, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UnavailableError(f"--output {path}: cannot be written ({error.strerror}); choose another") from error
    return path


def render(study: optuna.Study, settings: Settings) -> str:
    """The page as HTML; whatever comes from data is escaped in it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=PackageLoader("search.reporting", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"seconds": seconds, "short": short}
    figures = charts(study) | learning_curves(_histories(study, settings))
    page = environment.get_template("report.html.j2")
    return page.render(_facts(study, settings), charts=figures, plotly=get_plotlyjs() if figures else "")


def _facts(study: optuna.Study, settings: Settings) -> dict[str, Any]:
    """What the template shows."""
    attributes, rows = study.user_attrs, leaderboard(study)
    spec = StudySpec.from_json(attributes[SPEC])
    complete = [row for row in rows if row.state == "COMPLETE"]
    readings = [reading for reading in attributes.get(SEAL, ()) if "test_accuracy" in reading]
    return {
        "name": study.study_name,
        "spec": spec,
        "facts": attributes.get(FACTS, {}),
        "elapsed_s": attributes.get(ELAPSED, 0.0),
        "trained_s": sum(row.duration_s or 0.0 for row in rows),
        "counts": {state: sum(row.state == state for row in rows) for state in ("COMPLETE", "PRUNED", "FAIL")},
        "n_trials": len(rows),
        "best": complete[0] if complete else None,
        "why": explain_trial(study.study_name, complete[0].number, home=settings.home).text if complete else "",
        "rows": rows[:_TOP],
        "pruning": _pruning(study, rows),
        "finals": _finals(study),
        "seal": {"opened": len(attributes.get(SEAL, ())), "reading": readings[-1] if readings else None},
        "gate": attributes.get(GATE),
    }


def _histories(study: optuna.Study, settings: Settings) -> dict[int, tuple[Epoch, ...]]:
    """The epochs of the best trials by trial number; none where MLflow does not have them."""
    complete = [row for row in leaderboard(study) if row.state == "COMPLETE"]
    tracked = {row.number: row.run_id for row in complete[:_CURVES] if row.run_id}
    if not tracked:  # connecting would create an MLflow database
        return {}
    from mlflow.exceptions import MlflowException

    try:
        client = connect(settings)
        return {number: read_history(client, run_id) for number, run_id in tracked.items()}
    except (UnavailableError, MlflowException):
        return {}


def _pruning(study: optuna.Study, rows: Sequence[TrialRow]) -> dict[str, Any]:
    """What pruning saved, and, by the audited trials, what it missed."""
    pruned = [row for row in rows if row.state == "PRUNED"]
    trials = study.get_trials(deepcopy=False)
    spared = [
        (row, trial.user_attrs[RESULT][PRUNED_AT])
        for row in rows
        if PRUNED_AT in (trial := trials[row.number]).user_attrs.get(RESULT, {})
    ]
    others = [row.value for row in rows if row.state == "COMPLETE" and row not in [row for row, _ in spared]]
    best = max((value for value in others if value is not None), default=0.0)
    return {
        "pruned": len(pruned),
        "epochs": sum(row.epochs_trained for row in pruned),
        "planned": sum(int(row.params.get("epochs", row.epochs_trained)) for row in pruned),
        "audited": spared,
        "best_other": best,
        "missed": [row for row, _ in spared if (row.value or 0.0) > best],
    }


def _finals(study: optuna.Study) -> dict[str, Any] | None:
    """The finalists in the order of the verdict, each with its mean and interval."""
    verdict = study.user_attrs.get(VERDICT)
    if not verdict:
        return None
    noted, trials = recorded_results(study), study.get_trials(deepcopy=False)
    finalists = []
    for trial in verdict["trials"]:
        runs = [noted.get(finalist_run_name(trial, number), {}) for number in range(1, verdict["seeds"] + 1)]
        values = [run["best_val_accuracy"] for run in runs if run.get("best_val_accuracy") is not None]
        mean, low, high = mean_interval(values) if values else (0.0, 0.0, 0.0)
        result = trials[trial].user_attrs[RESULT]
        finalists.append(
            {"trial": trial, "n": len(values), "mean": mean, "low": low, "high": high, "params": result["params"],
             "promised": result["best_val_accuracy"], "n_parameters": result["n_parameters"]}
        )  # fmt: skip
    return {"finalists": finalists, "explanation": verdict["explanation"], "seeds": verdict["seeds"]}
