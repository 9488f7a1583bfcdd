"""Charts of a search over its space: which hyperparameters matter, and which values are good."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState, create_trial

from search.reporting.charts.axes import Axis, ticks_of
from search.reporting.charts.points import StudyPoints, TooFewTrialsError
from search.reporting.charts.style import BLUE, BRIGHTNESS, GRAY, LEGEND, VERMILION, add_marked, beyond, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_FEW = 5
"""Trials, the fewest whose importances say anything."""
_MOST_AXES = 12
_COLUMNS, _PANEL_PX = 4, 230
_GRID = 40
_GOLDEN = 0.618034
_NEAR = 0.12
"""Of an axis: the distance over which the surface of a contour is smoothed."""
_BY_RANK = ((0.0, GRAY), (0.1, GRAY), (0.1, "#56B4E9"), (0.55, BLUE), (1.0, VERMILION))
"""Of lines: gray for pruned trials, then from the worst complete trial to the best."""


def importances(study: StudyPoints) -> Figure:
    """Each hyperparameter's share of the difference between the best tenth of the trials and all of them (PedAnova)."""
    shares = _shares(study)
    note = f"Computed from {len(study.compared)} trials by PedAnova. {study.mark}".strip()
    if not any(shares.values()):
        raise TooFewTrialsError(f"Importances need trials of different values; those of study {study.name} are equal.")
    names = list(shares)[::-1]
    room = [0, 1.2 * max(shares.values())]  # for the text beside the longest bar
    axes = {
        "xaxis": {"title": "importance", "tickformat": ".0%", "range": room},
        "yaxis": {"type": "category", "automargin": True},
    }
    figure = new_figure("Importances", note, **axes, height=170 + 26 * len(names))
    return figure.add_bar(
        x=[shares[name] for name in names], y=names, orientation="h", marker={"color": BLUE},
        text=[f"{shares[name]:.0%}" for name in names], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip


def _shares(study: StudyPoints) -> dict[str, float]:
    """Importances by hyperparameter, the largest first; they sum to 1. PedAnova takes milliseconds, fANOVA seconds."""
    study.require(_FEW, 1, "Importances")
    copy = optuna.create_study(direction=study.objective.direction)
    for point in study.compared:
        trial = point.trial
        params = {name: trial.params[name] for name in study.varied}
        distributions = {name: trial.distributions[name] for name in study.varied}
        ended = create_trial(state=TrialState.COMPLETE, value=point.value, params=params, distributions=distributions)
        copy.add_trial(ended)
    with warnings.catch_warnings(action="ignore"):
        found: Mapping[str, float] = PedAnovaImportanceEvaluator().evaluate(copy, params=list(study.varied))
    total = sum(found.values())
    shares = {name: value / total if total else 0.0 for name, value in found.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _by_importance(study: StudyPoints) -> list[str]:
    """The hyperparameters that vary, the most important one first where there are enough trials to tell."""
    return list(_shares(study)) if len(study.compared) >= _FEW else list(study.varied)


def parallel(study: StudyPoints) -> Figure:
    """A line a trial over the value, its state and its hyperparameters; a range of an axis can be selected."""
    study.require(2, 1, "Parallel coordinates")
    names = _by_importance(study)
    values = [point.value for point in study.compared]
    ticks, labels = ticks_of(values)
    known: list[dict[str, Any]] = [
        {"label": study.objective.name, "values": values, "tickvals": ticks, "ticktext": labels}
    ]
    if 0 < sum(point.is_complete for point in study.compared) < len(values):
        states = [int(point.is_complete) for point in study.compared]
        known.append({"label": "state", "values": states, "tickvals": [0, 1], "ticktext": ["pruned", "complete"]})
    known += [_dimension(study.axis(name)) for name in names[:_MOST_AXES]]
    note = "The better a complete trial, the redder its line. " + ("Pruned ones are gray. " if study.mark else "")
    note += "Drag along an axis to select a range."
    if len(names) > _MOST_AXES:
        note += f" The {_MOST_AXES} most important of {len(names)} hyperparameters are drawn."
    figure = new_figure("Parallel coordinates", note, height=460, margin={"l": 64, "r": 64, "t": 160, "b": 40})
    line = {"color": _colors(study), "colorscale": _BY_RANK, "cmin": 0, "cmax": 1, "showscale": False}
    figure.add_parcoords(dimensions=known, line=line, labelangle=-25, labelside="top")
    return figure


def _colors(study: StudyPoints) -> list[float]:
    """0 for a pruned trial; from 0.1 for the worst complete one to 1 for the best."""
    gain = study.objective.gain
    complete = sorted((point.row.number for point in study.compared if point.is_complete),
                      key=lambda number: gain(study.points[number].value))  # fmt: skip
    ranks = {number: rank / max(1, len(complete) - 1) for rank, number in enumerate(complete)}
    if len(complete) == 1:
        ranks = dict.fromkeys(complete, 1.0)
    return [0.11 + 0.89 * ranks[point.row.number] if point.is_complete else 0.0 for point in study.compared]


def _dimension(axis: Axis) -> dict[str, object]:
    places = list(axis.places)
    return {"label": axis.name, "values": places, "range": axis.span, "tickvals": axis.ticks, "ticktext": axis.labels}


def slices(study: StudyPoints) -> Figure:
    """The value against one hyperparameter at a time; ``meta.panels`` is their number, to arrange them again."""
    from plotly.subplots import make_subplots

    study.require(2, 1, "Slices")
    names = _by_importance(study)
    values = [study.shown(point.value) for point in study.compared]
    symbols = beyond(study, study.compared)
    n_columns, n_rows = min(_COLUMNS, len(names)), -(-len(names) // _COLUMNS)
    note = ("Rings are pruned trials." if study.mark else "") + study.beyond_note
    figure = new_figure("Slices", note, height=160 + _PANEL_PX * n_rows, meta={"panels": len(names)}, legend=LEGEND)
    panels: list[list[dict[str, str] | None]] = [[{}] * n_columns for _ in range(n_rows)]
    panels[-1] = [{} if (n_rows - 1) * n_columns + column < len(names) else None for column in range(n_columns)]
    gaps = {"horizontal_spacing": 0.04, "vertical_spacing": 0.3 / n_rows}
    make_subplots(n_rows, n_columns, specs=panels, shared_yaxes="all", figure=figure, **gaps)
    for index, name in enumerate(names):
        axis, place = study.axis(name), {"row": index // n_columns + 1, "col": index % n_columns + 1}
        scale = {"tickvals": axis.ticks, "ticktext": axis.labels, "range": axis.span, "tickangle": 0}
        figure.update_xaxes(title={"text": axis.name, "standoff": 6}, zeroline=False, **scale, **place)
        options: dict[str, Any] = {"showlegend": index == 0, **place}
        add_marked(figure, study.compared, _apart(axis), values, is_detailed=False, beyond=symbols, **options)
    figure.update_yaxes(title=study.objective.metric, showticklabels=True, col=1)
    return figure.update_layout(showlegend=True)


def _apart(axis: Axis) -> list[float]:
    """Places of a chart whose points of one category stand a little apart, the same ones each time."""
    if not axis.categories:
        return list(axis.places)
    return [round(place + 0.4 * (number * _GOLDEN % 1 - 0.5), 3) for number, place in enumerate(axis.places)]


def contour(study: StudyPoints) -> Figure:
    """The value over the two most important hyperparameters: a smoothed mean of the trials nearby, and the trials."""
    study.require(_FEW, 2, "Contours")
    across, up = (study.axis(name) for name in _by_importance(study)[:2])
    values = np.array([study.shown(point.value) for point in study.compared])
    x, y = (_positions(axis) for axis in (across, up))
    surface = _surface(across, up, values, x, y)
    note = f"Brighter is better: the mean of the trials nearby. {study.mark}".strip()
    axes = {}
    for name, axis, places in (("xaxis", across, x), ("yaxis", up, y)):
        span = axis.span if axis.categories else (float(places[0]), float(places[-1]))
        axes[name] = {"title": axis.name, "tickvals": axis.ticks, "ticktext": axis.labels, "range": span}
    figure = new_figure("The two that matter most", note, **axes, height=460, showlegend=True)
    figure.update_layout(legend=LEGEND)
    shared = {
        "x": x.round(5).tolist(), "y": y.round(5).tolist(), "z": surface,
        "colorscale": BRIGHTNESS, "reversescale": not study.objective.maximize, "hoverinfo": "skip",
        "colorbar": {"thickness": 12, "title": {"text": study.objective.metric, "side": "right"}},
    }  # fmt: skip
    if across.categories or up.categories:
        figure.add_heatmap(**shared)
    else:
        figure.add_contour(**shared, ncontours=14, line={"width": 0.5, "color": "rgba(255,255,255,0.35)"})
    add_marked(figure, study.compared, _apart(across), _apart(up))
    figure.update_traces(selector={"type": "scatter"}, marker={"line": {"width": 1.5, "color": "white"}})
    return figure


def _positions(axis: Axis) -> np.ndarray:
    """The places of a surface along an axis."""
    return np.arange(len(axis.categories), dtype=float) if axis.categories else np.linspace(*axis.span, _GRID)


def _surface(across: Axis, up: Axis, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """(len(y), len(x)) means of the values, weighted by a Gaussian of the distance; categories are apart."""
    weights = []
    for axis, places in ((across, x), (up, y)):
        low, high = axis.span
        distance = (places[:, None] - np.asarray(axis.places)[None, :]) / (high - low)
        if axis.categories:
            distance = np.where(np.abs(distance) * (high - low) < 0.5, 0.0, 1.0)  # another category is far away
        weights.append(distance**2)
    squared = weights[1][:, None, :] + weights[0][None, :, :]
    near = np.exp(-squared / (2 * _NEAR**2)) + 1e-12
    return [[float(f"{value:.5g}") for value in row] for row in (near @ values) / near.sum(axis=2)]
