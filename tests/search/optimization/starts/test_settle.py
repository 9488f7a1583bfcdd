"""How many starts a budget takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from search.devices.work import Shape
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.starts import settle_starts
from search.optimization.starts.settle import within
from search.spec.study_spec import StudySpec


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    return settings


def test_a_start_that_alone_takes_more_than_half_of_the_time_is_said(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    new = replace(spec, start=(Hyperparameters(depth=1), Hyperparameters(width=8, depth=1)), has_default_starts=True)
    notes: list[str] = []
    begun = settle_starts(settings, replace(new, timeout_s=0.001), digits, notes.append)
    assert begun.start == new.start[1:]
    assert notes == [
        "starts: using 1 of 2 configurations of the preset; it costs least, and may still take more than half of"
        " 0.001 s"
    ]
    notes.clear()
    settle_starts(settings, replace(new, trials=3), digits, notes.append)
    assert notes == ["starts: using 1 of 2 configurations of the preset; starts take at most half of the budget"]


def test_starts_take_at_most_half_of_the_budget() -> None:
    assert within([1.0] * 4, trials=4, timeout_s=None) == [0, 1]
    assert within([1.0] * 4, trials=1, timeout_s=None) == [0]
    assert within([1.0] * 4, trials=None, timeout_s=None) == [0, 1, 2, 3]
    assert within([30.0, 90.0, 5.0, 10.0], trials=None, timeout_s=80) == [0, 2]
    assert within([30.0, 90.0, 5.0, 10.0], trials=None, timeout_s=4) == [2], "the one that costs least"


def test_a_larger_network_costs_more(digits: Dataset) -> None:
    shape = Shape.of(digits)
    small, large = (shape.nominal_s(Hyperparameters(width=width)) for width in (64, 1024))
    assert 0 < small < large
    short, long = (shape.nominal_s(Hyperparameters(epochs=epochs)) for epochs in (20, 40))
    assert long - short == pytest.approx(short - 0.2), "what comes once is counted once"
