"""Homes whose path has characters that mean something in an address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
import requests
from command_line import call
from finished import run_small
from ports import free_port
from tracked import start
from waiting import PATIENCE_S

from search.doctor import diagnose
from search.finals.sealed_test import evaluate
from search.home.settings import prepare_home, read_settings
from search.operations.ui import serving
from search.registry.predict import predict
from search.registry.promotion import promote
from search.storage.database import open_storage
from search.tracking.history import read_artifact
from search.tracking.runs import Runs

NAMES = [
    "plain",
    "with blank",
    "bücher",
    "a?b=c",
    "a%41",
    "aA",
    "a#b",
    "{a}",
    "a&b;c+d",
    "a@b:c",
    "a\\b",
    "100%",
    "a%3Fb",
]
ALL_AT_ONCE = "a?b=c&d %41#e {f} ü+g;h@i:j%"


@pytest.mark.parametrize("name", NAMES)
def test_databases_and_artifacts_lie_in_the_home(tmp_path: Path, name: str) -> None:
    settings = read_settings(tmp_path / name, {})
    prepare_home(settings)
    optuna.create_study(study_name=name, storage=open_storage(settings))
    runs = Runs(settings, "s", "", None)
    run_id = runs.open(start("s", 0))
    runs.client.log_text(run_id, "text", "file.txt")
    assert read_artifact(runs.client, f"runs:/{run_id}/file.txt", "file") == b"text"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    found = {path.name for path in settings.home.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert found == {"optuna.db", "mlflow.db", "artifacts", "spool", "locks"}


def test_every_command_works_in_a_home_with_odd_characters(tmp_path: Path) -> None:
    home = tmp_path / ALL_AT_ONCE
    best = run_small(home, "odd", trials=2).best
    assert best
    evaluate("odd", home=home)
    assert promote("odd", model="odd", home=home).promoted
    assert not diagnose(home=home).found
    assert "odd" in call("studies", "--home", home).out
    assert call("show", "odd", "0", "--home", home).code == 0
    assert predict("odd", np.zeros((2, 8, 8), np.uint8), home=home).version == 1
    with serving(home, "127.0.0.1", free_port()) as server:
        assert list(server.studies()) == ["odd"]
        path = f"{server.url}/get-artifact?path=model.h5&run_uuid={best.run_id}"
        assert requests.get(path, timeout=PATIENCE_S).content.startswith(b"\x89HDF")
    assert [path.name for path in tmp_path.iterdir()] == [ALL_AT_ONCE]
