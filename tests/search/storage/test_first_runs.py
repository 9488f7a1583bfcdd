"""The first runs on an empty PostgreSQL server, all at once: one creates the tables, the others wait."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import STUDY
from forked import MODULE, Forked
from waiting import PATIENCE_S


@pytest.mark.parametrize("tracked_there", [False, True])
def test_three_first_runs_at_once_all_finish(tmp_path: Path, postgres: Callable[[str], str], tracked_there: bool):
    places = {"OPTUNA_STORAGE": postgres("first-optuna")}
    if tracked_there:
        places["MLFLOW_TRACKING_URI"] = postgres("first-mlflow")
    options = ("--trials", "1", "--workers", "1", "--home", tmp_path / "home", "--json")
    studies = [tmp_path / f"s{number}.toml" for number in range(3)]
    for study in studies:
        study.write_text(STUDY.replace("tiny", study.stem))
    runs = [
        Forked([*MODULE, "run", study, *options], env=os.environ | places, stdout=subprocess.DEVNULL)
        for study in studies
    ]
    said = [run.stderr.read() for run in runs if run.stderr]
    assert [run.wait(PATIENCE_S) for run in runs] == [0, 0, 0], said
    assert not any("Traceback" in text for text in said)
