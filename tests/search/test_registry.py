"""The registry: the gate, one version a winner, history, concurrency, and crashes at every step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from mlflow import MlflowClient

import search.promotion
from pipelines.errors import InputError, NotFoundError, SpecError
from search.gate import Reading, pass_gate
from search.promotion import GATE, promote
from search.registry import models, rollback
from search.runs import connect
from search.settings import read_settings
from search.storage import load_study
from search.versions import COMPLETE, PENDING, STATE

names = (f"model-{number}" for number in count())


@pytest.fixture
def model() -> str:
    """A name that no test has used."""
    return next(names)


def client_of(home: Path) -> MlflowClient:
    return MlflowClient(read_settings(home).tracking_uri)


def champion(home: Path, model: str) -> int:
    return int(client_of(home).get_model_version_by_alias(model, "champion").version)


def versions(home: Path, model: str) -> list:
    return client_of(home).search_model_versions(f"name='{model}'")


def reading(n_right: int, fingerprint: str = "f", name: str = "it", n: int = 100) -> Reading:
    return Reading(fingerprint, n_right / n, np.arange(n) < n_right, name)


def test_the_first_needs_no_opponent():
    assert pass_gate(reading(10), None).passed


@pytest.mark.parametrize(
    ("challenger", "reason"),
    [
        (reading(70), "not better"),
        (reading(80), "not better"),
        (reading(83), "not significantly better"),
        (reading(99, "g"), "other rows"),
        (Reading("f", None, None, "it"), "was not evaluated"),
    ],
)
def test_who_does_not_pass(challenger: Reading, reason: str):
    verdict = pass_gate(challenger, reading(80, name="champion version 1"))
    assert not verdict.passed
    assert reason in verdict.reason
    assert verdict.champion_accuracy == 0.8


def test_a_significantly_better_one_passes_and_alpha_decides():
    better = reading(88)  # 8 rows more, none less: p = 2 / 2**8
    assert pass_gate(better, reading(80)).passed
    assert pass_gate(better, reading(80)).p_value == pytest.approx(2 / 2**8)
    assert not pass_gate(better, reading(80), alpha=0.001).passed


def test_a_champion_without_a_sealed_test_cannot_be_beaten_by_the_gate():
    assert not pass_gate(reading(99), Reading("f", None, None, "it")).passed


def test_the_first_version_has_its_lineage_and_a_card(contenders: Path, model: str):
    made = promote("strong", model=model, home=contenders)
    version = client_of(contenders).get_model_version_by_alias(model, "champion")
    study = load_study(read_settings(contenders), "strong")

    assert (made.promoted, made.version, made.champion_accuracy) == (True, 1, None)
    tags = version.tags
    assert (tags["study"], tags["trial"], tags["role"]) == ("strong", "0", "trial")
    assert tags["run_id"] == version.run_id == study.user_attrs["seal"][0]["run_id"]
    assert tags["fingerprint"] == study.user_attrs["dataset.fingerprint"]
    assert float(tags["test_accuracy"]) == made.test_accuracy
    assert tags["model_sha256"] == study.trials[0].user_attrs["result"]["model_sha256"]
    assert tags["promoted_by"]
    assert tags["promoted_at"]
    assert tags[STATE] == COMPLETE
    assert version.description.startswith("# digits")
    assert f"{made.test_accuracy:.4f}" in version.description
    assert study.user_attrs[GATE]["promoted"]


def test_the_same_winner_twice_makes_one_version(contenders: Path, model: str):
    first, second = (promote("strong", model=model, home=contenders) for _ in range(2))
    assert first.version == second.version == 1
    assert second.promoted
    assert "already" in second.reason
    assert len(versions(contenders, model)) == 1


@pytest.mark.parametrize(
    ("challenger", "reason"), [("weak", "not better"), ("twin", "not better"), ("other", "other rows")]
)
def test_refused_challengers_leave_the_champion(contenders: Path, model: str, challenger: str, reason: str):
    promote("strong", model=model, home=contenders)

    answer = call("promote", challenger, "--model", model, "--json", "--home", contenders)

    assert answer.code == 3
    said = answer.json()
    assert said.keys() == {"promoted", "reason", "version", "test_accuracy", "champion_accuracy", "p_value"}
    assert not said["promoted"]
    assert reason in said["reason"]
    assert said["version"] is None
    assert said["test_accuracy"] is not None
    assert said["champion_accuracy"] is not None
    assert champion(contenders, model) == 1
    assert len(versions(contenders, model)) == 1


def test_better_ones_pass_and_rollback_goes_back_one_by_one(contenders: Path, model: str):
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
    promote("weak", model=model, force="back to the roots", home=contenders)

    assert [rollback(model, home=contenders).version for _ in range(2)] == [2, 1]
    with pytest.raises(NotFoundError):
        rollback(model, home=contenders)


def test_an_alias_that_was_moved_by_hand_is_the_truth(contenders: Path, model: str):
    for study in ("weak", "middle", "strong"):
        promote(study, model=model, home=contenders)
    client_of(contenders).set_registered_model_alias(model, "champion", "2")
    assert rollback(model, home=contenders).version == 1


def test_a_champion_whose_promotion_died_after_the_move_outlives_the_next_challenger(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)
    client_of(contenders).set_model_version_tag(model, "1", STATE, PENDING)
    assert not promote("weak", model=model, home=contenders).promoted
    assert champion(contenders, model) == 1


def test_force_is_possible_and_on_record(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)

    made = promote("weak", model=model, force="a demo", home=contenders)

    assert made.promoted
    assert champion(contenders, model) == made.version == 2
    tags = client_of(contenders).get_model_version(model, "2").tags
    assert tags["gate.forced"] == "a demo"
    assert "not better" in tags["gate"]
    assert "a demo" in next(row.gate for row in models(home=contenders) if (row.model, row.version) == (model, 2))


def test_one_that_was_not_evaluated_needs_force_and_can_be_evaluated_later(tmp_path: Path, model: str):
    from finished import run_small

    from search.sealing import evaluate

    home = tmp_path / "home"
    run_small(home, "s", trials=1)
    refused = promote("s", model=model, home=home)
    assert not refused.promoted
    assert "was not evaluated on the sealed test" in refused.reason

    assert promote("s", model=model, force="no time", home=home).promoted
    accuracy = evaluate("s", home=home).evaluation.accuracy
    assert promote("s", model=model, home=home).version == 1
    assert models(home=home)[0].test_accuracy == accuracy


def test_other_aliases_have_a_history_of_their_own(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)
    made = promote("weak", model=model, alias="small", home=contenders)
    assert made.promoted
    assert champion(contenders, model) == 1
    rows = {row.version: row.aliases for row in models(home=contenders) if row.model == model}
    assert rows == {1: ("champion",), 2: ("small",)}


def test_twenty_at_once_leave_one_consistent_champion(contenders: Path, model: str):
    studies = ["weak", "middle", "strong", "twin"] * 5
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda study: promote(study, model=model, home=contenders), studies))

    assert any(promotion.promoted for promotion in made)
    found = client_of(contenders).get_registered_model(model)
    history = json.loads(found.tags["history.champion"])
    by_version = {v.version: v for v in versions(contenders, model)}
    accuracies = [float(by_version[int(v)].tags["test_accuracy"]) for v in history]
    assert str(champion(contenders, model)) == history[-1]
    assert accuracies == sorted(accuracies)
    assert by_version[int(history[-1])].tags["study"] in ("strong", "twin")
    assert len(by_version) == len(history) == len({v.run_id for v in by_version.values()})
    assert {v.tags[STATE] for v in by_version.values()} == {COMPLETE}


class Killed(BaseException):
    """Ends a promotion where it stands, as a signal would: nothing catches it."""


class Mortal:
    """MLflow's client, which dies before or after its n-th change."""

    def __init__(self, client: MlflowClient, step: int, *, after: bool) -> None:
        self._client, self._left, self._after = client, step, after

    def __getattr__(self, name: str):
        found = getattr(self._client, name)
        if not name.startswith(("create_", "set_", "log_", "finalize_", "delete_")):
            return found

        def change(*arguments, **options):
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed(name)
            result = found(*arguments, **options)
            if self._left == 0:
                raise Killed(name)
            return result

        return change


@pytest.mark.parametrize("after", [False, True])
def test_a_promotion_that_dies_at_any_step_ends_well_the_next_time(
    contenders: Path, monkeypatch: pytest.MonkeyPatch, after: bool
):
    died = 0
    for step in range(1, 40):
        model = next(names)
        promote("weak", model=model, home=contenders)
        _forget_logged_model(contenders, "strong")
        monkeypatch.setattr(
            search.promotion, "connect", lambda settings, step=step: Mortal(connect(settings), step, after=after)
        )
        try:
            promote("strong", model=model, home=contenders)
        except Killed:
            died += 1
        else:
            break
        finally:
            monkeypatch.setattr(search.promotion, "connect", connect)
        assert champion(contenders, model) in (1, 2)
        if step % 3 == 0:  # another winner comes first, and clears what was left
            assert promote("weak", model=model, home=contenders).promoted or champion(contenders, model) == 2

        made = promote("strong", model=model, home=contenders)

        assert made.promoted, (step, made)
        assert champion(contenders, model) == made.version
        left = versions(contenders, model)
        assert len(left) == 2, step
        assert {v.tags[STATE] for v in left} == {COMPLETE}
        assert rollback(model, home=contenders).version == 1
    assert died >= 8


def _forget_logged_model(home: Path, study: str) -> None:
    """So that the next promotion has to log the model again."""
    client = client_of(home)
    experiment = client.get_experiment_by_name(study).experiment_id
    for logged in client.search_logged_models([experiment]):
        client.delete_logged_model(logged.model_id)


def test_a_promotion_that_is_killed_for_real_lets_go_of_the_lock(contenders: Path, model: str):
    code = f"""
        import os, signal
        from pathlib import Path
        import search.promotion
        from search.versions import Versions
        Versions.point = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        search.promotion.promote("strong", model={model!r}, home=Path({str(contenders)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ, timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [v.tags[STATE] for v in versions(contenders, model)] == ["pending"]

    made = promote("strong", model=model, home=contenders)
    assert (made.promoted, made.version) == (True, 1)


def test_wrong_wishes(contenders: Path, model: str, tmp_path: Path):
    with pytest.raises(SpecError, match="--alpha"):
        promote("strong", alpha=1.0, home=contenders)
    with pytest.raises(SpecError, match="--force"):
        promote("strong", force=" ", home=contenders)
    with pytest.raises(InputError, match="alias"):
        promote("strong", model=model, alias="latest", home=contenders)
    with pytest.raises(InputError, match="model"):
        promote("strong", model="a/b", home=contenders)
    with pytest.raises(NotFoundError, match="did you mean strong"):
        promote("stron", home=contenders)
    with pytest.raises(NotFoundError, match="must be registered"):
        rollback("nobody", home=contenders)
    with pytest.raises(NotFoundError, match="promote a study first"):
        rollback("nobody", home=tmp_path / "none")
    assert models(home=tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
