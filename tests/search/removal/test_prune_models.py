"""``prune-models``: which model files go, and what still works afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call
from ready_home import copy_home

import search
from pipelines.errors import InputError, NotFoundError, UnavailableError
from search.home.locks import study_lock
from search.home.settings import read_settings
from search.tracking.connection import connect
from search.tracking.history import read_artifact


@pytest.fixture
def home(finished_home: Path, tmp_path: Path) -> Path:
    """A copy of the home of ``tiny``, six trials, to delete from."""
    return copy_home(finished_home, tmp_path / "home")


def files(home: Path) -> Iterator[int]:
    """Numbers of the trials of ``tiny`` that have a model file, the best first."""
    for row in search.trials("tiny", home=home):
        if any(home.glob(f"artifacts/**/{row.run_id}/artifacts/model.h5")):
            yield row.number


def test_the_best_keep_their_files_and_doctor_is_content(home: Path) -> None:
    before = list(files(home))
    assert len(before) == 6
    assert call("enqueue", "tiny", "width=9", "--like", before[0], "--home", home).code == 0  # which has no file
    dry = search.prune_models("tiny", keep=2, dry_run=True, home=home)
    assert list(files(home)) == before
    answer = call("prune-models", "tiny", "--keep", 2, "--yes", "--home", home, "--json")
    found = answer.json()
    kept = [row.number for row in search.trials("tiny", home=home) if row.state == "COMPLETE"][:2]
    assert list(files(home)) == kept
    assert sorted(found["kept"]) == sorted(kept)
    assert sorted([*found["trials"], *found["kept"]]) == sorted(before)
    assert (found["size_bytes"], found["deleted"]) == (dry.size_bytes, True)
    assert found["size_bytes"] > 0
    assert "to be deleted: study tiny: 4 model files" in answer.err
    assert call("doctor", "--home", home).code == 0
    assert call("prune-models", "tiny", "--keep", 2, "--home", home).out == "nothing to delete\n"
    more = search.prune_models("tiny", keep=5, dry_run=True, home=home)
    assert sorted(more.kept) == sorted(kept), "three of the five have no file any more"


def test_a_command_that_needs_a_deleted_file_says_so(home: Path) -> None:
    search.prune_models("tiny", keep=1, home=home)
    client = connect(read_settings(home))
    row = search.trials("tiny", home=home)[-1]
    with pytest.raises(UnavailableError) as error:
        read_artifact(client, f"runs:/{row.run_id}/model.h5", f"model.h5 of run {row.run_id}")
    assert "deleted by prune-models --keep 1 at " in str(error.value)
    assert str(error.value).endswith("train its configuration again")
    with pytest.raises(UnavailableError, match=r"deleted by prune-models --keep 1 at .* train its configuration again"):
        search.load_study("tiny", home=home).rows[-1].load_model()


def test_finalists_the_tested_model_and_registered_ones_keep_theirs(home: Path) -> None:
    rows = search.trials("tiny", home=home)
    assert call("evaluate", "tiny", "--home", home).code == 0
    assert call("finalists", "tiny", "--top", 2, "--seeds", 1, "--home", home).code == 0
    assert call("promote", "tiny", "--force", "a test", "--home", home).code == 0
    found = search.prune_models("tiny", keep=1, home=home)
    complete = [row.number for row in rows if row.state == "COMPLETE"]
    assert found.kept == tuple(sorted(complete[:2]))
    assert list(files(home)) == complete[:2]
    assert call("evaluate", "tiny", "--again", "--home", home).code == 0
    assert call("promote", "tiny", "--home", home).code in (0, 3)
    assert call("doctor", "--home", home).code == 0


def test_a_call_that_was_cut_off_is_completed(home: Path) -> None:
    client = connect(read_settings(home))
    row = search.trials("tiny", home=home)[-1]
    client.set_tag(row.run_id, "lost.model.h5", "deleted by prune-models --keep 1")  # and then the process died
    assert call("doctor", "--home", home).code == 0
    assert row.number in search.prune_models("tiny", keep=1, home=home).trials
    assert row.number not in set(files(home))


def test_what_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="--keep: must be at least 1, got 0"):
        search.prune_models("tiny", keep=0, home=home)
    with pytest.raises(NotFoundError):
        search.prune_models("tinny", home=home)
    search.prune_models("tiny", dry_run=True, home=home)
    with study_lock(read_settings(home), "tiny"), pytest.raises(UnavailableError, match="is being searched"):
        search.prune_models("tiny", home=home)
    answer = call("prune-models", "tiny", "--keep", 1, "--home", home)
    assert (answer.code, answer.out) == (2, "")
    assert "--yes: required when stdin is not a terminal; nothing was deleted" in answer.err
    assert len(list(files(home))) == 6


def test_a_run_that_was_deleted_in_mlflow_stays_as_it_is(home: Path) -> None:
    worst = search.trials("tiny", home=home)[-1]
    connect(read_settings(home)).delete_run(worst.run_id)
    pruned = search.prune_models("tiny", keep=1, home=home)
    assert worst.number not in pruned.trials
    assert len(pruned.trials) == 4
    assert len(list(files(home))) == 2
