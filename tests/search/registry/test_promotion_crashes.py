"""Promotions at the same time, and promotions that are killed at any step."""

from __future__ import annotations

import json
import signal
import textwrap
from pathlib import Path

import pytest
from forked import MODULE, Forked
from mlflow import MlflowClient
from registered import champion, client_of, versions
from waiting import PATIENCE_S

from search.home.settings import read_settings
from search.optimization.studies import load_study
from search.registry import promotion
from search.registry.models import rollback
from search.registry.promotion import promote
from search.registry.versions import COMPLETE, PENDING, STATE
from search.storage.attributes import GATE
from search.tracking.connection import connect


def test_a_refused_challenger_leaves_a_champion_whose_promotion_died_after_the_move(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)
    client_of(contenders).set_model_version_tag(model, "1", STATE, PENDING)
    assert not promote("weak", model=model, home=contenders).promoted
    assert champion(contenders, model) == 1


def test_eight_at_once_leave_one_consistent_champion(contenders: Path, model: str):
    studies = ["weak", "middle", "strong", "equal"] * 2
    options = ("--model", model, "--json", "--home", contenders)
    begun = [Forked([*MODULE, "promote", study, *options]) for study in studies]
    answers = [(process.stdout.read(), process.wait(PATIENCE_S)) for process in begun if process.stdout]

    assert {code for _, code in answers} <= {0, 3}, answers
    assert all(json.loads(out)["promoted"] == (code == 0) for out, code in answers)
    found = client_of(contenders).get_registered_model(model)
    history = json.loads(found.tags["history.champion"])
    by_version = {v.version: v for v in versions(contenders, model)}
    accuracies = [float(by_version[int(v)].tags["test_accuracy"]) for v in history]
    assert str(champion(contenders, model)) == history[-1]
    assert accuracies == sorted(accuracies)
    assert by_version[int(history[-1])].tags["study"] in ("strong", "equal")
    assert len(by_version) == len(history) == len({v.run_id for v in by_version.values()})
    assert {v.tags[STATE] for v in by_version.values()} == {COMPLETE}


class Killed(BaseException):
    """Ends a promotion at once, as a signal would: nothing catches it."""


class Mortal:
    """MLflow's client, which dies after its n-th change."""

    def __init__(self, client: MlflowClient, step: int) -> None:
        self._client, self._left = client, step

    def __getattr__(self, name: str):
        found = getattr(self._client, name)
        if not name.startswith(("create_", "set_", "log_", "finalize_", "delete_")):
            return found

        def change(*arguments, **options):
            self._left -= 1
            result = found(*arguments, **options)
            if self._left == 0:
                raise Killed(name)
            return result

        return change


def test_the_next_call_completes_a_promotion_that_died_at_any_step(
    contenders: Path, model: str, monkeypatch: pytest.MonkeyPatch
):
    """Before a change of MLflow it is as after the one before it."""
    died = 0
    promote("weak", model=model, home=contenders)
    for step in range(1, 40):
        _forget_logged_model(contenders, "strong")
        monkeypatch.setattr(
            promotion,
            "connect",
            lambda settings, step=step: Mortal(connect(settings), step),
        )
        try:
            promote("strong", model=model, home=contenders)
        except Killed:
            died += 1
        else:
            break
        finally:
            monkeypatch.setattr(promotion, "connect", connect)
        left = champion(contenders, model)
        assert left in (1, max(int(version.version) for version in versions(contenders, model)))
        if step % 3 == 0:  # another winner is promoted first, and deletes unfinished versions
            assert promote("weak", model=model, home=contenders).promoted or champion(contenders, model) == left > 1

        made = promote("strong", model=model, home=contenders)

        assert made.promoted, (step, made)
        assert champion(contenders, model) == made.version
        recorded = load_study(read_settings(contenders), "strong").user_attrs[GATE]
        assert "already" not in recorded["reason"], step
        assert recorded["p_value"] is not None, step
        both = versions(contenders, model)
        assert len(both) == 2, step
        assert {v.tags[STATE] for v in both} == {COMPLETE}
        assert rollback(model, home=contenders).version == 1
        client_of(contenders).delete_model_version(model, str(made.version))  # for the next step
    assert died >= 8


def _forget_logged_model(home: Path, study: str) -> None:
    """Makes the next promotion log the model again."""
    client = client_of(home)
    experiment = client.get_experiment_by_name(study).experiment_id
    for logged in client.search_logged_models([experiment]):
        client.delete_logged_model(logged.model_id)


def test_a_killed_process_releases_the_lock_of_its_promotion(contenders: Path, model: str):
    code = f"""
        import os, signal
        from pathlib import Path
        import search.registry.promotion
        from search.registry.versions import Versions
        Versions.point = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        search.registry.promotion.promote("strong", model={model!r}, home=Path({str(contenders)!r}))
    """
    assert Forked(["-c", textwrap.dedent(code)]).wait(PATIENCE_S) == -signal.SIGKILL
    assert [v.tags[STATE] for v in versions(contenders, model)] == ["pending"]

    made = promote("strong", model=model, home=contenders)
    assert (made.promoted, made.version) == (True, 1)
