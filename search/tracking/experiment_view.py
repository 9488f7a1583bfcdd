"""The views of an experiment on MLflow's page: trials and finalists, with the columns and charts that people compare.

MLflow keeps a view as a tag of the experiment; the keys of its JSON are those of MLflow's page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from pipelines.objectives import OBJECTIVES, Objective
from search.spec.space import NAMES
from search.tracking.entries import now_ms

VIEW = "trials"
"""The key of the first view that each experiment gets; the page lists it under "Views"."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""The tag of an experiment that is this view."""
BEST_VIEW = "best"
"""The key of the view of the ten best trials and their learning curves."""
FINALISTS_VIEW = "finalists"
"""The key of the view of all runs that are no trials: finalists, refits and ensembles."""
TRAINING = "workflowType=machine_learning"
"""The part of an address that opens MLflow's page on model training; without it the page is about agents."""

NOTE = "mlflow.note.content"
"""The tag of an experiment or a run that is its description on the page."""
State: TypeAlias = dict[str, object]
_SECTION, _WIDE = "mlp-search", "mlp-search-wide"
_HEIGHT_PX, _MAX_AXES = 300, 8
"""Of a card that stands beside another one; of the parallel coordinates, whose labels overlap where there are more."""
_ZOOMED, _MIN_VALUES = f"{_SECTION}-zoomed", 5
"""The chart of the best trials' curves, and how many trials it takes to tell which those are."""
_STATE, _ROLE = "tags.`trial.state`", "tags.`role`"
# MLflow's own sections, which hold a chart for each metric; folded, so that the prepared charts are in sight.
_FOLDED = ("Model metrics", "System metrics")


def experiment_tags(description: str, views: Mapping[str, str] | None = None) -> dict[str, str]:
    """Tags of a new experiment.

    Args:
        description: Markdown above the runs.
        views: What ``view_tags`` gives; by default for the default objective.
    """
    kind = {"mlflow.experimentKind": "custom_model_development", NOTE: description}
    return kind | dict(views or view_tags(OBJECTIVES["val_accuracy"], NAMES, ()))


def view_tags(objective: Objective, params: Sequence[str], searched: Sequence[str]) -> dict[str, str]:
    """Tags of an experiment that are its views; the page orders them by name.

    Args:
        objective: The metric that ranks runs.
        params: The hyperparameters that are columns.
        searched: Those that are axes of the parallel coordinates.
    """
    trials, columns = "attributes.run_name LIKE 'trial-%'", [_STATE, *_columns(objective, params)]
    all_trials = _state(objective, columns, trials, _trial_charts(objective, searched))
    best = _state(objective, columns, trials, _curves(objective)) | {"runsHiddenMode": "FIRST_10_RUNS"}
    others = _state(objective, [_ROLE, *_columns(objective, params)], "tags.role LIKE '%'", _curves(objective))
    return {
        **_view(VIEW, "Trials, best first", all_trials),
        **_view(BEST_VIEW, "The ten best trials", best),
        **_view(FINALISTS_VIEW, "Finalists", others),
    }


def training_view(objective: Objective) -> dict[str, str]:
    """The tag of the one view of single trainings."""
    state = _state(objective, [_STATE, *_columns(objective, NAMES)], "", _curves(objective))
    return _view(VIEW, "Trainings, best first", state)


def state_of(view: str) -> str:
    """The state of a view, without the time at which it was made; "" where there is no view."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(view)["state"])
    return ""


def shows_the_same(one: str, other: str) -> bool:
    """Whether two views differ in nothing but the values that their charts span."""
    return _without_ranges(state_of(one)) == _without_ranges(state_of(other))


def _without_ranges(state: str) -> object:
    try:
        found = json.loads(state)
        charts = [{key: value for key, value in chart.items() if key != "range"} for chart in found["compareRunCharts"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return state
    return {**found, "compareRunCharts": charts}


def zoomed(view: str, metrics: Sequence[Mapping[str, float]]) -> str:
    """The view of trials whose second chart spans the values of the best tenth, at least three, to tell them apart.

    Args:
        view: The view, as its tag has it.
        metrics: Of each trial's run.
    """
    state = json.loads(state_of(view) or "{}")
    if not isinstance(state, dict):
        return view
    chart = next((chart for chart in state.get("compareRunCharts", ()) if chart.get("uuid") == _ZOOMED), None)
    best_key = str(state.get("orderByKey", "")).removeprefix("metrics.").strip("`")
    values = sorted(each[best_key] for each in metrics if math.isfinite(each.get(best_key, math.nan)))
    if chart is None or len(values) < _MIN_VALUES:
        return view
    best = values if state.get("orderByAsc") else values[::-1]
    first, last = best[0], best[max(2, len(best) // 10)]
    room = first - last or 0.01 * (abs(first) or 1.0) * (-1 if state.get("orderByAsc") else 1)
    ends = sorted((first + 0.3 * room, last - 1.5 * room))  # most of the room shows how they got there
    chart["range"] = dict(zip(("yMin", "yMax"), ends, strict=True))
    return json.dumps(json.loads(view) | {"state": json.dumps(state)})


def study_link(server: str, experiment_id: str, view: str = VIEW) -> str:
    """The address of a study's runs in one of the views."""
    return f"{server}/#/experiments/{experiment_id}/runs?{TRAINING}&viewStateShareKey={view}"


def experiments_link(server: str) -> str:
    """The address of the list of all experiments."""
    return f"{server}/#/experiments?{TRAINING}"


def models_link(server: str) -> str:
    """The address of the registry."""
    return f"{server}/#/models?{TRAINING}"


def plain(text: str) -> str:
    """Escapes a text from data for Markdown and HTML."""
    return "".join(f"&#{ord(c)};" if c in "<>&`*_[]()|#!\\~" else c if c.isprintable() else " " for c in text)


def _view(key: str, name: str, state: State) -> dict[str, str]:
    now = now_ms()
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    return {f"mlflow.sharedViewState.{key}": json.dumps(view)}


def _columns(objective: Objective, params: Sequence[str]) -> list[str]:
    return [f"metrics.`{objective.best_key}`", "metrics.`best_epoch`", *(f"params.`{name}`" for name in params)]


def _state(objective: Objective, columns: Sequence[str], runs: str, charts: Sequence[State]) -> State:
    """The state of a view: the runs of a filter, the best first, in these columns and charts."""
    best = f"metrics.`{objective.best_key}`"
    shown = {"display": True, "isReordered": False}
    # The page orders sections by their names, its own at the end, and titles a chart of one metric with that alone.
    is_of_trials = any(chart["metricSectionId"] == _WIDE for chart in charts)
    name = "Learning curves: all, and the best enlarged" if is_of_trials else "Learning curves"
    sections = [{"uuid": _SECTION, "name": name, "columns": 2, "cardHeight": _HEIGHT_PX, **shown}]
    if is_of_trials:
        sections.append({"uuid": _WIDE, "name": "Trials compared", "columns": 1, **shown})
    sections += [{"uuid": name, "name": name, **shown, "display": False} for name in _FOLDED]
    # MLflow's default shows no parameters or metrics, and charts ten runs.
    return {
        "searchFilter": runs,
        "orderByKey": best,
        "orderByAsc": not objective.maximize,
        "selectedColumns": list(columns),
        "columnOrder": [*columns, "duration"],
        "columnWidths": {columns[0]: 110, best: 150},
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "compareRunCharts": list(charts),
        "compareRunSections": sections,
    }


def _trial_charts(objective: Objective, searched: Sequence[str]) -> list[State]:
    """The charts of all trials: their curves, the best ones' curves, parallel coordinates, and the best values."""
    best, wide = objective.best_key, {"metricSectionId": _WIDE}
    axes = {"selectedParams": list(searched)[:_MAX_AXES], "selectedMetrics": [best]}
    return [
        _line("epochs", objective.name),
        _line("zoomed", objective.name),
        _chart("coordinates", "PARALLEL", "Parallel Coordinates", **axes, **wide),
        _chart("best", "BAR", best, metricKey=best, **wide),
    ]


def _curves(objective: Objective) -> list[State]:
    """The charts of a few runs: their learning curves."""
    return [
        _line("objective", objective.name),
        _line("losses", "loss", "val_loss"),
        _chart("best", "BAR", objective.best_key, metricKey=objective.best_key),
    ]


def _line(key: str, *metrics: str) -> State:
    options = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0}
    return _chart(key, "LINE", metrics[0], metricKey=metrics[0], selectedMetricKeys=metrics, **options)


def _chart(key: str, kind: str, name: str, **options: object) -> State:
    place = {"uuid": f"{_SECTION}-{key}", "metricSectionId": _SECTION, "isGenerated": False, "deleted": False}
    return {"type": kind, "displayName": name, **place, **options}
