"""From the search to the champion by a regression's error and by AUC: finalists, held-out test, gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from registered import client_of, versions

from pipelines.evaluation.row_scores import decode
from search.home.settings import read_settings
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_study
from search.reporting.display import score

STUDY = """\
[study]
name = "{name}"
trials = {trials}
[data]
source = "{folder}/rows.csv"
folds = {folds}
target = "{target}"
[space]
width = {{ low = 8, high = 24 }}
depth = 1
learning_rate = 0.02
epochs = {epochs}
batch_size = 16
[search]
objective = "{objective}"
sampler = "random"
pruner = "none"
"""


def run(folder: Path, name: str, target: str, objective: str, **given: int) -> None:
    values = {"name": name, "folder": folder, "target": target, "objective": objective, "trials": 1, "folds": 1}
    (folder / f"{name}.toml").write_text(STUDY.format_map(values | given))
    answer = call("run", folder / f"{name}.toml", "--home", folder / "home", "--json")
    assert answer.code == 0, answer.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a home with the studies ``price``, ``slow`` (a worse one of it) and ``rare``.

    The last one has three folds.
    """
    folder, rng = tmp_path_factory.mktemp("objectives"), np.random.default_rng(0)
    area, age = rng.uniform(30, 200, 400), rng.uniform(0, 50, 400)
    price = 2000 * area - 3000 * age + rng.normal(0, 15_000, 400)
    rare = np.where(rng.random(400) < 1 / (1 + np.exp(-(area - 180) / 8)), "yes", "no")
    pd.DataFrame({"area": area, "age": age, "price": price, "rare": rare}).to_csv(folder / "rows.csv", index=False)
    run(folder, "price", "price", "val_rmse", epochs=15, trials=2)
    run(folder, "slow", "price", "val_loss", epochs=1)
    run(folder, "rare", "rare", "val_auc", epochs=8, folds=3)
    return folder


def answers(folder: Path, *words: object, code: int = 0) -> dict:
    answer = call(*words, "--home", folder / "home", "--json")
    assert answer.code == code, answer.err
    return answer.json()


def test_a_regression_becomes_champion_by_its_errors(folder: Path):
    finals = answers(folder, "finalists", "price", "--top", "2", "--seeds", "3")
    means = [finalist["mean"] for finalist in finals["finalists"]]
    low, high = finals["winner"]["interval"]
    assert finals["objective"] == "val_rmse"
    assert 10_000 < low < finals["winner"]["mean"] < high < 40_000
    assert finals["winner"]["mean"] <= min(means) * 1.2

    tested = answers(folder, "evaluate", "price")
    assert tested["value"] == tested["test_rmse"] < tested["baseline"] / 3
    assert tested["interval"] == tested["intervals"]["test_rmse"]
    assert {"test_rmse", "test_mae", "test_r2", "test_loss"} <= tested.keys()
    assert not {"right", "majority", "test_accuracy"} & tested.keys()

    first = answers(folder, "promote", "price")
    assert first["promoted"]
    assert first["value"] == tested["test_rmse"]
    assert first["test"] == "the sign-flip permutation test of the rows' squared errors"
    assert "better than a constant prediction" in first["reason"]

    # The version has the predictions itself: those of its run may be gone.
    (version,) = versions(folder / "home", "price")
    (kept,) = (folder / "home").glob(f"artifacts/**/{version.run_id}/artifacts/sealed_test")
    assert (kept / "residuals.png").stat().st_size > 5_000
    assert f"(get-artifact?path=sealed_test%2Fresiduals.png&run_uuid={version.run_id})" in version.description
    aside = kept.rename(folder / "aside")
    shown = call("evaluate", "slow", "--home", folder / "home").out
    assert shown.index("test loss") < shown.index("test rmse")
    assert "right and wrong" not in shown
    refused = answers(folder, "promote", "slow", "--model", "price", code=3)
    assert refused["reason"].startswith("study slow's trial-0000 is not better: test rmse ")
    assert refused["champion_value"] > 0
    aside.rename(kept)


def test_a_classifier_becomes_champion_by_its_auc_over_folds(folder: Path):
    (row,) = answers(folder, "trials", "rare")
    assert row["folds"] == 3
    assert 0 < row["std"] < 0.5
    assert "(mean of 3 folds, standard deviation 0." in call("show", "rare", 0, "--home", folder / "home").out
    finals = answers(folder, "finalists", "rare", "--top", "1", "--seeds", "3", "--refit")
    assert finals["objective"] == "val_auc"
    low, high = finals["winner"]["interval"]
    assert 0.5 < low < finals["winner"]["mean"] <= high <= 1
    recorded = recorded_results(load_study(read_settings(folder / "home"), "rare"))
    assert len(decode(recorded["finalist-0000-seed-1"]["row_scores"])) == 320
    assert len(recorded) == 4
    assert answers(folder, "doctor") == []  # each run has each epoch
    assert "best_val_auc_std" in client_of(folder / "home").get_run(row["run_id"]).data.metrics

    tested = answers(folder, "evaluate", "rare")
    assert tested["value"] == tested["test_auc"] > tested["baseline"] == 0.5
    assert tested["interval"] == tested["intervals"]["test_auc"]

    shown = " ".join(call("evaluate", "rare", "--home", folder / "home").out.split())
    assert f"; the most frequent class has {tested['majority']:.4f}" in shown

    first = answers(folder, "promote", "rare")
    assert first["promoted"]
    assert first["test"] == "the sign-flip permutation test of the rows' contributions to AUC"
    (version,) = versions(folder / "home", "rare")
    assert float(version.tags["test_auc"]) == tested["test_auc"]
    assert "**Data.** Rows: 320 in 3 folds, 80 test." in version.description
    assert answers(folder, "models")[0]["version"] == 1
    page = answers(folder, "report", "rare", "--output", folder / "rare.html")["path"]
    text = Path(page).read_text()
    assert "Each value is the mean of 3 folds" in text
    assert f'<td class="n">{score(row["value"])}</td><td class="n">{score(row["std"])}</td>' in text
    assert score(row["std"]) in call("trials", "rare", "--home", folder / "home").out
    metrics = client_of(folder / "home").get_run(version.run_id).data.metrics
    assert metrics["test_auc_low"] < metrics["test_auc"] == tested["test_auc"]
