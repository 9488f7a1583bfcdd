"""One budget for trials and seeds, on digits."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Answer, call
from finished import small_spec

import search
from pipelines.errors import NotFoundError, SpecError
from search.automatic.run_auto import costs_s, searching
from search.automatic.shares import n_search
from search.home.settings import read_settings
from search.optimization.leaderboard import TrialRow
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_study, load_writable_study
from search.scheduling.progress import Observer
from search.scheduling.run_study import run_study
from search.spec.study_spec import DEFAULT_TRIALS
from search.storage.attributes import CHANGED_OVER, FINALS_ELAPSED, RECORD, SPEC
from search.tracking.run_names import finalist_run_name, finalist_trial


class Notes(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_a_budget_is_shared_and_used_once(home: Path) -> None:
    spec = small_spec("shared-budget", trials=8, width=[8, 16, 24, 32], epochs=2)
    notes = Notes()
    result = search.run_automatically(spec, home=home, observer=notes)
    assert len(result.search.rows) == len(result.search.trials) == 4
    assert isinstance(result.search, search.StudyResult)
    assert result.finals is not None
    verdict = result.finals.verdict
    assert verdict is not None
    assert [len(finalist.values) for finalist in verdict.finalists] == [3, 1]
    assert verdict.winner.gain == verdict.finalists[0].gain
    assert verdict.expected == pytest.approx(statistics.fmean(verdict.winner.values[1:])), "they rejected nobody"
    assert verdict.expected_interval is not None
    assert "after 4 of 8 trainings: the best 2 trials differ by" in result.changed_over
    assert result.changed_over in notes.lines
    again = search.run_automatically(spec, home=home)
    assert again.search.n_trained == 0
    assert again.finals is not None
    assert again.finals.verdict == verdict
    assert again.changed_over == result.changed_over
    without_budget = replace(spec, trials=DEFAULT_TRIALS, has_default_trials=True)
    kept = search.run_automatically(without_budget, home=home)
    assert (kept.search.n_trained, kept.changed_over) == (0, result.changed_over)

    # Finals that were interrupted resume as they were planned, though the study's time would allow more trials.
    study = load_writable_study(read_settings(home), spec.name)
    timed = replace(spec, trials=None, timeout_s=1000.0)
    known = study.user_attrs[CHANGED_OVER] | {"budget": [None, 1000.0], "searched": [None, 600.0], "reason": "as said"}
    study.set_user_attr(CHANGED_OVER, known)
    resumed = search.run_automatically(timed, home=home)
    assert (resumed.search.n_trained, resumed.changed_over) == (0, "as said")
    assert resumed.finals is not None
    assert resumed.finals.verdict == verdict

    record = load_study(read_settings(home), spec.name).user_attrs[SPEC]
    with pytest.raises(SpecError, match=r"must be above the \d+ s that the study's finalists took, got 0.01: raise it"):
        search.run_automatically(replace(timed, timeout_s=0.01), home=home)
    assert load_study(read_settings(home), spec.name).user_attrs[SPEC] == record


def test_the_search_is_shown_though_its_finals_fail(home: Path, tmp_path: Path) -> None:
    spec = small_spec("failing-finals", trials=8, width=[8, 16, 24, 32], epochs=1)
    run_study(searching(spec), home=home)
    study = load_writable_study(read_settings(home), spec.name)
    diverged = {"params": {}, "message": "the loss was not a number", "epochs_trained": 1, "seed": 1}
    died = {key: value for key, value in diverged.items() if key != "epochs_trained"}
    for trial, seed in itertools.product(range(4), (1, 2, 3)):  # a budget is spent once, so neither is tried again
        study.set_user_attr(RECORD + finalist_run_name(trial, seed), died if trial % 2 else diverged)
    with pytest.raises(NotFoundError, match="the loss was not a number"):
        search.run_automatically(spec, home=home)
    shown = call("run", spec.name, "--auto", "--trials", 8, "--home", home, "--json")
    assert shown.code == 1
    assert "the loss was not a number" in shown.err
    assert (shown.json()["trials"]["complete"], shown.json()["finals"]) == (4, None)


def test_the_part_that_searches_is_no_default_budget() -> None:
    """Of 80 trainings 64 are trials, as many as a study has by default."""
    spec = replace(small_spec("eighty"), trials=80, has_default_trials=True)
    assert searching(spec).trials == DEFAULT_TRIALS
    assert not searching(spec).has_default_budget


def test_a_finalist_takes_as_long_as_all_of_its_epochs() -> None:
    row = TrialRow(0, "COMPLETE", 0.9, {"epochs": 10}, 4, 10, 5.0, "cpu:0", None)
    cut = replace(row, number=1, epochs_trained=4, duration_s=3.0, stop_reason="timeout")
    copied, pruned = replace(row, number=2, duration_s=0.0), replace(row, number=3, state="PRUNED", epochs_trained=1)
    assert costs_s([row, cut, copied, pruned]) == [5.0, 7.5]


def test_a_budget_that_is_too_small_is_refused() -> None:
    with pytest.raises(SpecError, match=r"study.trials \(--trials\): must be at least 8 .*, got 7"):
        search.run_automatically(small_spec("too-small", trials=7))


@pytest.mark.parametrize(("budget", "n_trials"), [(6, 3), (7, 4)])
def test_a_study_that_an_earlier_version_began_with_less_resumes(home: Path, budget: int, n_trials: int) -> None:
    """It recorded neither that its budget is shared nor how its finals were planned."""
    spec = small_spec(f"begun-with-{budget}", trials=n_trials, width=[8, 16, 24, 32], epochs=1)
    search.run_study(spec, home=home)
    result = search.run_automatically(replace(spec, trials=budget), home=home)
    assert (len(result.search.rows), result.search.n_trained) == (n_trials, 0)
    assert result.finals is not None
    assert result.finals.verdict is not None
    assert [len(finalist.values) for finalist in result.finals.verdict.finalists] == [2, 1]


def test_without_a_budget_a_study_that_was_searched_keeps_its_own(home: Path) -> None:
    spec = small_spec("kept-budget", trials=8, width={"low": 8, "high": 32}, epochs=1)
    search.run_study(spec, home=home)
    kept = search.run_automatically(replace(spec, trials=DEFAULT_TRIALS, has_default_trials=True), home=home)
    assert (kept.search.n_trained, len(kept.search.rows), kept.finals) == (0, 8, None)
    assert "the rest of the budget is too small for new seeds" in kept.changed_over
    assert load_study(read_settings(home), spec.name).user_attrs[SPEC]["study"]["trials"] == 8


def test_without_a_budget_a_search_that_was_interrupted_must_be_given_one_unless_it_had_the_default(home: Path) -> None:
    spec = small_spec("interrupted-part", trials=9, width=[8, 16, 24, 32], epochs=1)
    without_budget = replace(spec, trials=DEFAULT_TRIALS, has_default_trials=True)
    run_study(searching(spec), home=home)  # the part that searches, which nothing followed
    with pytest.raises(SpecError, match="its budget must be given, because it was interrupted before its finalists"):
        search.run_automatically(without_budget, home=home)
    found = search.run_automatically(spec, home=home)
    assert (found.search.n_trained, found.finals is not None) == (0, True)

    default = replace(without_budget, name="interrupted-default")
    run_study(searching(default), home=home)  # which ends when all four configurations are tried
    assert search.run_automatically(default, home=home).finals is not None


@pytest.mark.parametrize("budget", [4, 7])
def test_a_small_budget_is_refused_for_a_study_that_was_begun_with_another(home: Path, budget: int) -> None:
    spec = small_spec(f"refused-{budget}", trials=2, width=[8, 16, 24, 32], epochs=1)
    search.run_study(spec, home=home)
    with pytest.raises(SpecError, match=f"must be at least 8 .*, got {budget}"):
        search.run_automatically(replace(spec, trials=budget), home=home)


def test_a_timeout_is_shared_too() -> None:
    spec = replace(small_spec("timed"), trials=None, timeout_s=100.0)
    assert (searching(spec).trials, searching(spec).timeout_s) == (None, 60.0)


def test_init_names_earlier_studies(first_run: Answer, finished_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    assert call("init", path, "--like", "tiny", "--home", finished_home).code == 0
    assert search.read_spec(path).like == ["tiny"]
    missing = call("init", tmp_path / "other.toml", "--like", "tyni", "--home", finished_home)
    assert missing.code == 1
    assert "study 'tyni': must be one of this home" in " ".join(missing.err.split())
    assert not (tmp_path / "other.toml").exists()


def test_a_larger_budget_counts_the_finals_of_a_smaller_one(home: Path) -> None:
    spec = small_spec("larger", trials=8, width={"low": 8, "high": 32}, epochs=2)
    search.run_automatically(spec, home=home)
    larger = search.run_automatically(replace(spec, trials=16), home=home)
    study = load_writable_study(read_settings(home), "larger")
    runs = [name for name in recorded_results(study) if finalist_trial(name) is not None]
    assert len(study.trials) == 8, "4 before; of the 8 that are left half are trials"
    assert larger.finals
    assert len(runs) <= 8
    assert study.user_attrs[FINALS_ELAPSED] > 0
    again = search.run_automatically(replace(spec, trials=16), home=home)
    assert (again.search.n_trained, again.changed_over) == (0, larger.changed_over)


@pytest.mark.parametrize("budget", [40, 64, 128])
def test_what_a_larger_budget_has_left_is_shared_as_a_new_one(budget: int) -> None:
    spec = small_spec("shares", trials=32)
    known = {"budget": [32, None], "searched": [16, None], "trained": 16, "finals": 16}
    part = searching(replace(spec, trials=budget), known)
    assert part.trials
    left = budget - 32
    assert part.trials - 16 == n_search(left)
    assert budget - part.trials - 16 == left - n_search(left) >= 4, "the others are finals"
    assert searching(spec, known).trials == 16, "the same budget is shared as before"
    timed = searching(replace(spec, trials=None, timeout_s=1800.0), {"finals_elapsed_s": 355.0})
    assert timed.timeout_s == pytest.approx(0.6 * (1800 - 355))


def test_finals_that_were_planned_and_not_trained_are_not_counted(home: Path) -> None:
    """Ctrl-C at the first finalist, and then a larger budget."""
    spec = small_spec("interrupted-finals", trials=8, width={"low": 8, "high": 32}, epochs=1)
    search.run_study(replace(searching(spec), budget=None), home=home)
    study = load_writable_study(read_settings(home), spec.name)
    known = {"budget": [8, None], "searched": [4, None], "trained": 4, "sizes": [2, 1, 1], "reason": "as said"}
    study.set_user_attr(CHANGED_OVER, known)
    result = search.run_automatically(replace(spec, trials=16), home=home)
    assert result.finals
    assert result.finals.verdict
    n_runs = sum(len(finalist.values) for finalist in result.finals.verdict.finalists)
    assert (len(result.search.rows), n_runs) == (10, 6), "16 in all"
