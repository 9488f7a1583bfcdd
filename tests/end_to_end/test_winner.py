"""From a search to a model that answers, by the command line alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from sklearn.datasets import load_digits

STUDY = """
[study]
name = "small"
trials = 1
[data]
source = "digits"
[space]
width = 8
depth = 1
optimizer = "adam"
epochs = 4
batch_size = 32
"""


def test_search_finals_test_registry_predictions_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def mlp_search(*arguments: str) -> Any:
        answer = call(*arguments, "--json", "--home", tmp_path / "home")
        assert answer.code == 0, answer.err
        return answer.json()

    (tmp_path / "small.toml").write_text(STUDY)
    mlp_search("run", "small.toml")
    assert mlp_search("trials", "small")[0]["folds"] == 5
    small = mlp_search("evaluate", "small")
    assert mlp_search("promote", "small", "--model", "digits")["version"] == 1

    found = mlp_search("run", "digits", "--folds", "1", "--trials", "2")
    assert found["best"]["value"] > 0.95
    finals = mlp_search("finalists", "digits", "--top", "2", "--seeds", "2", "--refit")
    assert finals["winner"] in finals["finalists"]
    assert finals["winner"].keys() == {"params", "mean", "interval", "n_parameters", "run_ids"}
    assert finals.keys() == {
        "winner", "significant", "p_value", "finalists", "loss", "majority", "objective", "baselines", "ensemble",
        "expected", "expected_interval", "model", "refit_run_id", "refit_failure", "folds",
    }  # fmt: skip

    test = mlp_search("evaluate", "digits")
    assert test["right"] + test["wrong"] == 360
    assert test["interval"][0] < test["test_accuracy"] < test["interval"][1]

    promotion = mlp_search("promote", "digits")
    assert promotion["promoted"]
    assert promotion["version"] == 2
    assert promotion["champion_accuracy"] == small["test_accuracy"]
    assert promotion["p_value"] < 0.05

    digits = load_digits()
    np.savez(tmp_path / "x.npz", x=digits.images[:100])
    answers = mlp_search("predict", "digits@champion", "x.npz")
    assert np.mean([answer["label"] for answer in answers] == digits.target[:100].astype(str)) > 0.95

    back = mlp_search("rollback", "digits")
    assert (back["version"], back["left"]) == (1, 2)
