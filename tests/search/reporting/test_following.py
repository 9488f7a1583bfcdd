"""A search of another process, as its database shows it."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
from command_line import call
from databases import ask, finish, opened
from forked import MODULE, Forked
from waiting import PATIENCE_S

from pipelines.errors import NotFoundError
from search.home.locks import is_study_held, lock_file, study_lock
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.studies import load_own_study
from search.reporting.live.following import document, ending, follow, is_spent, progress_of
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


class Watcher(Observer):
    """Keeps what it is told, and acts at one look or another."""

    def __init__(self, **acts: Callable[[], object]) -> None:
        self.acts = acts
        self.looks = 0
        self.lines: list[str] = []

    def update(self, progress: Progress) -> None:
        self.looks += 1
        self.act(f"look_{self.looks}")

    def waiting(self, what: str) -> None:
        self.lines.append(what)
        self.act(f"wait_{len(self.lines)}")

    def note(self, line: str) -> None:
        self.lines.append(line)

    def act(self, what: str) -> None:
        self.acts.get(what, lambda: None)()


def test_a_signal_ends_it_as_ctrl_c_does(settings: Settings, spec: StudySpec, tmp_path: Path) -> None:
    opened(settings, spec)
    process = Forked([*MODULE, "follow", spec.name, "--home", tmp_path])
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline().startswith("no process searches")
    process.send_signal(signal.SIGTERM)
    assert (process.stdout.read(), process.stderr.read(), process.wait(PATIENCE_S)) == ("", "", 0)


def test_it_ends_when_the_search_is_interrupted_or_killed(settings: Settings, spec: StudySpec) -> None:
    study = opened(settings, spec)
    ask(study)  # a killed process leaves it in training
    with ExitStack() as searching:
        searching.enter_context(study_lock(settings, spec.name))
        watcher = Watcher(look_5=searching.close)
        progress = follow(spec.name, home=settings.home, observer=watcher, poll_s=0.0)
    assert watcher.looks == 6
    assert watcher.lines == []
    left = f"which left 1 trial in training; mlp-search run {spec.name} resumes it"
    assert ending(progress) == f"no process searches study {spec.name} any more, {left}"


def test_it_waits_for_a_search_that_is_starting(settings: Settings, spec: StudySpec) -> None:
    """First the study is locked and not there, then it has no trial, then its budget is used."""

    def finish_all() -> None:
        study = opened(settings, spec)
        for _ in range(spec.trials or 0):
            finish(study, ask(study)[0], "COMPLETE", 0.5)

    watcher = Watcher(wait_3=lambda: opened(settings, spec), look_9=finish_all)
    with study_lock(settings, spec.name):
        progress = follow(spec.name, home=settings.home, observer=watcher, poll_s=0.0, patience_s=0.0)
    assert watcher.lines == [f"study {spec.name} is being started"] * 3
    assert (watcher.looks, progress.complete) == (10, 10)
    assert ending(progress) == f"study {spec.name} has used its budget"


def test_without_a_search_it_waits_a_while(settings: Settings, spec: StudySpec) -> None:
    study = opened(settings, spec)
    trial, _ = ask(study)
    # A process whose lock cannot be seen from here reports an epoch, and then nothing more.
    watcher = Watcher(look_2=lambda: trial.report(0.5, 1))
    clock = {"now": lambda: float(watcher.looks), "poll_s": 0.0}
    progress = follow(spec.name, home=settings.home, observer=watcher, patience_s=3.0, **clock)
    assert watcher.lines == [f"no process searches study {spec.name}; waiting 3 s for one"]
    assert watcher.looks == 6, "three after the look that saw the epoch"
    assert len(progress.slots) == 1


@pytest.mark.parametrize("is_held", [True, False])
def test_a_snapshot_says_whether_a_process_searches(settings: Settings, spec: StudySpec, is_held: bool) -> None:
    opened(settings, spec)
    with study_lock(settings, spec.name) if is_held else nullcontext():
        assert call("follow", spec.name, "--home", settings.home, "--json").json()["searched"] is is_held


def test_a_look_at_the_lock_refuses_no_search(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lock_file(settings, "s")
    file.touch()
    with file.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        monkeypatch.setattr("search.home.locks.time.sleep", lambda _: look.close())
        with study_lock(settings, "s"):
            assert is_study_held(settings, "s")
    assert not is_study_held(settings, "s")


def test_a_finished_study_is_shown_once(finished_home: Path) -> None:
    answer = call("follow", "tiny", "--home", finished_home)
    assert answer.code == 0
    assert answer.out.startswith("tiny: 6 of 6 trials, ")
    assert answer.out.splitlines()[1:] == ["study tiny has used its budget"]
    found = call("follow", "tiny", "--home", finished_home, "--json").json()
    assert sum(found["trials"].values()) == found["budget"] == 6
    assert found["running"] == []
    assert found["best_so_far"]["value"] >= found["best"]["value"]


def test_an_unknown_study(finished_home: Path) -> None:
    with pytest.raises(NotFoundError):
        follow("none", home=finished_home)
