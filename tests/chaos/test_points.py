"""The functions at which ``fault_points.py`` kills a process are named by strings: a rename must be noticed at once."""

from __future__ import annotations

import fault_points
import pytest


@pytest.mark.parametrize("place", sorted({place for places in fault_points.POINTS.values() for place in places}))
def test_the_function_of_a_point_exists(place: str) -> None:
    owner, name = fault_points.resolve(place)
    assert callable(getattr(owner, name))


@pytest.mark.parametrize("place", fault_points.INTERVALS)
def test_the_interval_that_campaigns_shorten_exists(place: str) -> None:
    owner, name = fault_points.resolve(place)
    assert isinstance(getattr(owner, name), int | float)
