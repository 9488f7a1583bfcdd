"""Figures of a study as data for plotly.js; the page sets their colours and size."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from pipelines.files.archives import Array
from pipelines.objectives import Objective
from search.optimization.leaderboard import objective_of, trial_row
from search.tracking.entries import Epoch

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_CURVE_COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's; readable on light and dark pages
MAX_POINTS = 2000  # of a figure over rows; more of them hide each other
_ENOUGH = 5  # complete trials, the fewest for a figure over all of them


def charts(study: optuna.Study) -> dict[str, dict[str, Any]]:
    """The figures that a study has enough trials for, by name, each a document of plotly.js.

    Names: ``history``, ``importances``, ``parallel``, ``slices``, ``pruning``. PedAnova computes the importances in
    milliseconds, fANOVA's forests in seconds.
    """
    trials, view, figures = study.get_trials(deepcopy=False), optuna.visualization, {}
    label = objective_of(study.user_attrs).label
    copy = optuna.create_study(direction=study.direction)
    copy.add_trials([trial for trial in trials if trial.state.is_finished()])
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    searched = sorted({name for trial in complete for name in trial.params})
    varied = [name for name in searched if len({trial.params.get(name) for trial in complete}) > 1]
    with warnings.catch_warnings(action="ignore"):
        if complete:
            figures["history"] = view.plot_optimization_history(copy, target_name=label)
        if len(complete) >= _ENOUGH and varied:
            evaluator = PedAnovaImportanceEvaluator()
            figures["importances"] = view.plot_param_importances(copy, evaluator, varied, target_name=label)
            figures["parallel"] = view.plot_parallel_coordinate(copy, varied, target_name=label)
            figures["slices"] = view.plot_slice(copy, varied, target_name=label)
        if pruned:
            figures["pruning"] = _ends(pruned)
    return {name: _document(figure) for name, figure in figures.items()}


def learning_curves(objective: Objective, histories: Mapping[int, Sequence[Epoch]]) -> dict[str, dict[str, Any]]:
    """The figure ``curves``: the objective over the epochs of a few trials, on training rows too where it is logged.

    Args:
        objective: The validation metric.
        histories: Epochs by trial number, of at most three trials, one for each colour.

    Returns:
        The figure by its name, as from ``charts``; empty without an epoch.
    """
    if not any(histories.values()):
        return {}
    from plotly.graph_objects import Figure

    figure = Figure(layout={"xaxis_title": "epoch", "yaxis_title": objective.metric})
    for (number, epochs), colour in zip(histories.items(), _CURVE_COLOURS, strict=False):
        steps = [epoch.step for epoch in epochs]
        for rows, metric, dash in (("validation", objective.name, "solid"), ("training", objective.metric, "dot")):
            values = [epoch.metrics.get(metric) for epoch in epochs]
            if not any(value is not None for value in values):
                continue
            line, name = {"color": colour, "dash": dash}, f"trial {number}, {rows}"
            figure.add_scatter(x=steps, y=values, mode="lines", name=name, line=line)
    return {"curves": _document(figure)}


def regression_charts(predicted: Array, truth: Array) -> dict[str, dict[str, Any]]:
    """The figures ``predicted`` and ``residuals`` of a regression on the held-out rows, as from ``charts``.

    Args:
        predicted: (n_rows,) predictions, in the target's own unit.
        truth: (n_rows,) values.
    """
    from plotly.graph_objects import Figure

    kept = np.sort(np.random.default_rng(0).permutation(len(truth))[:MAX_POINTS])
    x, y = truth[kept].tolist(), predicted[kept].tolist()
    ends = [min(x + y), max(x + y)]
    points = {"mode": "markers", "marker": {"opacity": 0.5, "size": 5}, "showlegend": False}
    line = {"mode": "lines", "line": {"dash": "dot"}, "showlegend": False, "hoverinfo": "skip"}
    agreement = Figure(layout={"xaxis_title": "true", "yaxis_title": "predicted"})
    agreement.add_scatter(x=x, y=y, **points).add_scatter(x=ends, y=ends, **line)
    residuals = Figure(layout={"xaxis_title": "predicted", "yaxis_title": "true minus predicted"})
    residuals.add_scatter(x=y, y=(truth - predicted)[kept].tolist(), **points)
    residuals.add_scatter(x=[min(y), max(y)], y=[0, 0], **line)
    return {"predicted": _document(agreement), "residuals": _document(residuals)}


def _ends(pruned: Sequence[FrozenTrial]) -> Figure:
    """The number of trials pruned after each epoch."""
    from plotly.graph_objects import Figure

    counts = Counter(trial_row(trial, {}).epochs_trained for trial in pruned)
    figure = Figure(layout={"xaxis": {"title": "epoch", "type": "category"}, "yaxis_title": "trials pruned"})
    return figure.add_bar(x=sorted(counts), y=[counts[epoch] for epoch in sorted(counts)])


def _document(figure: Figure) -> dict[str, Any]:
    """The figure in plain values, without the theme, title and width that the page sets."""
    document: dict[str, Any] = json.loads(figure.to_json())
    for key in ("template", "title", "width"):
        document["layout"].pop(key, None)
    return document
