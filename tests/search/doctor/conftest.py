"""Homes of the doctor's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.home.settings import Settings, prepare_home, read_settings


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty home with embedded databases."""
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    settings = read_settings(tmp_path / "home")
    prepare_home(settings)
    return settings
