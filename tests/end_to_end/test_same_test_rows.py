"""The gate compares models whose test rows are the same, however their other rows are split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import call
from sklearn.datasets import load_digits

STUDY = """\
[study]
name = "{name}"
trials = 1
[data]
source = "digits.npz"
folds = 1
{data}
[space]
width = {width}
epochs = {epochs}
"""


def test_another_validation_share_and_another_seed_leave_the_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    np.savez("digits.npz", x_train=x[:1400], y_train=y[:1400], x_test=x[1400:], y_test=y[1400:])
    rows, ordinals = {}, {}
    studies = {"first": ("", 8, 12), "other": ("validation_fraction = 0.3\nsplit_seed = 7", 64, 15)}
    for name, (data, width, epochs) in studies.items():
        Path(f"{name}.toml").write_text(STUDY.format(name=name, data=data, width=width, epochs=epochs))
        assert call("run", f"{name}.toml", "--home", "home").code == 0
        found = call("evaluate", name, "--json", "--home", "home").json()
        rows[name], ordinals[name] = found["test_rows"], found["ordinal"]
    assert rows["first"] == rows["other"]
    assert ordinals == {"first": 1, "other": 2}

    assert call("promote", "first", "--model", "m", "--home", "home").code == 0
    compared = call("promote", "other", "--model", "m", "--json", "--home", "home").json()
    assert compared["p_value"] is not None
    assert compared["promoted"], compared["reason"]
    assert (compared["ordinal"], compared["alpha"], compared["level"]) == (2, 0.05, 0.025)
    assert 0 < compared["smallest_difference"] < compared["test_accuracy"] - compared["champion_accuracy"]
