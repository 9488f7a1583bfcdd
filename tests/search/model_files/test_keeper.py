"""``[search] keep_models``: which model files a search deletes, when, and what still works afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import STUDY, call
from ready_home import copy_home
from screens import row
from scripted_pool import ScriptedPool
from world import World

import search
from pipelines.errors import SpecError
from search.home.settings import Settings, prepare_home, read_settings
from search.model_files import needed_trials
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_study
from search.scheduling.progress import Progress
from search.scheduling.scheduler import Scheduler
from search.storage.attributes import SPEC
from search.tracking.entries import RunStart
from search.tracking.run_queue import LiveRun, RunQueue

ROWS = [
    row(17, "COMPLETE", 0.98, params={"width": 512}),
    row(0, "COMPLETE", 0.97, params={"width": 64}),
    row(41, "COMPLETE", 0.96, params={"width": 32}, run_id="1" * 32),
    row(5, "COMPLETE", 0.95, params={"width": 512}),
    row(3, "PRUNED", 0.91),
    row(63, "RUNNING", 0.5),
]


def n_files(home: Path, name: str) -> dict[int, int]:
    """Number of model files of each trial of a study."""
    return {
        trial.number: len(list(home.glob(f"artifacts/**/{trial.run_id}/artifacts/model.h5")))
        for trial in search.trials(name, home=home)
    }


@pytest.mark.parametrize(
    ("attributes", "keep", "needed"),
    [
        ({}, 1, {17, 63}),  # finals take the best trial that had a configuration
        ({}, 3, {17, 0, 41, 63}),
        ({"finalists": {"trials": [41]}}, 1, {17, 41, 63}),
        ({"run:finalist-0003-seed-1": {}, "run:refit-0041-epochs-3": {}}, 1, {17, 3, 63}),
        ({"seal": [{"run_id": "1" * 32}, {}]}, 1, {17, 41, 63}),
    ],
)
def test_what_is_needed(attributes: dict[str, Any], keep: int, needed: set[int]) -> None:
    assert needed_trials(attributes, ROWS, keep) == needed


def test_files_go_during_the_search(places: Settings) -> None:
    prepare_home(places)
    world = World(places)
    spec = world.spec(trials=9, keep_models=2)
    keepers = []

    def act(scheduler: Scheduler, progress: Progress) -> None:
        keepers[:] = [scheduler.keeper]
        scheduler.keeper.beat(progress.done)

    world.search(spec, ScriptedPool(2), act)
    rows = leaderboard(load_study(places, spec.name))
    files = {row.number: len(list(places.home.glob(f"artifacts/**/{row.run_id}/artifacts/model.h5"))) for row in rows}
    ranked = [row.number for row in rows]
    assert keepers[0].n_deleted == 9 - sum(files.values()) >= 3
    assert files[ranked[0]] == files[ranked[1]] == 1
    notes: list[str] = []
    keepers[0].report(notes.append)
    assert notes == [f"deleted {keepers[0].n_deleted} model files, 0.0 MB, by [search] keep_models = 2"]


def test_a_file_goes_only_once_mlflow_has_it() -> None:
    done: list[str] = []
    queue = RunQueue(lambda _: None, lambda: None, lambda _: None)
    queue.runs["trial-0001"] = LiveRun(RunStart("s", "trial-0001", 0, {}, {}), run_id="r")
    queue.later.append((frozenset({"trial-0001"}), lambda _: done.append("deleted")))
    queue.send(None)  # type: ignore[arg-type]  # nothing is sent
    assert (done, bool(queue)) == ([], True)
    del queue.runs["trial-0001"]
    queue.send(None)  # type: ignore[arg-type]
    assert (done, bool(queue)) == (["deleted"], False)


def test_a_study_whose_budget_is_used_keeps_fewer(finished_home: Path, tmp_path: Path) -> None:
    home = copy_home(finished_home, tmp_path / "home")
    file = tmp_path / "tiny.toml"
    file.write_text(STUDY + "keep_models = 2\n")
    answer = call("run", file, "--home", home)
    assert answer.code == 0
    assert "deleted 4 model files, " in answer.err
    assert ", by [search] keep_models = 2\n" in answer.err
    best = [trial.number for trial in search.trials("tiny", home=home) if trial.state == "COMPLETE"][:2]
    assert {number for number, n in n_files(home, "tiny").items() if n} == set(best)
    assert call("doctor", "--home", home).code == 0
    file.write_text(STUDY)  # the study keeps the setting
    assert "model files" not in call("run", file, "--home", home).err
    assert load_study(read_settings(home), "tiny").user_attrs[SPEC]["search"]["keep_models"] == 2
    answer = call("run", file, "--keep-models", "1", "--home", home)
    assert "deleted 1 model file, " in answer.err
    assert sum(n_files(home, "tiny").values()) == 1


def test_the_rule() -> None:
    with pytest.raises(SpecError, match=r"search\.keep_models: must be a whole number from 1 to 2147483647, got 0"):
        search.default_spec("digits", keep_models=0)
    answer = call("run", "digits", "--keep-models", "0")
    assert (answer.code, "--keep-models: must be a whole number from 1" in answer.err) == (1, True)
