"""The first view of an experiment on MLflow's page: trials, the best first, with the columns that people compare."""

from __future__ import annotations

import json
from dataclasses import fields

from pipelines.config import Hyperparameters
from pipelines.objectives import Objective
from search.tracking.entries import now_ms

VIEW = "trials"
"""The key of the view that each experiment gets; the page lists it under "Views"."""


def experiment_tags(description: str, objective: Objective) -> dict[str, str]:
    """Tags of a study's experiment; ``description`` is the Markdown above the runs."""
    best = f"metrics.`{objective.best_key}`"
    params = [f"params.`{hyperparameter.name}`" for hyperparameter in fields(Hyperparameters)]
    # MLflow's default shows no parameters or metrics, and charts ten runs.
    state = {
        "orderByKey": best,
        "orderByAsc": not objective.maximize,
        "selectedColumns": ["tags.`trial.state`", best, *params],
        "runsHiddenMode": "SHOWALL",
    }
    now = now_ms()
    view = {"name": "Trials, best first", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": description,
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }


def study_link(server: str, experiment_id: str) -> str:
    """The address of a study's runs in that view, in MLflow's part for model training."""
    return f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def plain(text: str) -> str:
    """Escapes a text from data for Markdown and HTML."""
    return "".join(f"&#{ord(c)};" if c in "<>&`*_[]()|#!\\~" else c if c.isprintable() else " " for c in text)
