"""The figures of a study: complete and pruned trials, told apart, or a line that says what is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from recorded_trials import BEGIN, record, trial_of

from search.optimization.explanations import explain
from search.reporting.charts import (
    CHARTS,
    StudyPoints,
    TooFewTrialsError,
    confusion,
    study_charts,
    study_points,
)
from search.reporting.charts.axes import log_ticks, ticks_of
from search.storage.attributes import ELAPSED, RESULT, SPEC


def note_of(figure: Any) -> str:
    """The note beneath the heading, whose lines fit the width of a notebook on a site."""
    text = str(figure.layout.title.subtitle.text)
    assert all(len(line) <= 72 for line in text.split("<br>"))
    return text.replace("<br>", " ")


@pytest.fixture(scope="module")
def few() -> StudyPoints:
    """A study of 28 trials of which 3 are complete."""
    return study_points(record(28, 3))


def test_a_pruned_trial_is_counted_where_it_ended_though_its_result_is_a_copy() -> None:
    study = optuna.create_study(direction="maximize")
    reported = create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.5, 2: 0.6})
    copied = create_trial(state=TrialState.PRUNED, user_attrs={RESULT: {"epochs_trained": 3}})
    study.add_trials([reported, copied, copied])
    [bars] = study_charts(study).documents["pruning"]["data"]
    assert (bars["x"], bars["y"]) == ([2, 3], [1, 2])


def test_a_study_of_28_trials_of_which_3_are_complete_gets_every_chart() -> None:
    made = study_charts(record(28, 3))
    assert made.missing == {}
    assert set(made.documents) == set(CHARTS)
    assert "25 of 28 trials were pruned" in made.notes["importances"]


@pytest.mark.parametrize("n_trials", [0, 1, 2, 4])
def test_a_chart_that_is_not_drawn_says_why(n_trials: int) -> None:
    made = study_charts(record(n_trials, n_trials))
    assert set(made.documents) | set(made.missing) == set(CHARTS)
    assert "importances" in made.missing
    assert made.missing["importances"] == (
        f"Importances need 5 complete or pruned trials with a value; study recorded has {n_trials} so far."
    )
    assert all(line.endswith(".") and "\n" not in line for line in made.missing.values())


def test_pruned_trials_are_rings_and_complete_ones_are_filled(few: StudyPoints) -> None:
    for name in ("history", "slices", "contour"):
        markers = [trace for trace in CHARTS[name](few).data if trace.type == "scatter" and trace.mode == "markers"]
        symbols = {(trace.name, trace.marker.symbol) for trace in markers}
        assert symbols == {("complete", None), ("pruned", "circle-open")}, name
    [lines] = CHARTS["parallel"](few).data
    assert [color == 0 for color in lines.line.color].count(True) == 25
    assert list(lines.dimensions[1].ticktext) == ["pruned", "complete"]


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_so_far_is_drawn_as_steps(few: StudyPoints, maximize: bool) -> None:
    study = replace(few, objective=replace(few.objective, maximize=maximize))
    *_, steps = CHARTS["history"](study).data
    assert steps.line.shape == "hv"
    complete = [point.value for point in few.measured if point.is_complete]
    expected = [(max if maximize else min)(complete[: n + 1]) for n in range(3)]
    assert list(steps.y) == [*expected, expected[-1]]
    assert steps.x[-1] == 27, "the last step reaches to the last trial"


@pytest.mark.parametrize("maximize", [True, False])
def test_a_network_that_learned_nothing_leaves_room_for_the_others(maximize: bool) -> None:
    study = record(30, 30)
    random = np.random.default_rng(5)
    trial = trial_of(TrialState.PRUNED, random, 1, 0, BEGIN)
    trial.user_attrs[RESULT]["best_val_accuracy"] = -50.0 if maximize else 50.0
    study.add_trial(trial)
    points = study_points(study)
    points = replace(points, objective=replace(points.objective, maximize=maximize))
    for name in ("history", "slices"):
        figure = CHARTS[name](points)
        [ring] = [trace for trace in figure.data if trace.name == "pruned"][:1]
        assert ring.marker.symbol == (f"triangle-{'down' if maximize else 'up'}-open",)
        assert abs(ring.y[0]) < 5, "at the edge of the axis"
        assert "50.0" in ring.text[0], "its value is told"
        assert "Triangles are" in note_of(figure)


def test_a_poor_first_trial_does_not_squeeze_the_history() -> None:
    study, random = record(0, 0), np.random.default_rng(5)
    for number in range(30):
        trial = trial_of(TrialState.COMPLETE, random, 8, 0, BEGIN)
        if not number:
            trial.user_attrs[RESULT]["best_val_accuracy"] = -5000.0
        study.add_trial(trial)
    *_, steps = CHARTS["history"](study_points(study)).data
    assert min(steps.y) > -5, "the line begins at the edge of the axis too"


def test_a_trial_that_the_median_pruner_ended_is_compared_as_the_pruner_does() -> None:
    """By its best value so far, with complete trials alone."""
    study = record(12, 10)
    study.set_user_attr(SPEC, {"search": {"pruner": "median", "objective": "val_accuracy"}})
    at_two = sorted(trial.intermediate_values[2] for trial in study.trials[:10])
    text = explain(study, 11).text
    assert f"the 10 complete trials have a median of {(at_two[4] + at_two[5]) / 2:.4f}" in text
    assert f"its best validation accuracy until then was {study.trials[11].intermediate_values[2]:.4f}" in text
    assert text.endswith("the median pruner ends trials that are worse than the median.")


def test_a_study_without_a_complete_trial_has_a_history() -> None:
    *_, steps = CHARTS["history"](study_points(record(6, 0))).data
    assert steps.name == "best so far, of pruned trials"


def test_the_curves_of_all_trials_can_be_filtered(few: StudyPoints) -> None:
    figure = CHARTS["all_curves"](few)
    assert len(figure.data) == 28
    [menu] = figure.layout.updatemenus
    shown = {button.label: sum(button.args[0]["visible"]) for button in menu.buttons}
    assert (shown["all trials"], shown["complete"], shown["pruned"], shown["the best 5"]) == (28, 3, 25, 5)
    assert sum(shown[f"optimizer {name}"] for name in ("adam", "rmsprop", "sgd")) == 28
    assert all(len(button.args[0]["visible"]) == 28 for button in menu.buttons)
    complete = next(button for button in menu.buttons if button.label == "complete").args[0]["visible"]
    names = {trace.name for trace, visible in zip(figure.data, complete, strict=True) if visible}
    assert names == {"trial 0", "trial 1", "trial 2"}


def test_the_timeline_shows_who_trained_when_and_where_a_slot_waited(few: StudyPoints) -> None:
    bars = {trace.name: trace for trace in CHARTS["timeline"](few).data}
    assert set(bars) == {"complete", "pruned", "waiting"}
    assert sorted(zip(bars["complete"].y, bars["complete"].base, bars["complete"].x, strict=True)) == [
        ("cpu:0", 0.0, 8.0), ("cpu:0", 9.0, 8.0), ("cpu:1", 0.0, 8.0),
    ]  # fmt: skip
    waits = list(zip(bars["waiting"].y, bars["waiting"].base, bars["waiting"].x, strict=True))
    assert ("cpu:0", 8.0, 1.0) in waits
    for lane in ("cpu:0", "cpu:1"):
        own = [
            (base, base + x) for t in bars.values() for y, base, x in zip(t.y, t.base, t.x, strict=True) if y == lane
        ]
        assert all(abs(end - begin) < 1e-6 for (_, end), (begin, _) in pairwise(sorted(own))), (
            "without a gap or overlap"
        )


def test_a_failed_trial_occupied_its_slot_until_it_failed() -> None:
    """The record of a failed trial has no duration."""
    study, random = optuna.create_study(direction="maximize"), np.random.default_rng(0)
    failed = trial_of(TrialState.FAIL, random, 600, 0, BEGIN)
    del failed.user_attrs[RESULT]["duration_s"]
    study.add_trials([failed, trial_of(TrialState.COMPLETE, random, 8, 0, BEGIN + timedelta(seconds=600))])
    bars = {trace.name: trace for trace in CHARTS["timeline"](study_points(study)).data}
    assert {name: list(trace.x) for name, trace in bars.items()} == {"complete": [8 / 60], "failed": [600 / 60]}


def test_the_timeline_leaves_out_the_night_between_two_runs() -> None:
    study = record(4, 4, slots=1)
    random = np.random.default_rng(1)
    study.add_trial(trial_of(TrialState.COMPLETE, random, 8, 0, BEGIN + timedelta(hours=20)))
    study.set_user_attr(ELAPSED, study.user_attrs[ELAPSED] + 10.0)
    figure = CHARTS["timeline"](study_points(study))
    assert max(figure.data[0].base) < 60
    assert len(figure.layout.shapes) == 1
    assert "pauses between two runs" in note_of(figure)


def test_two_slots_of_a_device_have_two_lanes() -> None:
    study, random = optuna.create_study(direction="maximize"), np.random.default_rng(0)
    for _ in range(2):
        study.add_trial(trial_of(TrialState.COMPLETE, random, 3, 0, BEGIN, "gpu:0"))
    [bars, *_] = CHARTS["timeline"](study_points(study)).data
    assert sorted(bars.y) == ["gpu:0", "gpu:0 (2)"]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([1, 2, 3], ["1", "2", "3"]),
        ([0.0, 0.5], ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ([16.5, 500], ["100", "200", "300", "400", "500"]),
        ([0.90123, 0.98456], ["0.9", "0.92", "0.94", "0.96", "0.98"]),
    ],
)
def test_ticks_are_round_numbers(given: list[float], labels: list[str]) -> None:
    assert list(ticks_of(given)[1]) == labels


def test_ticks_of_a_logarithmic_axis_are_values() -> None:
    assert log_ticks([1e-4, 0.08])[1] == ("0.0001", "0.001", "0.01")
    assert log_ticks([16, 500])[1] == ("20", "50", "100", "200", "500")
    assert log_ticks([3e-3, 4e-3])[1] == ("0.003", "0.004")


def test_names_and_values_of_the_data_are_no_markup() -> None:
    figure = confusion([[3, 1], [0, 2]], ["<b>a</b>", "b"], "rows")
    assert "<" not in "".join(figure.layout.xaxis.ticktext)
    assert "<b>" not in str(figure.data[0].hovertext)
    assert "5 of 6 rows are classified correctly" in note_of(figure)


def test_a_study_whose_values_are_all_the_same_is_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(6):
        study.add_trial(trial_of(TrialState.COMPLETE, np.random.default_rng(0), 3, 0, BEGIN))
    made = study_charts(study)
    assert set(made.documents) >= {"history", "all_curves", "timeline"}
    assert "a hyperparameter that varies" in made.missing["importances"]


def test_too_few_trials_is_an_error_of_one_line() -> None:
    with pytest.raises(TooFewTrialsError, match="need 5 complete or pruned trials"):
        CHARTS["contour"](study_points(record(3, 3)))


def test_values_that_are_all_equal_have_no_importances() -> None:
    study = optuna.create_study(direction="maximize")
    distributions = {"width": IntDistribution(1, 40)}
    for width in range(1, 21):
        given = {"params": {"width": width}, "distributions": distributions, "intermediate_values": {1: 0.5}}
        study.add_trial(create_trial(value=0.5, **given))
    made = study_charts(study)
    assert made.missing["importances"].startswith("Importances need trials of different values")


def test_a_trial_that_diverged_was_not_pruned() -> None:
    study = optuna.create_study(direction="maximize")
    diverged = create_trial(
        state=TrialState.PRUNED, intermediate_values={1: 0.5}, user_attrs={RESULT: {"stop_reason": "diverged"}}
    )
    study.add_trials([diverged, create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.5, 2: 0.6})])
    [bars] = study_charts(study).documents["pruning"]["data"]
    assert (bars["x"], bars["y"]) == ([2], [1])
