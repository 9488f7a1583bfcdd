"""The number of folds belongs to a study: a rule decides it for a new one, and each later run has the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from databases import SPACE, ask, finish

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.errors import SpecError
from search.home.settings import prepare_home, read_settings
from search.optimization.run_records import record_run_id
from search.optimization.studies import load_study, open_study
from search.scheduling.run_study import run_study
from search.spec.study_spec import StudySpec
from search.storage.attributes import SPEC

SPEC_NOW = StudySpec(name="s", data=DataConfig("digits"), space=SPACE, trials=1)
"""As the command line gives it, without a number of folds; its budget is one trial."""


@pytest.fixture(params=[None, 1, 5])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> int | None:
    """The folds in the record of a study that has used its budget; None is a study of an earlier version."""
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    spec = replace(SPEC_NOW, data=replace(SPEC_NOW.data, folds=request.param)).for_task("classification")
    study = open_study(settings, spec, load(spec.data).fingerprint)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    record_run_id(study, "trial-0000", "a run")
    return request.param


def test_a_later_run_has_the_folds_of_the_first(recorded: int | None, tmp_path: Path) -> None:
    result = run_study(SPEC_NOW, home=tmp_path)
    assert [row.folds for row in result.rows] == [recorded or 1]
    assert load_study(read_settings(tmp_path, {}), "s").user_attrs[SPEC]["data"]["folds"] == (recorded or 1)
    assert run_study(SPEC_NOW.with_folds(recorded or 1), home=tmp_path).rows == result.rows


def test_another_number_of_folds_is_refused(recorded: int | None, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"must be resumed with its own settings, but data\.folds changed"):
        run_study(SPEC_NOW.with_folds(3), home=tmp_path)
