"""Promotions: one version for each winner, its lineage, refusals, and refusals that are overruled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import call
from registered import champion, client_of, versions

from pipelines.errors import InputError, NotFoundError, SpecError, UnavailableError
from pipelines.evaluation.predictions import Predictions
from search.cli.commands.models import promotion_lines
from search.home.settings import read_settings
from search.optimization.studies import load_study
from search.registry.models import models, rollback
from search.registry.promotion import promote
from search.registry.versions import COMPLETE, STATE, Versions
from search.reporting.report import write_report
from search.storage.attributes import GATE


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
    linear = made.baselines["linear"]["accuracy"]
    (row,) = (row for row in models(home=contenders) if row.model == model)
    assert float(tags["test_linear"]) == linear == row.linear
    assert f"a linear model {linear:.4f})" in version.description
    assert f"A linear model reaches {linear:.4f}" in promotion_lines(made, "champion")[1]
    assert study.user_attrs[GATE]["promoted"]


def test_the_same_winner_twice_makes_one_version(contenders: Path, model: str):
    first, second = (promote("strong", model=model, home=contenders) for _ in range(2))
    assert first.version == second.version == 1
    assert second.promoted
    assert "already" in second.reason
    assert len(versions(contenders, model)) == 1


@pytest.mark.parametrize(
    ("challenger", "reason"), [("weak", "not better"), ("equal", "not better"), ("other", "other rows")]
)
def test_refused_challengers_leave_the_champion(contenders: Path, model: str, challenger: str, reason: str):
    promote("strong", model=model, home=contenders)

    answer = call("promote", challenger, "--model", model, "--json", "--home", contenders)

    assert answer.code == 3
    said = answer.json()
    assert said.keys() == {
        "study", "model", "alias", "promoted", "reason", "version", "test_accuracy", "champion_accuracy", "p_value",
        "majority", "alpha", "level", "ordinal", "smallest_difference",
        "objective", "value", "interval", "champion_value", "baseline", "test", "baselines",
    }  # fmt: skip
    assert (said["study"], said["model"], said["alias"]) == (challenger, model, "champion")
    assert not said["promoted"]
    assert reason in said["reason"]
    assert said["version"] is None
    assert said["test_accuracy"] is not None
    assert said["champion_accuracy"] is not None
    assert said["ordinal"] == {"weak": 1, "equal": 4, "other": 1}[challenger]
    # Without the champion, weak is the 1st of the models on these rows, and equal the 3rd.
    assert said["level"] == {"weak": 0.05 / 2, "equal": 0.05 / 12, "other": None}[challenger]
    assert f"this is the {'4th' if challenger == 'equal' else '1st'} model tested on these rows" in answer.err
    assert champion(contenders, model) == 1
    assert len(versions(contenders, model)) == 1


def test_force_overrules_the_gate_and_is_recorded(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)

    made = promote("weak", model=model, force="a demo", home=contenders)

    assert made.promoted
    assert champion(contenders, model) == made.version == 2
    tags = client_of(contenders).get_model_version(model, "2").tags
    assert tags["gate.forced"] == "a demo"
    assert "not better" in tags["gate"]
    assert "a demo" in next(row.gate for row in models(home=contenders) if (row.model, row.version) == (model, 2))


def test_a_version_that_passes_is_not_marked_as_forced(contenders: Path, model: str):
    assert promote("strong", model=model, force="just in case", home=contenders).promoted
    assert "gate.forced" not in versions(contenders, model)[0].tags


def test_a_second_call_keeps_the_decision_of_the_first(contenders: Path, model: str):
    def recorded() -> dict[str, Any]:
        return load_study(read_settings(contenders), "strong").user_attrs[GATE]

    promote("weak", model=model, home=contenders)
    promote("strong", model=model, home=contenders)
    first = recorded()
    assert first["p_value"] < 0.05
    assert "already" in promote("strong", model=model, home=contenders).reason
    names = ("reason", "p_value", "level", "test")
    assert [recorded()[name] for name in names] == [first[name] for name in names]
    for _ in range(2):  # the version that it had at first has a decision of its own now
        promote("weak", model=model, force="smaller", home=contenders)
        assert load_study(read_settings(contenders), "weak").user_attrs[GATE]["reason"].startswith("forced (smaller)")


def test_a_winner_whose_run_was_deleted_in_mlflow_is_refused_before_the_alias_moves(contenders: Path, model: str):
    run_id = load_study(read_settings(contenders), "strong").user_attrs["seal"][0]["run_id"]
    client_of(contenders).delete_run(run_id)
    try:
        with pytest.raises(UnavailableError, match="was deleted there: mlp-search doctor --repair restores it"):
            promote("strong", model=model, home=contenders)
        assert versions(contenders, model) == []
    finally:
        client_of(contenders).restore_run(run_id)


def test_a_winner_that_was_not_evaluated_needs_force_and_can_be_evaluated_later(tmp_path: Path, model: str):
    from finished import run_small

    from search.finals.sealed_test import evaluate

    home = tmp_path / "home"
    run_small(home, "s", trials=1)
    refused = promote("s", model=model, home=home)
    assert not refused.promoted
    assert "was not evaluated on the held-out test" in refused.reason
    again = call("promote", "s", "--model", model, "--home", home)
    assert f"next: mlp-search evaluate s --home {home}   tests the winner on held-out rows, once" in joined(again.err)

    assert promote("s", model=model, force="no time", home=home).promoted
    accuracy = evaluate("s", home=home).evaluation.accuracy
    assert "not measured" in versions(home, model)[0].description
    assert promote("s", model=model, home=home).version == 1
    assert models(home=home)[0].test_accuracy == accuracy
    (version,) = versions(home, model)
    assert f"{accuracy:.4f}" in version.description
    assert "not measured" not in version.description
    kept = Versions(client_of(home), model, "champion").file(version, version.tags["test_predictions"])
    assert Predictions.from_npz(kept, "it").right.mean() == pytest.approx(accuracy)


def test_a_refusal_names_the_next_command(contenders: Path, model: str):
    promote("strong", model=model, home=contenders)
    answer = call("promote", "weak", "--model", model, "--home", contenders)
    assert answer.code == 3
    forced = f"next: mlp-search promote weak --model {model} --force REASON --home {contenders}   promo"
    assert forced in joined(answer.err)


def joined(lines: str) -> str:
    """A suggestion on one line, as on a wide terminal."""
    return lines.replace(" \\\n     ", "")


def test_wrong_options(contenders: Path, model: str, tmp_path: Path):
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


@pytest.mark.parametrize("alias", ["", "prod env", "latest", "LATEST", "v3", "3", "a@b", "a/b", "x" * 256])
def test_an_alias_that_mlflow_refuses_makes_no_version(contenders: Path, model: str, alias: str):
    with pytest.raises(SpecError, match="--alias: must be letters") as caught:
        promote("strong", model=model, alias=alias, force="a test", home=contenders)
    assert len(caught.value.problems) == 1
    with pytest.raises(NotFoundError):
        rollback(model, home=contenders)


@pytest.mark.parametrize("name", ["", " ", " x", "-x", "x" * 201, "a/b", "a:b", "a@b", ".."])
def test_a_model_must_have_a_name_that_predict_can_take(contenders: Path, name: str):
    with pytest.raises(SpecError, match="--model: must be 1 to 200 printable characters"):
        promote("strong", model=name, home=contenders)


def test_a_refusal_keeps_the_promotion_before_it_in_the_record(contenders: Path, model: str):
    def gate() -> dict[str, Any]:
        return load_study(read_settings(contenders), "weak").user_attrs[GATE]

    promote("weak", model=model, force="a test", home=contenders)
    promote("strong", model=model, home=contenders)
    other = f"{model}-2"
    promote("strong", model=other, home=contenders)
    for _ in range(2):
        assert not promote("weak", model=other, home=contenders).promoted
        assert (gate()["promoted"], gate()["model"]) == (False, other)
        assert (gate()["last_promoted"]["model"], gate()["last_promoted"]["version"]) == (model, 1)
    page = write_report("weak", contenders / "weak.html", home=contenders).read_text()
    assert f"Before that: <strong>Promoted</strong> as version 1 of {model}" in page
