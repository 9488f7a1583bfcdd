"""The functions at which ``mortal.py`` kills a process are named by strings: a rename must be noticed at once."""

from __future__ import annotations

import mortal
import pytest


@pytest.mark.parametrize("place", sorted({place for places in mortal.POINTS.values() for place in places}))
def test_the_function_of_a_point_exists(place: str) -> None:
    owner, name = mortal.resolve(place)
    assert callable(getattr(owner, name))


@pytest.mark.parametrize("place", mortal.INTERVALS)
def test_the_interval_that_campaigns_shorten_exists(place: str) -> None:
    owner, name = mortal.resolve(place)
    assert isinstance(getattr(owner, name), int | float)
