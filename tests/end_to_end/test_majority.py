"""A constant classifier on unbalanced classes: named at every step, and refused by the gate."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_line import call

STUDY = """\
[study]
name = "rare"
trials = 1
[data]
source = {source}
folds = 1
[space]
width = 4
epochs = 1
[search]
pruner = "none"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The study file of noise whose labels are 99 % zeros."""
    noise, labels = np.random.default_rng(0).normal(size=(1000, 3)), np.arange(1000) % 100 == 7
    np.savez(tmp_path / "rare.npz", x=noise.astype(np.float32), y=labels.astype(np.int32))
    file = tmp_path / "rare.toml"
    file.write_text(STUDY.format(source=repr(str(tmp_path / "rare.npz"))))
    return file


def test_a_constant_classifier_is_named_at_every_step_and_not_promoted(study: Path, tmp_path: Path):
    place = ("--home", tmp_path / "home")
    not_beaten = r"Always predicting the most frequent class reaches 0\.9\d+:\s+{}\s+does\s+not\s+beat\s+it"
    steps = [
        (("run", study), "the best trial"),
        (("trials", "rare"), "the best trial"),
        (("show", "rare", "0"), "this trial"),
        (("finalists", "rare", "--top", "1", "--seeds", "2"), "the winner"),
        (("evaluate", "rare"), "the model"),
    ]
    for command, what in steps:
        answer = call(*command, *place)
        assert answer.code == 0, answer.err
        assert re.search(not_beaten.format(what), answer.out), answer.out

    assert call("trials", "rare", "--json", *place).json()[0]["majority"] == pytest.approx(0.99, abs=0.005)
    assert call("run", study, "--json", *place).json()["majority"] == pytest.approx(0.99, abs=0.005)
    assert call("evaluate", "rare", "--again", "--json", *place).json()["majority"] == 0.99
    page = tmp_path / "rare.html"
    assert call("report", "rare", "--output", page, *place).code == 0
    assert {"this trial", "the winner", "the model"} <= set(re.findall(r"reaches 0.9\d+: (.*?) does", page.read_text()))

    refused = call("promote", "rare", "--json", *place)
    assert refused.code == 3
    assert "better than always predicting one class" in refused.json()["reason"]
    assert refused.json()["majority"] == 0.99
    assert call("promote", "rare", "--force", "a demo", *place).code == 0
