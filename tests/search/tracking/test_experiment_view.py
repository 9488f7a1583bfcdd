"""The views of an experiment on MLflow's page, before anything draws them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.objectives import OBJECTIVES
from search.tracking.experiment_view import VIEW, shows_the_same, state_of, view_tags, zoomed

KEY = f"mlflow.sharedViewState.{VIEW}"
NAMES = [f"dimension_{number}" for number in range(14)]


def view_of(objective: str) -> str:
    return view_tags(OBJECTIVES[objective], NAMES, NAMES)[KEY]


def charts_of(view: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(state_of(view))["compareRunCharts"]
    return found


def test_parallel_coordinates_have_a_card_of_their_own_and_as_many_axes_as_have_room() -> None:
    state = json.loads(state_of(view_of("val_accuracy")))
    [axes] = [chart for chart in state["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert axes["selectedParams"] == NAMES[:8]
    columns = {section["uuid"]: section.get("columns") for section in state["compareRunSections"]}
    assert columns[axes["metricSectionId"]] == 1
    names = [section["name"] for section in state["compareRunSections"] if section["display"]]
    assert names == sorted(names), "the page orders sections by their names"
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= columns.keys()


@pytest.mark.parametrize(("objective", "values"), [
    ("val_accuracy", [0.98, 0.97, 0.96, 0.5, 0.1, float("nan")]),
    ("val_rmse", [2.0, 2.1, 2.2, 8.0, 90.0]),
])  # fmt: skip
def test_a_chart_of_the_trials_tells_the_best_apart(objective: str, values: list[float]) -> None:
    best_key = OBJECTIVES[objective].best_key
    view = view_of(objective)
    fitted = zoomed(view, [{best_key: value} for value in values] + [{}])
    ranges = [chart["range"] for chart in charts_of(fitted) if "range" in chart]
    [(low, high)] = [tuple(each.values()) for each in ranges]
    assert all(low < value < high for value in values[:3])
    assert not any(low < value < high for value in values[3:])
    assert high - low < 4 * abs(values[0] - values[2])
    assert shows_the_same(fitted, view)
    assert zoomed(fitted, [{best_key: value} for value in values]) == fitted
    other = view_tags(OBJECTIVES[objective], NAMES[:2], NAMES[:2])[KEY]
    assert not shows_the_same(fitted, other)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_rmse"])
def test_equal_values_have_a_span_and_few_ones_none(objective: str) -> None:
    best_key = OBJECTIVES[objective].best_key
    [chart] = [chart for chart in charts_of(zoomed(view_of(objective), [{best_key: 0.0}] * 5)) if "range" in chart]
    assert chart["range"]["yMin"] < 0 < chart["range"]["yMax"]
    view = view_of(objective)
    assert zoomed(view, []) == zoomed(view, [{best_key: 0.9}] * 4) == view


def test_a_view_that_a_user_changed_is_left() -> None:
    for view in ("", "no JSON", *(json.dumps({"name": "mine", "state": state}) for state in ("{}", "[]"))):
        assert zoomed(view, [{"best_val_accuracy": 0.9}] * 6) == view
    assert shows_the_same("no JSON", "")
