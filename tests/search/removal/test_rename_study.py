"""``rename``: a study goes on under another name, everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from finished import small_spec
from mlflow import MlflowClient

import search
from pipelines.errors import InputError, NotFoundError, UnavailableError
from search.home.settings import read_settings
from search.tracking.connection import connect


@pytest.fixture
def home(untouched_contenders: Path) -> Path:
    """The home of five evaluated studies."""
    return untouched_contenders


def test_a_study_goes_on_under_its_new_name(home: Path) -> None:
    rows = search.trials("weak", home=home)
    assert call("promote", "weak", "--home", home).code in (0, 3)
    answer = call("rename", "weak", "poor one", "--home", home, "--json")
    assert answer.json() == {"study": "poor one", "before": "weak", "runs": 1}
    assert search.trials("poor one", home=home) == rows
    assert call("doctor", "--home", home).code == 0
    with pytest.raises(NotFoundError):
        search.trials("weak", home=home)
    assert search.evaluate("poor one", again=True, home=home).seal_opened == 2
    result = search.run_study(small_spec("poor one", trials=2, width=3, epochs=1), home=home)
    assert [row.run_id for row in result.rows] == [row.run_id for row in rows]  # its space has one configuration
    assert connect(read_settings(home)).get_experiment_by_name("weak") is None


@pytest.mark.parametrize(("name", "is_suggested"), [("plain", True), ("some.toml", False), ("mnist", False)])
def test_the_next_command_is_one_that_resumes_the_study(home: Path, name: str, is_suggested: bool) -> None:
    """``run`` takes a name that ends so, or that of a dataset, for something else."""
    answer = call("rename", "weak", name, "--home", home)
    assert answer.code == 0
    assert ("resumes it without a file" in answer.err) == is_suggested


def test_a_call_that_was_cut_off_is_completed(home: Path) -> None:
    client = connect(read_settings(home))
    client.rename_experiment(client.get_experiment_by_name("weak").experiment_id, "poor")  # and then the process died
    assert search.rename_study("weak", "poor", home=home).runs == 1
    assert call("doctor", "--home", home).code == 0


def test_a_call_that_was_cut_off_is_completed_with_another_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_tag", cut)
        with pytest.raises(KeyboardInterrupt):
            search.rename_study("weak", "typo", home=home)
    assert search.rename_study("weak", "right", home=home).runs == 1
    assert call("doctor", "--home", home).code == 0


def test_versions_follow_a_name_that_a_cut_off_call_gave_them(home: Path) -> None:
    assert call("promote", "weak", "--home", home).code == 0
    client = connect(read_settings(home))
    client.set_model_version_tag("weak", "1", "study", "typo")  # and then the process died
    search.rename_study("weak", "right", home=home)
    assert client.get_model_version("weak", "1").tags["study"] == "right"


def test_versions_of_another_home_with_a_study_of_that_name_stay_as_they_are(home: Path) -> None:
    assert call("promote", "weak", "--home", home).code == 0
    client = connect(read_settings(home))
    client.create_experiment("their weak")
    run_id = client.create_run(client.get_experiment_by_name("their weak").experiment_id).info.run_id
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "file:///none", run_id, tags={"study": "weak"})
    client.set_model_version_tag("weak", "1", "study", "other")  # as the other home's earlier versions did
    with pytest.raises(UnavailableError, match="must have no version of a registered model"):
        search.delete_study("weak", home=home)
    search.rename_study("weak", "right", home=home)
    assert client.get_model_version("theirs", "1").tags["study"] == "weak"
    assert client.get_model_version("weak", "1").tags["study"] == "right"


def test_an_experiment_that_mlflow_has_deleted_is_restored(home: Path) -> None:
    client = connect(read_settings(home))
    client.delete_experiment(client.get_experiment_by_name("weak").experiment_id)
    search.rename_study("weak", "right", home=home)
    assert client.get_experiment_by_name("right").lifecycle_stage == "active"


def test_a_run_that_mlflow_has_deleted_stays_as_it_is(home: Path) -> None:
    """Such as the first attempt of an interrupted trial: MLflow changes none of its tags."""
    client = connect(read_settings(home))
    experiment = client.get_experiment_by_name("weak").experiment_id
    client.delete_run(client.create_run(experiment, run_name="trial-0000").info.run_id)
    assert search.rename_study("weak", "poor", home=home).runs == 1
    assert call("doctor", "--home", home).code == 0


@pytest.mark.parametrize(
    ("name", "new", "problem"),
    [
        ("weak", "strong", "must be of no study, but there is one named 'strong'"),
        ("weak", "a/b", "NAME: must be 1 to 200 printable characters"),
        ("weak", "Default", "must not be MLflow's experiment Default"),
        ("none", "new", "must be one of this home"),
    ],
)
def test_what_is_refused(name: str, new: str, problem: str, contenders: Path) -> None:
    with pytest.raises((InputError, NotFoundError), match=problem):
        search.rename_study(name, new, home=contenders)
    assert len(search.trials("weak", home=contenders)) == 1


def test_an_experiment_that_was_renamed_in_mlflow_is_still_the_studys(home: Path) -> None:
    client = connect(read_settings(home))
    experiment_id = client.get_experiment_by_name("weak").experiment_id

    def rename() -> None:
        client.rename_experiment(experiment_id, "by hand")

    rename()
    answer = call("doctor", "--home", home)
    assert answer.code == 3
    assert "weak: by hand" in answer.out
    assert "1 experiment with another name" in answer.out
    assert "without a run" not in answer.out
    assert call("doctor", "--repair", "--home", home).code == 0
    assert client.get_experiment_by_name("weak").experiment_id == experiment_id

    rename()
    answer = call("finalists", "weak", "--top", 4, "--seeds", 1, "--home", home)
    assert answer.code == 0
    assert "study weak: has 1 complete configuration, fewer than the 4 finalists asked for" in answer.err
    assert client.get_experiment_by_name("weak").experiment_id == experiment_id
    n_runs = len(client.search_runs([experiment_id]))
    assert n_runs > 1

    rename()
    search.rename_study("weak", "poor", home=home)
    assert client.get_experiment_by_name("poor").experiment_id == experiment_id

    rename()
    assert search.delete_study("poor", home=home).runs == n_runs
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
