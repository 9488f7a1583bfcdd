"""Finalists, the held-out test and the gate count groups where rows of one group are not independent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from command_line import call

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.data.sealed import open_test
from pipelines.evaluation.row_scores import decode
from search.home.settings import read_settings
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_study

STUDY = """\
[study]
name = "g"
trials = 1
[data]
source = "{folder}/rows.csv"
target = "y"
group = "patient"
weight = "w"
folds = 2
[space]
width = 8
depth = 1
learning_rate = 0.03
epochs = 8
batch_size = 16
[workers]
gpus = 0
"""


def test_every_step_counts_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    patient, x = np.repeat(np.arange(60), 6), rng.normal(size=(360, 2))
    y = np.where(x[:, 0] + 0.3 * rng.normal(size=360) > 0, "ill", "well")
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "patient": [f"p{n}" for n in patient], "y": y})
    frame.assign(w=rng.uniform(0.5, 1.5, 360)).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "g.toml").write_text(STUDY.format(folder=tmp_path))

    config = DataConfig(str(tmp_path / "rows.csv"), "y", group="patient", weight="w", folds=2)
    dataset, test = load(config), open_test(config)
    known = dataset.scored.group
    assert known is not None
    assert test.group is not None
    assert not set(known) & set(test.group)
    assert (len(known), len(test.group)) == (len(dataset.scored.y), len(test.y))
    assert all(len(set(dataset.fold_of[known == number])) == 1 for number in set(known)), "a group is in one fold"
    assert np.array_equal(dataset.of_fold(1).validation.group, known[dataset.fold_of == 1])

    home = ("--home", tmp_path / "home", "--json")
    assert call("run", tmp_path / "g.toml", *home).code == 0
    finals = call("finalists", "g", "--top", "1", "--seeds", "3", *home)
    assert finals.code == 0, finals.err
    for run in recorded_results(load_study(read_settings(tmp_path / "home"), "g")).values():
        assert len(decode(run["row_scores"])) == len(set(known))
    low, high = finals.json()["winner"]["interval"]
    assert 0.7 < low < finals.json()["winner"]["mean"] < high < 1

    shown = call("evaluate", "g", "--home", tmp_path / "home")
    assert f"count the {len(set(test.group))} groups of the test rows" in " ".join(shown.out.split())
    assert call("evaluate", "g", *home).json()["groups"] == len(set(test.group))
    promoted = call("promote", "g", *home).json()
    assert promoted["promoted"]
    assert promoted["test"] == "the sign-flip permutation test of the rows' accuracies"
    assert promoted["smallest_difference"] is None
