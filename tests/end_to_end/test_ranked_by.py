"""Each of the objectives ranks a study's trials, in the leaderboard, in MLflow and in the report's charts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from registered import client_of

from pipelines.objectives import OBJECTIVES
from search.home.settings import read_settings
from search.optimization.studies import load_study
from search.reporting.charts import best_curves, document, study_charts
from search.tracking.entries import Epoch

STUDY = """\
[study]
name = "{name}"
trials = 2
[data]
source = "{folder}/rows.csv"
target = "{target}"
folds = 1
[space]
width = 8
depth = 1
learning_rate = [0.1, 0.0001]
optimizer = ["adam", "sgd"]
epochs = 2
batch_size = 16
[search]
objective = "{name}"
sampler = "random"
pruner = "none"
[workers]
slots = 1
gpus = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a home of the studies of this module."""
    folder, rng = tmp_path_factory.mktemp("ranked"), np.random.default_rng(0)
    x = rng.normal(size=(160, 2))
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(price=3 * x[:, 0] + rng.normal(size=160))
    frame.assign(ill=np.where(x[:, 0] + rng.normal(size=160) > 0.5, "yes", "no")).to_csv(
        folder / "rows.csv", index=False
    )
    return folder


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_first_place_has_the_best_value_everywhere(folder: Path, name: str) -> None:
    objective, home = OBJECTIVES[name], ("--home", folder / "home")
    target = "price" if objective.task == "regression" else "ill"
    (folder / f"{name}.toml").write_text(STUDY.format(name=name, folder=folder, target=target))
    ran = call("run", folder / f"{name}.toml", *home, "--json")
    assert ran.code == 0, ran.err

    rows = call("trials", name, *home, "--json").json()
    gains = [objective.gain(row["value"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    assert {row["objective"] for row in rows} == {name}
    assert ran.json()["best"]["value"] == rows[0]["value"]
    assert objective.metric in rows[0]["baselines"]["linear"]

    histories, client = [], client_of(folder / "home")
    for row in rows:
        points = client.get_metric_history(row["run_id"], name)
        assert [point.step for point in sorted(points, key=lambda point: point.step)] == [1, 2]
        histories.append([Epoch(point.step, point.timestamp, {name: point.value}) for point in points])
        assert row["value"] == max((point.value for point in points), key=objective.gain)
        assert client.get_run(row["run_id"]).data.metrics[objective.best_key] == row["value"]
    tags = client.get_experiment_by_name(name).tags
    view = json.loads(json.loads(tags["mlflow.sharedViewState.trials"])["state"])
    best = f"metrics.`{objective.best_key}`"
    assert (view["orderByKey"], view["orderByAsc"]) == (best, not objective.maximize)
    assert best in view["selectedColumns"]

    curves = document(best_curves(objective, {rows[0]["number"]: histories[0]}))
    assert rows[0]["value"] in curves["data"][0]["y"]
    assert curves["layout"]["yaxis"]["title"]["text"] == objective.metric
    history = study_charts(load_study(read_settings(folder / "home"), name)).documents["history"]
    values, so_far = (series["y"] for series in history["data"][:2])
    assert sorted(values) == sorted(row["value"] for row in rows)
    assert so_far == [max(values[: n + 1], key=objective.gain) for n in range(len(values))]
    assert history["layout"]["yaxis"]["title"]["text"] == objective.label
