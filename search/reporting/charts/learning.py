"""Charts of training: the objective over the epochs, of the best trials and of all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optuna.distributions import CategoricalDistribution

from pipelines.objectives import Objective
from search.reporting.charts.axes import escaped
from search.reporting.charts.points import Point, Points, StudyPoints, TooFewTrialsError
from search.reporting.charts.style import BLUE, CURVE_COLORS, LEGEND, ORANGE, VERMILION, new_figure
from search.tracking.entries import Epoch

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_CURVES = 400
_TOP = (5, 10, 25)
_MAX_VALUES = 6
"""Of a hyperparameter whose values are filters."""


def best_curves(objective: Objective, histories: Mapping[int, Sequence[Epoch]]) -> Figure:
    """The objective over the epochs of a few trials, on training rows too where it is logged.

    Args:
        objective: The validation metric.
        histories: Epochs by trial number.
    """
    if not any(histories.values()):
        raise TooFewTrialsError("Learning curves of the best need a complete trial with an epoch.")
    has_training = any(objective.metric in epoch.metrics for epochs in histories.values() for epoch in epochs)
    note = "The training rows are dotted." if has_training and objective.metric != objective.name else ""
    axes = {"xaxis_title": "epoch", "yaxis_title": objective.metric}
    figure = new_figure("Learning curves of the best", note, **axes, legend=LEGEND)
    for index, (number, epochs) in enumerate(histories.items()):
        color = CURVE_COLORS[index % len(CURVE_COLORS)]
        steps = [epoch.step for epoch in epochs]
        for rows, metric, dash in (("validation", objective.name, "solid"), ("training", objective.metric, "dot")):
            values = [epoch.metrics.get(metric) for epoch in epochs]
            if not any(value is not None for value in values):
                continue
            line, name = {"color": color, "dash": dash}, f"trial {number}, {rows}"
            figure.add_scatter(x=steps, y=values, mode="lines", name=name, line=line)
    return figure


def all_curves(study: StudyPoints) -> Figure:
    """The objective over the epochs of all trials, with a menu that shows some of them."""
    known = [point for point in study.points if point.trial.intermediate_values]
    if not known:
        raise TooFewTrialsError(f"Learning curves need a trial with an epoch; study {study.name} has none so far.")
    ranked = sorted(known, key=lambda point: _rank(point, study.objective))
    drawn = ranked[:_MOST_CURVES]
    note = f"The {_MOST_CURVES} best of {len(ranked)} trials." if len(ranked) > len(drawn) else ""
    axes = {"xaxis_title": "epoch", "yaxis_title": study.objective.label, "hovermode": "closest"}
    figure = new_figure("Learning curves of all trials", note, **axes, height=480)
    for index, point in reversed(list(enumerate(drawn))):  # the best on top
        _add_curve(figure, point, is_best=index == 0)
    filters = {"all trials": [True] * len(drawn), **_filters(study, drawn)}
    buttons = [
        {"label": label, "method": "restyle", "args": [{"visible": are_shown[::-1]}]}
        for label, are_shown in filters.items()
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom", "showactive": True}
    figure.update_layout(updatemenus=[menu], showlegend=False)
    return figure


def _rank(point: Point, objective: Objective) -> tuple[bool, bool, float]:
    """Complete trials first, then by the value."""
    value = point.row.value
    is_known = value is not None and math.isfinite(value)
    return not point.is_complete, not is_known, -objective.gain(value) if value is not None and is_known else 0.0


def _add_curve(figure: Figure, point: Point, *, is_best: bool) -> None:
    reported = sorted(point.trial.intermediate_values.items())
    color, width = (VERMILION, 3.0) if is_best else (BLUE, 1.2) if point.is_complete else (ORANGE, 1.2)
    figure.add_scatter(
        x=[epoch for epoch, _ in reported],
        y=[float(f"{value:.6g}") if math.isfinite(value) else None for _, value in reported],
        mode="lines+markers" if len(reported) == 1 else "lines",
        line={"color": color, "width": width},
        opacity=1.0 if is_best else 0.6,
        name=f"trial {point.row.number}",
        text=point.words,
        hovertemplate="epoch %{x}: %{y}<br>%{text}<extra></extra>",
    )


def _filters(study: StudyPoints, points: Points) -> dict[str, list[bool]]:
    """The entries of the menu, states, the best, and values of hyperparameters that have few: whether each is shown."""
    states = dict.fromkeys(point.row.state for point in points)
    labels = {"FAIL": "failed", "COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "in training"}
    made = {}
    for state in states if len(states) > 1 else ():
        made[labels.get(state, state.lower())] = [point.row.state == state for point in points]
    made |= {f"the best {top}": [place < top for place in range(len(points))] for top in _TOP if top < len(points)}
    for name in study.varied:
        for value in _few_values(name, points):
            label = f"{name.replace('_', ' ')} {escaped(str(value))}"
            made[label] = [point.trial.params.get(name) == value for point in points]
    return made


def _few_values(name: str, points: Points) -> list[object]:
    """The values of a hyperparameter that has few; none otherwise."""
    given = {point.trial.params[name] for point in points if name in point.trial.params}
    is_choice = any(isinstance(point.trial.distributions.get(name), CategoricalDistribution) for point in points)
    has_few = 1 < len(given) <= _MAX_VALUES and (is_choice or all(isinstance(value, int) for value in given))
    return sorted(given, key=lambda value: (isinstance(value, str), value)) if has_few else []
