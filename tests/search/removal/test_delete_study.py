"""``delete``: a study goes with its runs and files, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import STUDY, call

import search
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.finals.tested_models import models_tested_on
from search.home.settings import read_settings
from search.optimization.studies import load_study
from search.storage.attributes import SEAL
from search.tracking.connection import connect


@pytest.fixture
def home(untouched_contenders: Path) -> Path:
    """The home of five evaluated studies."""
    return untouched_contenders


def test_a_study_goes_with_its_runs_and_files(home: Path) -> None:
    rows = search.trials("weak", home=home)
    others = [study for study in search.studies(home=home) if study.name != "weak"]
    (reading,) = load_study(read_settings(home), "weak").user_attrs[SEAL]
    client = connect(read_settings(home))
    tested = models_tested_on(client, reading["test_rows"], "")
    answer = call("delete", "weak", "--yes", "--home", home, "--json")
    assert answer.json() == {"study": "weak", "trials": 1, "runs": 1, "seal_opened": 1, "deleted": True}
    assert "to be deleted: study weak: 1 trial and 1 run with their files; its test was read once" in answer.err
    assert search.studies(home=home) == others
    assert not [path for path in home.glob(f"artifacts/**/{rows[0].run_id}/**/*") if path.is_file()]
    assert call("doctor", "--home", home).code == 0
    assert models_tested_on(client, reading["test_rows"], "") == tested
    with pytest.raises(NotFoundError):
        search.trials("weak", home=home)


def test_its_name_is_free_again(home: Path, tmp_path: Path) -> None:
    search.delete_study("weak", home=home)
    path = tmp_path / "weak.toml"
    path.write_text(STUDY.replace('"tiny"', '"weak"').replace("trials = 6", "trials = 1"))
    assert call("run", path, "--home", home, "--json").json()["trials"]["complete"] == 1
    assert call("doctor", "--home", home).code == 0
    search.delete_study("weak", home=home)
    assert call("doctor", "--home", home).code == 0


def test_a_study_of_a_registered_model_stays(home: Path) -> None:
    assert call("promote", "strong", "--home", home).code == 0
    with pytest.raises(
        UnavailableError,
        match="must have no version of a registered model, whose records are the study's, got strong/1",
    ):
        search.delete_study("strong", home=home)
    assert call("predict", "strong", "--home", home).code == 2
    assert len(search.trials("strong", home=home)) == 1


def test_a_call_that_was_cut_off_is_completed(home: Path) -> None:
    client = connect(read_settings(home))
    experiment = client.get_experiment_by_name("weak")
    client.rename_experiment(experiment.experiment_id, "weak (deleted)")
    client.delete_experiment(experiment.experiment_id)  # and then the process died
    assert search.delete_study("weak", home=home).runs == 0
    assert "weak" not in [study.name for study in search.studies(home=home)]
    assert call("doctor", "--home", home).code == 0


def test_nothing_is_deleted_without_an_answer(home: Path) -> None:
    answer = call("delete", "weak", "--home", home)
    assert answer.code == 2
    assert "nothing was deleted" in answer.err
    assert len(search.trials("weak", home=home)) == 1


@pytest.mark.parametrize("name", ["O'Neil", 'the "best"', 'O\'Neil "Jim"'])
def test_a_promoted_study_stays_whatever_its_name(home: Path, name: str) -> None:
    """MLflow's filters cannot escape a quote."""
    search.rename_study("strong", name, home=home)
    for _ in range(2):
        assert search.promote(name, model=f"m {name}", home=home).version == 1
    with pytest.raises(UnavailableError, match="must have no version of a registered model"):
        search.delete_study(name, home=home)
    search.rename_study(name, "renamed", home=home)
    assert [row.study for row in search.models(home=home)] == ["renamed"]
    assert search.predict(f"m {name}", np.zeros((1, 8, 8)), home=home).version == 1


def test_an_experiment_that_was_deleted_elsewhere_goes_with_its_files(home: Path) -> None:
    client = connect(read_settings(home))
    [row] = search.trials("weak", home=home)
    client.delete_experiment(client.get_experiment_by_name("weak").experiment_id)
    search.delete_study("weak", home=home)
    assert not [path for path in home.glob(f"artifacts/**/{row.run_id}/**/*") if path.is_file()]
    assert client.get_experiment_by_name("weak") is None


def test_a_study_does_not_share_the_experiment_of_single_trainings(home: Path) -> None:
    with pytest.raises(SpecError, match="must not begin with train-, as experiments of single trainings"):
        search.run_study(search.default_spec("digits", name="train-digits", trials=1), home=home)
