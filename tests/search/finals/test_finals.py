"""Runs of the finals: new seeds, interruption, a killed worker, a resumed call, the refit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from command_line import call
from finished import run_small
from optuna.trial import create_trial
from ready_home import copy_home
from registered import client_of

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.errors import NotFoundError, SpecError
from pipelines.evaluation.intervals import difference_of_means_p, interval_of_means
from pipelines.evaluation.metrics import wilson_interval
from pipelines.training.history import sha256
from pipelines.training.model import load_h5
from search.finals.finalist import candidates, make_finalist
from search.finals.finals import run_finalists
from search.finals.result import FinalistsResult
from search.finals.selection import judge
from search.finals.training import finals_trainer
from search.home.settings import read_settings
from search.optimization.leaderboard import leaderboard
from search.optimization.run_records import record_run_id, recorded_results
from search.optimization.seeds import finalist_seed, trial_seed
from search.optimization.studies import load_study
from search.scheduling.progress import Observer, Progress
from search.spec import StudySpec
from search.workers import Pool
from search.workers.start import start_pool


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the study ``wide``, six configurations."""
    folder = tmp_path_factory.mktemp("finals") / "home"
    run_small(folder, "wide", trials=6, width={"low": 8, "high": 64}, learning_rate={"low": 0.001, "high": 0.02})
    return folder


@pytest.fixture(scope="module")
def finals(home: Path) -> FinalistsResult:
    return run_finalists("wide", top=3, seeds=3, refit=True, home=home)


def runs_of(home: Path, study: str, role: str) -> list:
    client = client_of(home)
    experiment = client.get_experiment_by_name(study)
    return client.search_runs([experiment.experiment_id], f"tags.role = '{role}'")


def test_the_best_distinct_configurations_are_trained_with_the_same_new_seeds(home: Path, finals: FinalistsResult):
    best = leaderboard(load_study(read_settings(home), "wide"))[:3]
    runs = runs_of(home, "wide", "finalist")

    assert {f.candidate.trial for f in finals.verdict.finalists} == {row.number for row in best}
    seeds = {finalist_seed(0, number) for number in (1, 2, 3)}
    assert not seeds & {trial_seed(0, number) for number in range(100)}
    for trial in (row.number for row in best):
        own = [run for run in runs if run.data.tags["trial"] == str(trial)]
        assert {int(run.data.params["seed"]) for run in own} == seeds
        assert {run.info.run_name for run in own} == {f"finalist-{trial:04d}-seed-{k}" for k in (1, 2, 3)}
    assert all(run.info.status == "FINISHED" for run in runs)
    assert len(runs) == 9


def test_means_intervals_and_runs_are_those_in_mlflow(home: Path, finals: FinalistsResult):
    client = client_of(home)
    for found in finals.verdict.finalists:
        logged = [client.get_run(run_id).data.metrics["best_val_accuracy"] for run_id in found.run_ids]
        assert logged == pytest.approx(found.values)
        low, high = found.interval
        n_rows = found.scores(found.seeds).shape[1]
        wilson = wilson_interval(round(found.mean * n_rows), n_rows)
        assert low <= found.mean <= high
        assert high - low > wilson[1] - wilson[0] - 0.001
    assert finals.verdict.winner.mean >= max(f.mean for f in finals.verdict.finalists) - 0.02


def test_each_run_keeps_the_validation_rows_that_its_model_gets_right(home: Path, finals: FinalistsResult):
    validation = load(DataConfig("digits")).validation
    for found in finals.verdict.finalists[:2]:
        scores = found.scores(found.seeds)
        assert scores.shape == (3, len(validation.y))
        assert scores.mean(axis=1) == pytest.approx(found.values)
    content = Path(client_of(home).download_artifacts(found.run_ids[0], "model.h5")).read_bytes()
    answers = load_h5(content, sha256(content)).predict(validation.x, verbose=0).argmax(axis=1)
    assert np.array_equal(answers == validation.y, scores[0])


def test_runs_of_an_earlier_version_have_intervals_and_a_test_by_their_accuracies(home: Path, finals: FinalistsResult):
    study, winner = load_study(read_settings(home), "wide"), finals.verdict.winner
    recorded = recorded_results(study)
    bare = {name: {k: v for k, v in run.items() if k != "row_scores"} for name, run in recorded.items()}
    n_rows = winner.n_rows
    old = [make_finalist(f.candidate, 3, bare, n_rows) for f in finals.verdict.finalists]
    assert old[0].scores(old[0].seeds) is None
    assert old[0].interval == interval_of_means(winner.values, n_rows)
    assert judge(old).rows_p == difference_of_means_p(old[0].values, old[1].values, n_rows)
    assert make_finalist(winner.candidate, 3, bare).interval is None


def test_two_seeds_have_no_interval(finished_home: Path, tmp_path: Path):
    study = json.loads(call("studies", "--json", "--home", finished_home).out)[0]["name"]
    arguments = ("finalists", study, "--top", "1", "--seeds", "2", "--home", finished_home)
    assert call(*arguments, "--json").json()["winner"]["interval"] is None
    assert "n/a" in call(*arguments).out
    page = tmp_path / "page.html"
    assert call("report", study, "--output", page, "--home", finished_home).code == 0
    assert "<td>n/a</td>" in page.read_text()


def test_the_refit_is_the_last_epoch_on_all_rows_and_shows_no_validation_figures(home: Path, finals: FinalistsResult):
    run = client_of(home).get_run(finals.refit_run_id)
    winner = finals.verdict.winner

    assert run.data.tags["role"] == "refit"
    assert not [name for name in run.data.metrics if name.startswith("val_") or "val_accuracy" in name]
    assert run.data.metrics["best_epoch"] == winner.epochs
    losses = client_of(home).get_metric_history(finals.refit_run_id, "loss")
    assert [point.step for point in losses] == list(range(1, winner.epochs + 1))


def test_a_second_call_trains_nothing_and_more_seeds_train_only_those(home: Path, finals: FinalistsResult):
    before = {run.info.run_id for run in runs_of(home, "wide", "finalist")}

    again = run_finalists("wide", top=3, seeds=3, refit=True, home=home)
    assert again.verdict == finals.verdict
    assert again.refit_run_id == finals.refit_run_id
    assert {run.info.run_id for run in runs_of(home, "wide", "finalist")} == before
    assert run_finalists("wide", home=home).verdict == finals.verdict, "as many as before"

    more = run_finalists("wide", top=1, seeds=4, home=home)
    new = {run.info.run_id for run in runs_of(home, "wide", "finalist")} - before
    assert new == {more.verdict.winner.run_ids[3]}


class OnFirstNote(Observer):
    """Does something when the first run has ended."""

    def __init__(self, act) -> None:
        self.act, self.notes = act, []

    def note(self, line: str) -> None:
        self.notes.append(line)
        if len(self.notes) == 1:
            self.act()


def test_interrupted_and_resumed_finals_end_as_uninterrupted_ones(tmp_path: Path):
    # An optimizer with which each seed is a program of its own: the interruption comes between two of them.
    run_small(tmp_path / "whole", "s", trials=2, slots=2, width={"low": 8, "high": 64}, optimizer="nadam")
    copy_home(tmp_path / "whole", tmp_path / "halves")
    whole = run_finalists("s", top=2, seeds=2, refit=False, home=tmp_path / "whole")

    stop = OnFirstNote(lambda: os.kill(os.getpid(), signal.SIGINT))
    half = run_finalists("s", top=2, seeds=2, refit=False, home=tmp_path / "halves", observer=stop)
    kept = {run.info.run_id for run in runs_of(tmp_path / "halves", "s", "finalist") if run.info.status == "FINISHED"}
    copy_home(tmp_path / "halves", tmp_path / "tested")
    rest = run_finalists("s", top=2, seeds=2, refit=False, home=tmp_path / "halves")

    assert half.interrupted
    assert half.verdict is None
    assert 1 <= len(kept) < 4
    tested = call("evaluate", "s", "--home", tmp_path / "tested")
    assert "its finalists are not complete, so trial-000" in tested.err
    assert [f.values for f in rest.verdict.finalists] == [f.values for f in whole.verdict.finalists]
    after = runs_of(tmp_path / "halves", "s", "finalist")
    assert len(after) == 4
    assert kept <= {run.info.run_id for run in after}
    assert {run.info.status for run in after} == {"FINISHED"}


def test_only_the_run_of_a_killed_worker_is_trained_again(tmp_path: Path):
    home = tmp_path / "home"
    run_small(home, "s", trials=1, epochs=60)

    class Killer(Observer):
        def __init__(self) -> None:
            self.notes: list[str] = []
            self.killed = 0

        def update(self, progress: Progress) -> None:
            if not self.killed and any(slot.report for slot in progress.slots.values()):
                workers = [w for server in psutil.Process().children() for w in server.children()]
                self.killed = len(workers)
                for worker in workers:
                    worker.kill()

        def note(self, line: str) -> None:
            self.notes.append(line)

    killer = Killer()
    result = run_finalists("s", top=1, seeds=2, refit=False, home=home, observer=killer)

    assert killer.killed
    assert any("retrying" in note for note in killer.notes)
    assert len(result.verdict.winner.values) == 2
    assert len(runs_of(home, "s", "finalist")) == 2


def test_the_run_id_of_a_finalist_does_not_change_a_trial(home: Path, finals: FinalistsResult):
    study = load_study(read_settings(home), "wide")
    before = [row.run_id for row in leaderboard(study)]
    record_run_id(study, "finalist-0000-seed-1", "late")
    assert [row.run_id for row in leaderboard(study)] == before
    noted = recorded_results(study)
    assert noted.get("finalist-0000-seed-1", {"run_id": "late"})["run_id"] == "late"


def test_ten_identical_configurations_have_no_significant_winner(tmp_path: Path):
    run_small(tmp_path / "fixed", "same", trials=10)
    fixed = run_finalists("same", top=10, seeds=3, refit=False, home=tmp_path / "fixed")
    assert not fixed.verdict.significant
    assert "none is significantly better" in fixed.verdict.explanation

    # Ten that differ in the digits of the learning rate alone, too little to matter.
    run_small(tmp_path / "named", "same", trials=10, learning_rate={"low": 0.005, "high": 0.005000001})
    named = run_finalists("same", top=10, seeds=3, refit=False, home=tmp_path / "named")
    assert len(named.verdict.finalists) == 10
    assert not named.verdict.significant
    assert "No configuration is significantly better" in named.verdict.explanation


def test_configurations_that_differ_without_effect_are_one_candidate(tmp_path: Path):
    run_small(tmp_path / "home", "layers", trials=4, depth=1, shape=["constant", "funnel"], epochs=1)
    study = load_study(read_settings(tmp_path / "home"), "layers")
    assert {trial.params["shape"] for trial in study.get_trials()} == {"constant", "funnel"}
    best = leaderboard(study)[0]
    assert [(found.trial, found.value) for found in candidates(study, 5)] == [(best.number, best.value)]

    study.add_trial(create_trial(value=1.0))  # by another program
    study = load_study(read_settings(tmp_path / "home"), "layers")
    assert [found.trial for found in candidates(study, 5)] == [best.number]


def test_wrong_options(home: Path):
    with pytest.raises(NotFoundError, match="did you mean wide"):
        run_finalists("wyde", home=home)
    with pytest.raises(SpecError, match="--top: must be at least 1, got 0"):
        run_finalists("wide", top=0, home=home)
    with pytest.raises(SpecError, match="--seeds: must be at most 1,000, got 1000000000000000000000"):
        run_finalists("wide", seeds=10**21, home=home)


def test_they_may_have_other_slots_than_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_small(tmp_path / "home", "s", trials=1)
    started: list[int] = []

    def start(kind: str, spec: StudySpec, *more: object) -> Pool:
        started.append(spec.workers.slots or 0)
        return start_pool(kind, spec, *more)

    monkeypatch.setattr(finals_trainer, "start_pool", start)
    options = ("finalists", "s", "--top", 1, "--no-refit", "--home", tmp_path / "home")
    assert call(*options, "--seeds", 1, "--workers", 2).code == 0
    assert call(*options, "--seeds", 2).code == 0
    assert started == [2, 1], "the search had one"
    refused = call(*options, "--seeds", 3, "--workers", 0)
    assert (refused.code, "--workers: must be" in refused.err) == (1, True)
