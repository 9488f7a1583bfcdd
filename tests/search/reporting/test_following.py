"""A search of another process, as its database shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from databases import ask, finish, opened

from pipelines.errors import NotFoundError
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.studies import load_own_study
from search.reporting.live.following import document, follow, is_spent, progress_of
from search.scheduling.progress import Observer, Progress
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    return settings


def test_trials_in_training_are_shown_with_their_epochs(settings: Settings, spec: StudySpec) -> None:
    study = opened(settings, spec)
    study.set_user_attr(ELAPSED, 12.5)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    finish(study, ask(study)[0], "PRUNED", 0.4)
    running, params = ask(study)
    running.report(0.7, 1)
    running.report(0.6, 2)
    progress = progress_of(load_own_study(settings, spec.name))
    assert (progress.complete, progress.pruned, progress.budget, progress.elapsed_s) == (1, 1, 10, 12.5)
    (view,) = progress.slots.values()
    assert view.run_name == "trial-0002"
    assert view.hyperparameters is not None
    assert view.hyperparameters.width == params["width"]
    assert view.report is not None
    assert (view.report.epoch, view.best_value) == (2, 0.7)
    assert progress.leader is not None
    assert (progress.leader.run_name, progress.leader.value) == ("trial-0002", 0.7)
    assert not is_spent(progress)
    made = document(progress)
    assert made["running"][0]["epoch"] == 2
    assert made["best_so_far"] == {"run": "trial-0002", "value": 0.7, "state": "RUNNING"}


def test_it_ends_with_the_search(settings: Settings, spec: StudySpec) -> None:
    study = opened(settings, spec)
    trial, _ = ask(study)
    seen: list[int] = []

    class Watcher(Observer):
        """Ends the trial after the second look."""

        def update(self, progress: Progress) -> None:
            seen.append(progress.done)
            if len(seen) == 2:
                finish(study, trial, "COMPLETE", 0.5)

    progress = follow(spec.name, home=settings.home, observer=Watcher(), poll_s=0.0)
    assert progress.complete == 1
    assert seen[:3] == [0, 0, 1]
    assert 3 <= len(seen) <= 6


def test_a_finished_study_is_shown_once(finished_home: Path) -> None:
    answer = call("follow", "tiny", "--home", finished_home)
    assert answer.code == 0
    assert answer.out.startswith("tiny: 6 of 6 trials, ")
    assert "nobody" not in answer.out
    found = call("follow", "tiny", "--home", finished_home, "--json").json()
    assert sum(found["trials"].values()) == found["budget"] == 6
    assert found["running"] == []
    assert found["best_so_far"]["value"] >= found["best"]["value"]


def test_an_unknown_study(finished_home: Path) -> None:
    with pytest.raises(NotFoundError):
        follow("none", home=finished_home)
