"""Studies of a file that has another path than when they were started."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call

import search
from pipelines.errors import NotFoundError, SpecError

rng = np.random.default_rng(3)
FRAME = pd.DataFrame({"area": rng.normal(size=80), "rooms": rng.integers(1, 6, 80), "price": rng.normal(size=80)})
QUICK = {"target": "price", "trials": 1, "epochs": 1, "width": 8, "folds": 1}


def test_a_moved_file_is_the_same_study_and_other_rows_are_not(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new, home = tmp_path / "moved.csv", tmp_path / "new" / "moved.csv", tmp_path / "home"
    FRAME.to_csv(old, index=False)
    search.run_study(search.default_spec(str(old), **QUICK), home=home)
    old.rename(new)
    for line in (("run", "moved"), ("finalists", "moved"), ("evaluate", "moved")):
        answer = call(*line, "--home", home)
        assert answer.code == 1
        assert answer.err == (
            f"error: study 'moved': needs its data, but there is no file {str(old)!r}: put it back, or give its new"
            " path once, in its study file or as: mlp-search run PATH --study moved --target price\n"
        )
    advised = answer.err.partition(": mlp-search ")[2].replace("PATH", str(new)).split()
    assert call(*advised, "--trials", 2, "--home", home).code == 0
    assert len(search.trials("moved", home=home)) == 2
    assert call("evaluate", "moved", "--home", home).code == 0  # it reads the new path

    FRAME.iloc[:70].to_csv(new, index=False)
    with pytest.raises(SpecError, match=r"but the rows of .*moved.csv or how this version reads them changed"):
        search.run_study(search.default_spec(str(new), **QUICK | {"trials": 3}), home=home)


def test_saved_data_moves_with_its_home(tmp_path: Path) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    search.run_study(search.default_spec(search.save_data("kept", FRAME, home=home), **QUICK), home=home)
    shutil.move(home, moved)
    assert search.run_study(search.resumed_spec("kept", home=moved, trials=2), home=moved).best
    again = search.default_spec(search.save_data("kept", FRAME, home=moved), **QUICK | {"trials": 3})
    assert len(search.run_study(again, home=moved).to_frame()) == 3
    (moved / "datasets" / "kept.parquet").unlink()
    with pytest.raises(NotFoundError, match="needs its data"):
        search.resumed_spec("kept", home=moved)
