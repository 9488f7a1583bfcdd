"""The first runs on an empty PostgreSQL server or in a new home, all at once: one creates the tables."""

from __future__ import annotations

import os
import subprocess
import sys
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


OPENS = """
import sys
from pathlib import Path
from search.home.settings import read_settings
from search.storage import open_storage
print("ready", flush=True)
sys.stdin.readline()
open_storage(read_settings(Path(sys.argv[1]), {})).get_all_studies()
"""


def test_processes_that_open_a_new_home_at_once_all_find_the_tables(tmp_path: Path):
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OPENS, tmp_path]
    programs = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for program in programs:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin
        program.stdin.write("\n")
        program.stdin.flush()
    assert [program.communicate(timeout=PATIENCE_S)[1] for program in programs] == [""] * 4
    assert not [path.name for path in tmp_path.iterdir() if path.is_dir()], "nothing half-made is left"
