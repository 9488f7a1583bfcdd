"""Figures of a study as data for plotly.js; the page sets their colours and size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from search.optimization.leaderboard import trial_row
from search.tracking.entries import Epoch

_CURVE_COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's; readable on light and dark pages
OBJECTIVE = "validation accuracy"
_ENOUGH = 5  # complete trials, the fewest for a figure over all of them


def charts(study: optuna.Study) -> dict[str, str]:
    """The figures that a study has enough trials for, by name, each a JSON document safe inside HTML.

    Names: ``history``, ``importances``, ``parallel``, ``slices``, ``pruning``. PedAnova computes the importances in
    milliseconds, fANOVA's forests in seconds.
    """
    trials = study.get_trials(deepcopy=False)
    copy = optuna.create_study(direction="maximize")
    copy.add_trials([trial for trial in trials if trial.state.is_finished()])
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    searched = sorted({name for trial in complete for name in trial.params})
    varied = [name for name in searched if len({trial.params.get(name) for trial in complete}) > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _of_all(copy, varied) if len(complete) >= _ENOUGH and varied else {}
        if complete:
            made["history"] = optuna.visualization.plot_optimization_history(copy, target_name=OBJECTIVE)
    found = {name: _plain(figure.to_plotly_json()) for name, figure in made.items()}
    if pruned := [trial for trial in trials if trial.state == TrialState.PRUNED]:
        found["pruning"] = _ends(pruned)
    return {name: _embedded(figure) for name, figure in found.items()}


def learning_curves(histories: Mapping[int, Sequence[Epoch]]) -> dict[str, str]:
    """The figure ``curves``: training and validation accuracy over the epochs of a few trials.

    Args:
        histories: Epochs by trial number, of at most three trials, one for each colour.

    Returns:
        The figure by its name, as from ``charts``; empty without an epoch.
    """
    if not any(histories.values()):
        return {}
    from plotly.graph_objects import Figure

    figure = Figure(layout={"xaxis_title": "epoch", "yaxis_title": "accuracy"})
    for (number, epochs), colour in zip(histories.items(), _CURVE_COLOURS, strict=False):
        steps = [epoch.step for epoch in epochs]
        for rows, metric, dash in (("validation", "val_accuracy", "solid"), ("training", "accuracy", "dot")):
            values = [epoch.metrics.get(metric) for epoch in epochs]
            line, name = {"color": colour, "dash": dash}, f"trial {number}, {rows}"
            figure.add_scatter(x=steps, y=values, mode="lines", name=name, line=line)
    return {"curves": _embedded(_plain(figure.to_plotly_json()))}


def _of_all(study: optuna.Study, names: list[str]) -> dict[str, Any]:
    view = optuna.visualization
    evaluator = PedAnovaImportanceEvaluator()
    return {
        "importances": view.plot_param_importances(study, evaluator, names, target_name=OBJECTIVE),
        "parallel": view.plot_parallel_coordinate(study, names, target_name=OBJECTIVE),
        "slices": view.plot_slice(study, names, target_name=OBJECTIVE),
    }


def _ends(pruned: Sequence[FrozenTrial]) -> dict[str, Any]:
    """The number of trials pruned after each epoch."""
    counts = sorted(Counter(trial_row(trial, {}).epochs_trained for trial in pruned).items())
    epochs, n_trials = zip(*counts, strict=True)
    axes = {"xaxis": {"title": {"text": "epoch"}, "type": "category"}, "yaxis": {"title": {"text": "trials pruned"}}}
    return {"data": [{"type": "bar", "x": epochs, "y": n_trials}], "layout": axes}


def _plain(figure: dict[str, Any]) -> dict[str, Any]:
    """The figure without title and theme, which the page has."""
    layout = {key: value for key, value in figure["layout"].items() if key not in ("template", "title", "width")}
    return {"data": figure["data"], "layout": layout}


def _embedded(figure: dict[str, Any]) -> str:
    """The figure as JSON without a character that HTML takes for markup."""
    from plotly.io import to_json

    text = str(to_json(figure, validate=False))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
