"""``delete MODEL/VERSION``: a version goes with its files and aliases; its run keeps its model and its test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import call
from finished import run_small

import search
from pipelines.errors import NotFoundError, UnavailableError
from search.home.settings import read_settings
from search.tracking.connection import connect


@pytest.fixture
def home(untouched_contenders: Path) -> Path:
    """The home of evaluated studies, one of which is promoted."""
    search.promote("strong", model="digits", home=untouched_contenders)
    return untouched_contenders


def logged(home: Path) -> list[Path]:
    return [path for path in home.glob("artifacts/models/*") if path.is_dir()]


def test_a_version_goes_with_its_alias_and_its_files(home: Path) -> None:
    answer = call("delete", "digits/1", "--yes", "--home", home, "--json")
    expected = {"model": "digits", "version": 1, "aliases": ["champion"], "study": "strong", "deleted": True}
    assert answer.json() == expected
    assert answer.err.startswith("to be deleted: version 1 of model digits, at which champion points\n")
    assert not logged(home)
    assert search.models(home=home) == []
    assert call("doctor", "--home", home).code == 0
    again = search.promote("strong", model="digits", home=home)
    assert (again.version, again.promoted) == (2, True)


def test_its_study_can_be_deleted_then(home: Path) -> None:
    with pytest.raises(UnavailableError, match="got digits/1: delete it first, as in mlp-search delete digits/1"):
        search.delete_study("strong", home=home)
    search.delete_version("digits", "1", home=home)
    run_id = search.trials("strong", home=home)[0].run_id
    assert search.delete_study("strong", home=home).deleted
    assert not (home / "artifacts" / str(run_id)).exists(), "no empty folder is left"


def test_a_version_of_another_home_stays(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both homes use one registry, and have a study of the same name."""
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", read_settings(home).registry_uri)
    other = tmp_path / "other"
    run_small(other, "strong", trials=1, epochs=1)
    with pytest.raises(UnavailableError, match=r"version 1 must be of a run in this home's MLflow, but run .* is not"):
        search.delete_version("digits", 1, home=other)
    assert [version.version for version in search.models(home=home)] == [1]
    assert search.delete_study("strong", home=other).deleted
    assert search.delete_version("digits", 1, home=home).deleted


def test_files_that_another_model_has_too_stay(home: Path) -> None:
    search.promote("strong", model="other", home=home)
    search.delete_version("digits", "1", home=home)
    rows = search.trials("strong", home=home)
    file = connect(read_settings(home)).download_artifacts(str(rows[0].run_id), "model.h5", str(home.parent))
    assert Path(file).stat().st_size
    assert len(logged(home)) == 1
    search.delete_version("other", "1", home=home)
    assert not logged(home)


def test_an_earlier_version_is_deleted_without_the_alias(home: Path) -> None:
    search.promote("equal", model="digits", force="a test", home=home)
    found = search.delete_version("digits", "1", dry_run=True, home=home)
    assert (found.aliases, found.deleted) == ((), False)
    assert search.delete_version("digits", "1", home=home).deleted
    assert [(row.version, row.aliases) for row in search.models(home=home)] == [(2, ("champion",))]


def test_the_alias_of_a_deleted_version_returns_to_the_one_before(home: Path) -> None:
    search.promote("equal", model="digits", force="a test", home=home)
    search.promote("weak", model="digits", force="a test", home=home)
    answer = call("delete", "digits/3", "--yes", "--home", home)
    assert "next: mlp-search rollback digits --alias champion" in answer.err.replace(" \\\n     ", "")
    with pytest.raises(NotFoundError, match="must have the alias 'champion'; there is none: promote a study, or call"):
        search.predict("digits", np.zeros((1, 8, 8)), home=home)
    assert call("rollback", "digits", "--home", home).out == "digits@champion is version 2 again\n"
    result = search.rollback("digits", home=home)
    assert (result.version, result.left) == (1, 2)
    with pytest.raises(NotFoundError, match="version 1 is the first that champion points at; there is none before"):
        search.rollback("digits", home=home)


def test_a_promotion_after_a_deletion_keeps_the_versions_before(home: Path) -> None:
    search.promote("equal", model="digits", force="a test", home=home)
    search.delete_version("digits", "2", home=home)
    assert search.promote("weak", model="digits", force="a test", home=home).version == 3
    assert search.rollback("digits", home=home).version == 1


@pytest.mark.parametrize("version", ["7", "", "champion", "1.0"])
def test_a_version_that_is_not_there(version: str, home: Path) -> None:
    with pytest.raises(NotFoundError, match=f"model 'digits': must have the version '{version}'; there is 1$"):
        search.delete_version("digits", version, home=home)


def test_a_version_of_another_program_stays(home: Path) -> None:
    client = connect(read_settings(home))
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "file:///nowhere")
    with pytest.raises(UnavailableError, match="version 1 must be one that mlp-search promoted"):
        search.delete_version("theirs", "1", home=home)
    assert client.get_model_version("theirs", "1").status == "READY"
