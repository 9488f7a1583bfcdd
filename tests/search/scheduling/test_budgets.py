"""Budgets, small spaces, locks, and missing samplers and pools, on whole studies."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from databases import opened
from mlflow import MlflowClient
from optuna import create_study
from optuna.trial import create_trial
from searching import Watcher
from studies import small_spec

from pipelines.errors import SpecError, UnavailableError
from search.home.settings import Settings, read_settings
from search.optimization.samplers import exhausted_note
from search.optimization.studies.budget import has_used_budget, used_note
from search.reporting.live.following import progress_of
from search.scheduling.context import StudyClock
from search.scheduling.progress import Progress
from search.scheduling.run_study import run_study
from search.spec import override
from search.storage import open_storage
from search.storage.attributes import TIMED_OUT


class TestBudgets:
    def test_the_timeout_keeps_what_running_trials_reached_and_counts_over_runs(self, home: Path) -> None:
        changes = {"space": {"epochs": 1_000_000, "width": 64, "learning_rate": 0.001}, "search": {"pruner": "none"}}
        for timeout_s in (3.0, 12.0, 60.0, 600.0):  # on a loaded machine the workers may need long to start
            spec = small_spec(f"timeout-{timeout_s:g}", slots=2, **changes)
            spec = replace(spec, trials=1000, timeout_s=timeout_s)
            watcher = Watcher()
            result = run_study(spec, home=home, observer=watcher)
            if len(result.rows) == 2:
                break
        assert f"the timeout of {timeout_s:g} s ended the search after 2 of 1,000 trials" in watcher.lines
        assert result.wall_s >= timeout_s - 1
        assert [row.state for row in result.rows] == ["COMPLETE", "COMPLETE"]
        assert all(row.epochs_trained and row.value for row in result.rows)
        watcher = Watcher()
        again = run_study(spec, home=home, observer=watcher)
        assert again.rows == result.rows, "the time was used up"
        assert watcher.lines == [used_note(spec)], "no worker starts"
        more = run_study(replace(spec, timeout_s=result.wall_s + timeout_s), home=home)
        assert len(more.rows) > len(result.rows)

    def test_a_rest_of_the_timeout_that_is_too_short_for_an_epoch_is_used(self, places: Settings) -> None:
        spec = replace(small_spec("rest"), trials=None, timeout_s=60.0)
        study = opened(places, spec)
        StudyClock(study, 60.0, 0.0, lambda: 59.0).record()
        assert not has_used_budget(study, spec)
        study.set_user_attr(TIMED_OUT, 60.0)
        assert has_used_budget(study, spec)
        assert (progress_of(study).time_left_s, progress_of(study).elapsed_s) == (0.0, 59.0)
        assert not has_used_budget(study, replace(spec, timeout_s=120.0))

    def test_a_small_space_is_trained_once_and_the_study_ends(self, home: Path) -> None:
        fixed = {"width": [8, 16], "depth": 1, "dropout": 0.0, "optimizer": "adam", "learning_rate": 0.01}
        spec = small_spec(
            "small", trials=50, slots=2,
            space=fixed | {"schedule": ["constant", "cosine"], "epochs": 2, "batch_size": 64},
        )  # fmt: skip
        result = run_study(spec, home=home)
        assert len(result.rows) == 4
        assert len({(row.params["width"], row.params["schedule"]) for row in result.rows}) == 4
        watcher = Watcher()
        assert run_study(spec, home=home, observer=watcher).rows == result.rows
        assert watcher.lines == [exhausted_note(spec)], "one line, and no worker starts"

    def test_another_process_cannot_search_the_same_study(self, home: Path) -> None:
        refused: list[str] = []

        def try_too(progress: Progress) -> None:
            if not refused:
                with pytest.raises(UnavailableError, match="is being searched by another process") as caught:
                    run_study(small_spec("locked", trials=2), home=home)
                refused.append(str(caught.value))

        result = run_study(small_spec("locked", trials=2), home=home, observer=Watcher(try_too))
        assert refused
        assert len(result.rows) == 2


class TestSamplersAndPruners:
    @pytest.mark.parametrize(
        ("sampler", "pruner"),
        [("tpe", "hyperband"), ("random", "median"), ("cmaes", "none"), ("grid", "asha"), ("gp", "asha")],
    )
    def test_run_a_short_study(self, home: Path, sampler: str, pruner: str) -> None:
        space = (
            {"learning_rate": [0.003, 0.01], "width": [16, 32], "dropout": 0.1, "epochs": [3, 6]}
            if sampler == "grid"
            else {}
        )
        spec = small_spec(
            f"{sampler}-{pruner}", trials=7, slots=2, search={"sampler": sampler, "pruner": pruner}, space=space
        )
        result = run_study(spec, home=home)
        assert result.count("COMPLETE") + result.count("PRUNED") == 7
        assert len({tuple(row.params.items()) for row in result.rows}) == 7


def test_a_sampler_without_its_package_ends_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import then finds is what it finds without the package
    with pytest.raises(UnavailableError, match=r"pip install 'mlp-search\[gp\]'$"):
        run_study(small_spec("gp", search={"sampler": "gp"}), home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_an_unknown_pool(home: Path) -> None:
    with pytest.raises(SpecError, match=r"--pool: must be .*, got 'cloud'"):
        run_study(small_spec("cloud"), home=home, pool="cloud")


@pytest.mark.parametrize(
    ("settings", "pool", "rule"),
    [
        ({"slots": 2, "virtual_slots": 1}, "local", "search.virtual_slots: must be at least the number of slots, 2"),
        ({"gpus": "1"}, "ray", "workers.gpus and workers.trials_per_gpu: are for --pool local"),
        ({}, "local", "must be one that mlp-search made, but is another program's"),
    ],
    ids=["clock", "gpus-and-ray", "another-programs"],
)
def test_a_refused_study_leaves_no_experiment(
    tmp_path: Path, settings: dict[str, object], pool: str, rule: str
) -> None:
    home = tmp_path / "home"
    run_study(small_spec("there", trials=1), home=home)
    if not settings:
        create_study(storage=open_storage(read_settings(home)), study_name="refused").add_trial(create_trial(value=1.0))
    with pytest.raises(SpecError, match=rule):
        run_study(override(small_spec("refused"), **settings), home=home, pool=pool)
    assert not MlflowClient(read_settings(home).tracking_uri).get_experiment_by_name("refused")
