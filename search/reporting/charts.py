"""Optuna's figures of a study as plain data for plotly.js: no colour of a theme, and no larger than a page needs."""

from __future__ import annotations

import json
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
_ENOUGH = 5
"""Complete trials that a figure of all of them needs to say anything."""


def charts(study: optuna.Study) -> dict[str, str]:
    """The figures that a study has enough trials for, by name, each a JSON document safe inside HTML.

    Names: ``history``, ``importances``, ``parallel``, ``slices``, ``pruning``. Importances are PedAnova's, which takes
    milliseconds where fANOVA's forests take seconds.
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
        histories: Epochs by trial number; at most three trials, which is how many colours there are.

    Returns:
        The figure by its name, as ``charts`` gives it; nothing where there is no epoch.
    """
    lines = [
        {
            "type": "scatter", "mode": "lines", "name": f"trial {number}, {rows}",
            "x": [epoch.step for epoch in epochs], "y": [epoch.metrics.get(metric) for epoch in epochs],
            "line": {"color": colour, "dash": dash},
        }
        for (number, epochs), colour in zip(histories.items(), _CURVE_COLOURS, strict=False)
        for rows, metric, dash in (("validation", "val_accuracy", "solid"), ("training", "accuracy", "dot"))
    ]  # fmt: skip
    if not any(histories.values()):
        return {}
    axes = {"xaxis": {"title": {"text": "epoch"}}, "yaxis": {"title": {"text": "accuracy"}}}
    return {"curves": _embedded({"data": lines, "layout": axes})}


def _of_all(study: optuna.Study, params: Sequence[str]) -> dict[str, Any]:
    view, names = optuna.visualization, list(params)
    evaluator = PedAnovaImportanceEvaluator()
    return {
        "importances": view.plot_param_importances(study, evaluator, names, target_name=OBJECTIVE),
        "parallel": view.plot_parallel_coordinate(study, names, target_name=OBJECTIVE),
        "slices": view.plot_slice(study, names, target_name=OBJECTIVE),
    }


def _ends(pruned: Sequence[FrozenTrial]) -> dict[str, Any]:
    """How many trials were pruned after each epoch."""
    counts = sorted(Counter(trial_row(trial, {}).epochs_trained for trial in pruned).items())
    bars = {"type": "bar", "x": [epoch for epoch, _ in counts], "y": [count for _, count in counts]}
    axes = {"xaxis": {"title": {"text": "epoch"}, "type": "category"}, "yaxis": {"title": {"text": "trials pruned"}}}
    return {"data": [bars], "layout": axes}


def _plain(figure: dict[str, Any]) -> dict[str, Any]:
    """Without title and theme, which are the page's."""
    layout = {key: value for key, value in figure["layout"].items() if key not in ("template", "title", "width")}
    return {"data": figure["data"], "layout": layout}


def _embedded(figure: dict[str, Any]) -> str:
    """JSON that no HTML parser takes for markup."""
    from plotly.io import to_json

    text = str(to_json(figure, validate=False))
    json.loads(text)  # plotly's own encoder must have left nothing that a browser cannot read
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
