"""The registry: an alias, its history, and rollbacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import call
from registered import champion, client_of, versions

from pipelines.errors import NotFoundError
from search.registry.models import models, rollback
from search.registry.predict import predict
from search.registry.promotion import promote
from search.tracking.history import all_pages


def test_better_challengers_pass_and_each_rollback_goes_one_version_back(contenders: Path, model: str):
    for number, study in enumerate(("weak", "middle", "strong"), start=1):
        made = promote(study, model=model, home=contenders)
        assert (made.promoted, made.version) == (True, number), made.reason
    assert made.p_value < 0.05
    assert made.test_accuracy > made.champion_accuracy

    assert call("rollback", model, "--json", "--home", contenders).json()["version"] == 2
    assert champion(contenders, model) == 2
    assert rollback(model, home=contenders).version == 1
    with pytest.raises(NotFoundError, match="version 1 is the first"):
        rollback(model, home=contenders)

    again = promote("strong", model=model, home=contenders)
    assert (again.promoted, again.version) == (True, 3)
    assert len(versions(contenders, model)) == 3
    assert rollback(model, home=contenders).version == 1


def test_a_version_that_was_champion_twice_is_in_the_history_twice(contenders: Path, model: str):
    for study in ("weak", "middle"):
        promote(study, model=model, home=contenders)
    promote("weak", model=model, force="smaller", home=contenders)

    assert [rollback(model, home=contenders).version for _ in range(2)] == [2, 1]
    with pytest.raises(NotFoundError):
        rollback(model, home=contenders)


def test_a_rollback_passes_over_the_version_that_the_alias_is_at(contenders: Path, model: str):
    """It was promoted again after the version in between was deleted."""
    for study in ("weak", "middle"):
        promote(study, model=model, home=contenders)
    client_of(contenders).delete_model_version(model, "2")
    promote("weak", model=model, home=contenders)
    with pytest.raises(NotFoundError, match="version 1 is the first"):
        rollback(model, home=contenders)


def test_a_rollback_starts_from_where_the_alias_was_moved_by_hand(contenders: Path, model: str):
    for study in ("weak", "middle", "strong"):
        promote(study, model=model, home=contenders)
    client_of(contenders).set_registered_model_alias(model, "champion", "2")
    assert rollback(model, home=contenders).version == 1


def test_other_aliases_have_a_history_of_their_own(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)
    made = promote("weak", model=model, alias="small", home=contenders)
    assert made.promoted
    assert champion(contenders, model) == 1
    rows = {row.version: row.aliases for row in models(home=contenders) if row.model == model}
    assert rows == {1: ("champion",), 2: ("small",)}


def test_versions_of_other_programs_are_listed_whatever_their_tags(tmp_path: Path):
    (tmp_path / "home").mkdir()
    client = client_of(tmp_path / "home")
    client.create_registered_model("colleague")
    tags = {"trial": "best one", "test_accuracy": "97 %", "seal_opened": "often"}
    client.create_model_version("colleague", "file:///nowhere", tags=tags)
    (row,) = models(home=tmp_path / "home")
    assert (row.model, row.trial, row.test_accuracy, row.seal_opened) == ("colleague", None, None, 0)

    client.delete_model_version("colleague", "1")
    with pytest.raises(NotFoundError, match="must have the version '1'; there is none: promote a study first"):
        predict("colleague/1", np.zeros((1, 8, 8)), home=tmp_path / "home")


def test_more_models_than_fit_on_a_page_of_the_registry(contenders: Path):
    client = client_of(contenders)
    names = {f"page-{number}" for number in range(101)}
    for name in names:
        client.create_registered_model(name)
    assert names <= {model.name for model in all_pages(client.search_registered_models)}
    for name in names:
        client.delete_registered_model(name)
