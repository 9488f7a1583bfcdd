"""What was edited in MLflow is repaired, and makes nothing else look wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call

import search
from search.home.settings import read_settings
from search.tracking.connection import connect


def test_a_changed_hash_makes_no_model_file_a_damaged_one(untouched_contenders: Path) -> None:
    home, client = untouched_contenders, connect(read_settings(untouched_contenders))
    best = search.load_study("weak", home=home).best
    assert best
    client.set_tag(str(best.run_id), "model_sha256", "oops")
    found = call("doctor", "--home", home, "--json").json()
    assert [finding["kind"] for finding in found] == ["wrong tags"]
    assert call("doctor", "--repair", "--home", home).code == 0
    assert not [tag for tag in client.get_run(str(best.run_id)).data.tags if tag.startswith("lost.")]
    assert call("doctor", "--home", home).code == 0


def test_a_file_that_came_back_is_not_lost_any_more(untouched_contenders: Path) -> None:
    home, client = untouched_contenders, connect(read_settings(untouched_contenders))
    best = search.load_study("weak", home=home).best
    assert best
    (file,) = home.glob(f"artifacts/{best.run_id}/**/model.h5")
    for copy in {path for path in home.rglob("*.h5") if path.read_bytes() == file.read_bytes()} - {file}:
        copy.unlink()
    file.rename(kept := home.parent / "model.h5")
    call("doctor", "--repair", "--home", home)
    assert client.get_run(str(best.run_id)).data.tags["lost.model.h5"].startswith("missing")
    kept.rename(file)
    found = call("doctor", "--home", home, "--json").json()
    assert [finding["kind"] for finding in found] == ["model.h5 that is not lost"]
    assert call("doctor", "--repair", "--home", home).code == 0
    assert "lost.model.h5" not in client.get_run(str(best.run_id)).data.tags


@pytest.mark.parametrize("text", ["not json", "1, 2", "5"])
def test_an_unreadable_history_of_an_alias_is_written_again(text: str, untouched_contenders: Path) -> None:
    home, client = untouched_contenders, connect(read_settings(untouched_contenders))
    search.promote("weak", model="edited", home=home)
    client.set_registered_model_tag("edited", "history.champion", text)
    answer = call("rollback", "edited", "--home", home)
    assert answer.code == 1
    assert "version 1 is the first" in answer.err
    found = call("doctor", "--home", home, "--json").json()
    assert [finding["kind"] for finding in found] == ["history of an alias"]
    assert call("doctor", "--repair", "--home", home).code == 0
    assert client.get_registered_model("edited").tags["history.champion"] == '["1"]'
