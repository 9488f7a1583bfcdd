"""What Python code gives by mistake is one clear line; NumPy's numbers are numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import search
from pipelines.errors import InputError, SpecError

Call = Callable[[Path], object]
SPEC = search.default_spec("digits")
WRONG: dict[str, tuple[Call, str]] = {
    "a result for a name": (
        lambda h: search.run_finalists(search.load_study("tiny", home=h), home=h),
        "study: ",
    ),
    "nothing for a name": (
        lambda h: search.evaluate(None, home=h),
        "study: must be the name of a study, got None",
    ),
    "a path for a name": (
        lambda h: search.load_study(Path("tiny"), home=h),
        "study: must be the name of a study",
    ),
    "a name for a study to plan": (lambda h: search.plan_study("digits", home=h), "spec: must be a StudySpec"),
    "a name for a study to change": (lambda _: search.override("digits", trials=1), "spec: must be a StudySpec"),
    "a name for a training": (lambda h: search.train_once("digits", home=h), "spec: must be a TrainingSpec"),
    "a study for a training": (lambda h: search.train_once(SPEC, home=h), "spec: must be a TrainingSpec"),
    "no run": (lambda h: search.continue_training(None, home=h), "run_id: must be the id of a run in MLflow"),
    "no model": (lambda h: search.predict(None, np.zeros((1, 8, 8)), home=h), "model: must be the name of"),
    "a fraction of finalists": (
        lambda h: search.run_finalists("tiny", top=1.5, home=h),
        "--top: must be a whole",
    ),
    "a text of finalists": (lambda h: search.run_finalists("tiny", top="1", home=h), "--top: must be a whole"),
    "a truth value of seeds": (lambda h: search.run_finalists("tiny", seeds=True, home=h), "--seeds: must be a"),
    "a text of models": (
        lambda h: search.prune_models("tiny", keep="3", home=h),
        "--keep: must be a whole number",
    ),
    "one result to compare": (
        lambda h: search.compare(search.load_study("tiny", home=h)),
        "compare: must be a list",
    ),
    "rows to compare": (
        lambda h: search.compare(search.trials("tiny", home=h)),
        "compare: trials must be those of",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_one_line(case: str, finished_home: Path) -> None:
    call, says = WRONG[case]
    with pytest.raises((InputError, SpecError), match=re.escape(says)) as caught:
        call(finished_home)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("epochs", [0, -5, 1.5, True, "2"])
def test_a_training_continues_by_a_whole_number_of_epochs(epochs: object, tmp_path: Path) -> None:
    trained = search.train_once(search.default_training("digits", width=8, epochs=2), home=tmp_path)
    with pytest.raises(SpecError, match="--epochs: must be"):
        search.continue_training(str(trained.row.run_id), epochs=epochs, home=tmp_path)


def test_numbers_of_numpy_are_numbers(finished_home: Path) -> None:
    assert search.prune_models("tiny", keep=np.int64(3), dry_run=True, home=finished_home).study == "tiny"
    names = np.array(["tiny", 0, 1])
    assert search.compare(names, home=finished_home) is not None
    assert search.compare(pd.Series(names), home=finished_home) is not None
    assert search.compare((name for name in names), home=finished_home) is not None


def test_trials_are_kept_in_sets(finished_home: Path) -> None:
    result: Any = search.load_study("tiny", home=finished_home)
    assert len({*result.rows, *result.rows}) == len(result.rows)


def test_a_study_without_trials_has_an_empty_frame() -> None:
    frame = search.frame([])
    assert len(frame) == 0
    assert {"value", "state"} <= set(frame.columns)
