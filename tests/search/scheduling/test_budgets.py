"""Budgets, small spaces, locks, and missing samplers and pools, on whole studies."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from searching import Watcher
from studies import small_spec

from pipelines.errors import SpecError, UnavailableError
from search.optimization.samplers import exhausted_note
from search.scheduling.progress import Progress
from search.scheduling.run_study import run_study


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
        again = run_study(spec, home=home)
        assert again.rows == result.rows, "the time was used up"
        more = run_study(replace(spec, timeout_s=result.wall_s + timeout_s), home=home)
        assert len(more.rows) > len(result.rows)

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
