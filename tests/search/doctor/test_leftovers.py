"""The doctor deletes only proven leftovers, and checks them again right before."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import Place, start

from search.doctor import diagnose
from search.doctor.leftovers import artifact_leftovers
from search.home.locks import study_lock
from search.home.settings import Settings, prepare_home, read_settings, study_slug


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("OPTUNA_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    settings = read_settings(tmp_path / "home")
    prepare_home(settings)
    Place(settings).runs("one").open(start("one", 0))
    return settings


def unfinished(settings: Settings, study: str) -> Path:
    folder = settings.spool / study_slug(study) / "trial-0000.tmp"
    folder.mkdir(parents=True)
    return folder


def test_files_of_a_study_that_has_just_begun_are_skipped(settings: Settings) -> None:
    left, written = unfinished(settings, "dead"), unfinished(settings, "beginning")
    with study_lock(settings, "beginning"):
        diagnose(repair=True, home=settings.home)
    assert written.exists()
    assert not left.exists()


def test_a_folder_filled_since_the_check_stays(settings: Settings) -> None:
    empty, filled = (settings.home / "artifacts" / (letter * 32) / "artifacts" for letter in "ab")
    for folder in (empty, filled):
        folder.mkdir(parents=True)
    findings, _ = artifact_leftovers(settings, set())
    (filled / "model.h5").write_bytes(b"worth")
    for finding in findings:
        finding.apply()
    assert not empty.parent.exists()
    assert (filled / "model.h5").read_bytes() == b"worth"
