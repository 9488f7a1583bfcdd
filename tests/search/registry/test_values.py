"""Numbers with intervals, and thresholds of two classes: the same from the command, Python and MLflow."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from registered import client_of, pyfunc

from search.registry.predict import predict
from search.registry.promotion import promote

STUDY = """\
[study]
name = "{name}"
trials = 1
[data]
source = "{folder}/{name}.csv"
folds = 1
target = "{target}"
[space]
width = 16
depth = 1
learning_rate = 0.02
epochs = 12
batch_size = 16
[search]
objective = "{objective}"
"""


def houses(n_rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    area, town = rng.uniform(30, 200, n_rows), rng.choice(["north", "south"], n_rows)
    price = 2000 * area + 50_000 * (town == "south") + rng.normal(0, 20_000, n_rows)
    rare = np.where(rng.random(n_rows) < 1 / (1 + np.exp(-(area - 190) / 15)), "yes", "no")
    return pd.DataFrame({"area": area.round(2), "town": town, "price": price.round(2), "sold": rare})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the models ``prices``, a regression, and ``sales``, of two classes."""
    folder = tmp_path_factory.mktemp("houses")
    houses().drop(columns="sold").to_csv(folder / "prices.csv", index=False)
    houses().drop(columns="price").to_csv(folder / "sales.csv", index=False)
    for name, target, objective in (("prices", "price", "val_rmse"), ("sales", "sold", "val_auc")):
        text = STUDY.format(name=name, folder=folder, target=target, objective=objective)
        (folder / f"{name}.toml").write_text(text)
        answer = call("run", folder / f"{name}.toml", "--home", folder / "home", "--json")
        assert answer.code == 0, answer.err
        promote(name, force="no test of it here", home=folder / "home")
    return folder / "home"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    houses().head(30)[["area", "town"]].to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def test_a_number_has_the_same_value_everywhere_and_an_interval(home: Path, rows: Path, tmp_path: Path) -> None:
    answer = call("predict", "prices", rows, "--json", "--output", tmp_path / "out.csv", "--home", home).json()
    assert [set(row) for row in answer] == [{"value", "low", "high"}] * 30
    frame = pd.DataFrame(answer)
    assert (frame.low <= frame.value).all()
    assert (frame.value <= frame.high).all()
    truth = houses().head(30).price
    assert ((frame.low <= truth) & (truth <= frame.high)).mean() > 0.7
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), frame[["value", "low", "high"]])
    served = pyfunc(home, "prices")
    assert np.allclose(np.asarray(served.predict(pd.read_csv(rows))).ravel(), frame.value, rtol=1e-5)
    assert [tuple(output.shape) for output in served.metadata.signature.outputs] == [(-1, 1)]
    shown = call("predict", "prices", rows, "--figure", tmp_path / "one.png", "--home", home)
    assert shown.code == 0, shown.err
    assert "95% intervals" in shown.out
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_the_card_of_a_regression_names_its_unit_and_its_interval(home: Path) -> None:
    card = client_of(home).get_model_version_by_alias("prices", "champion").description
    assert "one number a row, in the unit of the column price" in card
    assert "validation RMSE" in card
    assert "added to the prediction. It is computed from the residuals of 64 validation rows." in card
    assert "class" not in card
    assert "ccuracy" not in card


def test_the_list_of_models_names_the_metric_of_each(home: Path) -> None:
    rows = {row["model"]: row for row in call("models", "--json", "--home", home).json()}
    assert (rows["prices"]["objective"], rows["sales"]["objective"]) == ("val_rmse", "val_auc")
    assert rows["prices"]["value"] is None
    shown = call("models", "--home", home).out
    assert "accuracy" not in shown
    assert "rmse" in shown


def test_two_classes_are_told_apart_by_a_threshold(home: Path, rows: Path) -> None:
    plain = call("predict", "sales", rows, "--json", "--home", home).json()
    assert [row["label"] for row in plain] == ["yes" if row["probabilities"][1] > 0.5 else "no" for row in plain]
    assert set(plain[0]) == {"label", "probability", "probabilities"}
    best = call("predict", "sales", rows, "--threshold", "auto", "--json", "--home", home).json()
    chosen = best[0]["threshold"]
    assert 0 < chosen < 0.5, "sales are rare, and the objective does not depend on a threshold"
    for given in (best, call("predict", "sales", rows, "--threshold", str(chosen), "--json", "--home", home).json()):
        for row, before in zip(given, plain, strict=True):
            assert row["probabilities"] == before["probabilities"]
            assert row["label"] == ("yes" if row["probabilities"][1] > chosen else "no")
            assert row["probability"] == row["probabilities"][row["label"] == "yes"]
    card = client_of(home).get_model_version_by_alias("sales", "champion").description
    assert "Predicts yes above a probability of 0.5; with `--threshold auto`, above 0." in card
    frame = predict("sales", rows, threshold="auto", home=home).to_frame()
    assert frame.label.tolist() == [row["label"] for row in best]
    assert f"yes above {chosen:.4g}" in call("predict", "sales", rows, "--threshold", "auto", "--home", home).out


@pytest.mark.parametrize(
    ("model", "threshold", "message"),
    [
        ("sales", "1", "must be auto, or above 0 and below 1, got 1"),
        ("sales", "nan", "must be auto, or above 0 and below 1, got nan"),
        ("sales", "half", "must be auto or a number, got 'half'"),
        ("prices", "auto", "must be left out unless a model has two classes"),
        ("prices", "0.5", "must be left out unless a model has two classes"),
    ],
)
def test_a_threshold_that_cannot_be_is_one_line(
    home: Path, rows: Path, model: str, threshold: str, message: str
) -> None:
    answer = call("predict", model, rows, "--threshold", threshold, "--home", home)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert f"--threshold: {message}" in answer.err


def test_models_of_an_earlier_version_predict_without_what_they_do_not_keep(
    home: Path, rows: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(home, old)
    for path in (old / "artifacts").rglob("record.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({key: record[key] for key in ("value_range", "model_sha256", "preprocessing")}))
    values = call("predict", "prices", rows, "--json", "--home", old).json()
    assert set(values[0]) == {"value"}
    assert call("predict", "prices", rows, "--home", old).code == 0
    assert set(call("predict", "sales", rows, "--json", "--home", old).json()[0]) == {
        "label", "probability", "probabilities"
    }  # fmt: skip
    refused = call("predict", "sales", rows, "--threshold", "auto", "--home", old)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert "must be a number for sales version 1, which has no stored threshold" in refused.err


def test_an_output_that_is_no_csv_is_refused(home: Path, rows: Path, tmp_path: Path) -> None:
    answer = call("predict", "sales", rows, "--output", tmp_path / "out.xls", "--home", home)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert "must end in .csv" in answer.err


def test_an_output_is_not_written_over_the_rows(home: Path, rows: Path) -> None:
    before = rows.read_bytes()
    answer = call("predict", "sales", rows, "--output", rows.parent / "." / rows.name, "--home", home)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert "must not be the file of the rows" in answer.err
    assert rows.read_bytes() == before


def test_a_row_without_a_finite_prediction_is_named(home: Path, rows: Path, tmp_path: Path) -> None:
    """A number that many programs write for a missing value is beyond what the network can add up."""
    frame = pd.read_csv(rows)
    numbers = frame.select_dtypes("number").columns
    frame = frame.astype(dict.fromkeys(numbers, float))
    frame.loc[2, numbers] = -3.4e38
    frame.to_csv(tmp_path / "rows.csv", index=False)
    answer = call("predict", "prices", tmp_path / "rows.csv", "--home", home)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1), answer.out
    assert re.search(r"must predict finite numbers, got (nan|-?inf) for row 2: correct the row", answer.err)
