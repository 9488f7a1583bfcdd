"""Homes with a promoted model, for predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.registry.promotion import promote


@pytest.fixture(scope="module")
def home(contenders: Path) -> Path:
    promote("strong", model="digits", home=contenders)
    return contenders


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose model ``animals`` was trained on a table."""
    from animals import make_animals

    return make_animals(tmp_path_factory.mktemp("animals"))
