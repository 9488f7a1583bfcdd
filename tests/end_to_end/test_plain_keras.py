"""A run's two files suffice without this package: the how-to's program predicts and trains as this package does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from waiting import PATIENCE_S

from pipelines.data.preprocessing import Preprocessing
from pipelines.evaluation.predictor import ModelRecord, Predictor
from pipelines.files.tables import read_table
from pipelines.training.history import sha256
from search.home.settings import read_settings
from search.optimization.leaderboard import TrialRow
from search.scheduling.run_study import run_study
from search.spec.reading import spec_from_dict
from search.tracking.connection import connect

HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to.md").read_text()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with every kind of column, gaps and blanks."""
    rng, n = np.random.default_rng(0), 240
    number, colour = rng.normal(size=n), rng.choice(["red", "green", " blue "], n)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(n) < 0.1, np.nan, number),
            "time": 1.7e9 + np.arange(n),
            "on": rng.random(n) < 0.5,
            "day": pd.Timestamp("2024-02-27 06:00") + pd.to_timedelta(rng.integers(0, 800, n), "D"),
            "colour": np.where(rng.random(n) < 0.1, None, colour),
            "count": np.floor(np.exp(rng.normal(5, 2, n))),
            "zip": [f"Z{row % 60}" for row in range(n)],
            "target": np.where((number > 0) ^ (colour == "red"), "yes", "no"),
        }
    )
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_program_of_the_how_to_predicts_as_this_package(table: Path, tmp_path: Path) -> None:
    document = {
        "study": {"name": "table", "trials": 1},
        "data": {"source": str(table), "target": "target", "folds": 1},
        "space": {"width": 16, "depth": 1, "epochs": 3},
        "workers": {"slots": 1},
    }
    best = run_study(spec_from_dict(document), home=tmp_path / "home").best
    assert isinstance(best, TrialRow)
    client = connect(read_settings(tmp_path / "home", {}))
    path = Path(client.download_artifacts(best.run_id, "", str(tmp_path)))
    assert {file.name for file in path.iterdir()} >= {"model.h5", "preprocessing.json"}

    [program] = [block for block in re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL) if "def encode" in block]
    told = f"path, FILE = {str(path)!r}, {str(table)!r}\n{program}\nprint(json.dumps([rows.tolist(), predictions]))"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows, predictions = json.loads(done.stdout.splitlines()[-1])

    preprocessing = Preprocessing.from_json(json.loads((path / "preprocessing.json").read_text()))
    assert preprocessing.columns
    kinds = {column.name: column.kind for column in preprocessing.columns.columns}
    expected = ("number", "numeric"), ("time", "numeric"), ("on", "boolean"), ("day", "date"), ("colour", "category")
    assert kinds == {**dict(expected), "count": "numeric", "zip": "category"}
    assert {(column.curve is None, column.n_shared) for column in preprocessing.columns.columns[-2:]} == {
        (False, 0),
        (True, 32),
    }
    encoded = preprocessing.encode(read_table(table, preprocessing.columns.text_columns))
    np.testing.assert_allclose(np.array(rows, np.float32), encoded, rtol=1e-6)
    content = (path / "model.h5").read_bytes()
    ours = Predictor.load(content, ModelRecord(preprocessing, (0, 1), sha256(content))).probabilities(encoded)
    assert predictions == [preprocessing.class_names[number] for number in ours.argmax(axis=1)]
