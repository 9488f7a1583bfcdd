"""Baselines: a constant prediction and a linear model on the same rows, and whether a search beats them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, log_loss, r2_score, roc_auc_score

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset, Split
from pipelines.data.loading import load
from pipelines.objectives import OBJECTIVES
from search.optimization import baselines
from search.optimization.baselines import BaselineThread, baseline_scores, compare, validation_scores
from search.optimization.provenance import majority_of
from search.spec.reading import default_spec, spec_from_dict


def dataset(tmp_path: Path, y: np.ndarray, n_features: int = 3) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(5, [1, 10, 100][:n_features], (len(y), n_features)).astype(np.float32)
    x[:, 0] += y
    np.savez(tmp_path / "d.npz", x=x, y=y)
    return load(DataConfig(str(tmp_path / "d.npz")))


def standard(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    center, scale = data.training.x.mean(axis=0), data.training.x.std(axis=0)
    return (data.training.x - center) / scale, (data.validation.x - center) / scale


def test_classes_are_scored_as_scikit_learns_models_are(tmp_path: Path) -> None:
    data = dataset(tmp_path, (np.arange(400) % 4 == 0).astype(np.int32))
    found = baseline_scores(data, data.validation)
    known, asked = standard(data)
    shares = LogisticRegression().fit(known, data.training.y).predict_proba(asked)
    y = data.validation.y
    assert found["linear"]["auc"] == pytest.approx(roc_auc_score(y, shares[:, 1]), abs=1e-3)
    assert found["linear"]["loss"] == pytest.approx(log_loss(y, shares), abs=1e-3)
    constant = DummyClassifier().fit(known, data.training.y).predict(asked)
    assert found["majority"]["accuracy"] == pytest.approx(np.mean(constant == y))
    assert found["majority"]["balanced_accuracy"] == balanced_accuracy_score(y, constant) == 0.5
    assert found["majority"]["auc"] == 0.5


def test_with_folds_they_are_means_over_the_folds(tmp_path: Path) -> None:
    one = dataset(tmp_path, (np.arange(400) % 4 == 0).astype(np.int32))
    data = load(DataConfig(str(tmp_path / "d.npz"), folds=3))
    rows = data.training.joined(data.validation)
    found = []
    for number in range(3):
        inside = data.fold_of == number
        fold = replace(data, training=rows.at(~inside), validation=rows.at(inside), fold_of=None)
        found.append(baseline_scores(fold, fold.validation))
    assert validation_scores(one) == baseline_scores(one, one.validation)
    means = validation_scores(data)
    assert means.keys() == {"majority", "linear"}
    assert means["linear"]["auc"] == pytest.approx(np.mean([scores["linear"]["auc"] for scores in found]))
    assert majority_of(data) == pytest.approx(means["majority"]["accuracy"])
    everything = replace(data, training=rows, fold_of=None)
    assert baseline_scores(data, one.validation) == baseline_scores(everything, one.validation)


def test_the_linear_model_has_the_class_weights_of_the_networks_beside_it(tmp_path: Path) -> None:
    data = dataset(tmp_path, (np.arange(600) % 12 == 0).astype(np.int32))
    known, asked = standard(data)
    balanced = LogisticRegression(class_weight="balanced").fit(known, data.training.y).predict(asked)
    thread = BaselineThread(data, {}, default_spec("d.npz", class_weight="balanced").space.class_weight)
    found = thread.scores(60.0)
    expected = balanced_accuracy_score(data.validation.y, balanced)
    assert found["linear"]["balanced_accuracy"] == pytest.approx(expected, abs=0.02)
    plain = baseline_scores(data, data.validation)
    assert plain["linear"]["balanced_accuracy"] < expected
    assert found["majority"] == plain["majority"]
    both = spec_from_dict({"data": {"source": "d.npz"}, "space": {"class_weight": ["none", "balanced"]}})
    assert both.space.class_weight is None


def test_a_regression_is_scored_in_its_own_unit(tmp_path: Path) -> None:
    data = dataset(tmp_path, np.random.default_rng(1).normal(1000, 300, 500))
    found = baseline_scores(data, data.validation)
    known, asked = standard(data)
    decode = data.preprocessing.target.decode
    truth = decode(data.validation.y)
    predicted = Ridge().fit(known, decode(data.training.y)).predict(asked)
    assert found["linear"]["r2"] == pytest.approx(r2_score(truth, predicted), abs=1e-3)
    assert found["mean"]["rmse"] == pytest.approx(np.sqrt(np.mean((truth - decode(data.training.y).mean()) ** 2)))


@pytest.mark.parametrize("weight", [None, "w"])
def test_an_absolute_error_is_beside_that_of_the_median(weight: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=400), "w": rng.integers(1, 5, 400)})
    frame["y"] = np.where(rng.random(400) < 0.9, 0.0, 50.0)
    frame.to_csv(path := tmp_path / "zeros.csv", index=False)
    data = load(DataConfig(str(path), target="y", task="regression", weight=weight, folds=1))
    found = baseline_scores(data, data.validation)
    beside = compare(1.0, OBJECTIVES["val_mae"], found).baselines
    assert beside.keys() == {"median", "linear"}
    target = data.preprocessing.target
    assert target
    truth = target.decode(data.validation.y)
    assert beside["median"] == pytest.approx(np.average(np.abs(truth), weights=data.validation.weight))
    assert compare(1.0, OBJECTIVES["val_rmse"], found).baselines.keys() == {"mean", "linear"}


def test_a_large_table_is_drawn_from_and_weights_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(tmp_path, (np.arange(400) % 2).astype(np.int32))
    monkeypatch.setattr(baselines, "MAX_PRODUCTS", 3 * 2 * 50)
    few = baseline_scores(data, data.validation)["linear"]
    assert few == baseline_scores(data, data.validation)["linear"], "the same rows each time"
    weight = np.where(data.training.y == 1, 3, 1).astype(np.float32)
    weighted = replace(data, training=Split(data.training.x, data.training.y, weight))
    assert baseline_scores(weighted, data.validation)["majority"]["loss"] > np.log(2)
    monkeypatch.setattr(baselines, "MAX_PRODUCTS", 1)  # a single row has one class
    assert list(baseline_scores(data, data.validation)) == ["majority"]


@pytest.mark.parametrize("target", [np.arange(400) % 2, np.random.default_rng(0).normal(size=400)])
def test_columns_that_depend_on_each_other_are_no_warning(
    tmp_path: Path, target: np.ndarray, recwarn: pytest.WarningsRecorder
) -> None:
    data = dataset(tmp_path, target)
    x = np.repeat(data.training.x, 40, axis=1)
    data = replace(data, training=Split(x, data.training.y))
    thread = BaselineThread(replace(data, validation=data.training), {})
    assert "linear" in thread.scores(60.0)
    assert not [warning for warning in recwarn if "sklearn" in str(warning.filename)]


def test_what_is_recorded_is_not_trained_again(tmp_path: Path) -> None:
    recorded = {"majority": {"accuracy": 0.25}}
    data = dataset(tmp_path, (np.arange(400) % 2).astype(np.int32))
    assert BaselineThread(data, recorded).scores(0.0) == recorded
    assert BaselineThread(data, {}).scores(60.0) == baseline_scores(data, data.validation)


@pytest.mark.parametrize(
    ("objective", "value", "beaten"),
    [("val_auc", 0.81, True), ("val_auc", 0.8, False), ("val_rmse", 9.0, True), ("val_rmse", 11.0, False)],
)
def test_a_baseline_that_is_not_beaten_is_named(objective: str, value: float, beaten: bool) -> None:
    known = {"linear": {"auc": 0.8, "rmse": 10.0, "accuracy": 0.1}}
    [line] = compare(value, OBJECTIVES[objective], known).sentences("the best trial")
    shown = "AUC 0.8000" if objective == "val_auc" else "RMSE 10.0000"
    assert line == f"A linear model reaches {shown}" + ("." if beaten else ": the best trial does not beat it.")


def test_an_error_that_is_small_in_its_unit_beats_a_larger_one() -> None:
    for value, is_beaten in ((2e-7, True), (3e-7, False)):
        [line] = compare(value, OBJECTIVES["val_rmse"], {"linear": {"rmse": 3e-7}}).sentences("the best trial")
        assert ("does not beat it" not in line) == is_beaten


def test_a_study_shows_its_baselines_at_every_step(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    np.savez(tmp_path / "line.npz", x=x, y=x @ [100.0, 20.0, -50.0] + rng.normal(size=400))
    (tmp_path / "line.toml").write_text(
        f'[study]\nname = "line"\ntrials = 1\n[data]\nsource = "{tmp_path}/line.npz"\nfolds = 1\n'
        "[space]\nwidth = 4\nepochs = 1\n"
    )
    place = ("--home", tmp_path / "home")
    ran = call("run", tmp_path / "line.toml", "--json", *place)
    assert ran.code == 0, ran.err
    linear = ran.json()["baselines"]["linear"]
    assert linear["rmse"] == pytest.approx(1, abs=0.3)
    assert ran.json()["baselines"]["mean"]["rmse"] > 50
    assert call("trials", "line", "--json", *place).json()[0]["baselines"]["linear"] == linear
    [row] = call("studies", "--json", *place).json()
    assert (row["linear"], row["constant"]) == (linear["rmse"], row["baselines"]["mean"]["rmse"])
    line = f"A linear model reaches RMSE {linear['rmse']:.4f}: "
    assert line + "the best trial does not beat it." in call("trials", "line", *place).out
    assert line + "this trial does not beat it." in call("show", "line", "0", *place).out
    page = tmp_path / "line.html"
    assert call("report", "line", "--output", page, *place).code == 0
    assert "<td>a linear model</td>" in page.read_text()
    assert "majority or mean" in call("studies", *place).out


def test_a_column_that_is_constant_in_training_alone_does_not_decide(tmp_path: Path) -> None:
    data = dataset(tmp_path, (np.arange(3000) % 2).astype(np.int32))
    constant, new = np.full((len(data.training.x), 1), 0.1, np.float32), np.full((len(data.validation.x), 1), 0.2, "f4")
    wider = replace(data, training=Split(np.hstack([data.training.x, constant]), data.training.y))
    found = baseline_scores(wider, Split(np.hstack([data.validation.x, new]), data.validation.y))["linear"]
    expected = baseline_scores(data, data.validation)["linear"]
    assert found["loss"] == pytest.approx(expected["loss"], abs=0.01)
