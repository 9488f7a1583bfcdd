"""One budget for trials and seeds, on digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Answer, call
from finished import small_spec

import search
from pipelines.errors import SpecError
from search.automatic.run_auto import searching
from search.scheduling.progress import Observer


class Notes(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_a_budget_is_shared_and_used_once(home: Path) -> None:
    spec = small_spec("shared-budget", trials=6, width=[8, 16, 24, 32], epochs=2)
    notes = Notes()
    result = search.run_automatically(spec, home=home, observer=notes)
    assert len(result.search.rows) == 3
    assert result.finals is not None
    verdict = result.finals.verdict
    assert verdict is not None
    assert [len(finalist.values) for finalist in verdict.finalists] == [2, 1]
    assert verdict.winner.gain == verdict.finalists[0].gain
    assert verdict.expected == verdict.winner.values[1], "the second seed rejected nobody"
    assert "after 3 of 6 trainings: the best 2 trials differ by" in result.changed_over
    assert result.changed_over in notes.lines
    again = search.run_automatically(spec, home=home)
    assert again.search.n_trained == 0
    assert again.finals is not None
    assert again.finals.verdict == verdict


def test_a_budget_that_is_too_small_is_refused() -> None:
    with pytest.raises(SpecError, match=r"study.trials \(--trials\): must be at least 6 .*, got 5"):
        search.run_automatically(small_spec("too-small", trials=5))


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
