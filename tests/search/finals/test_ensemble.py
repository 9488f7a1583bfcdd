"""The winner's networks of several seeds as one model: what it answers, its run, and which model stands for a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from command_line import call
from finished import run_small, small_spec
from registered import client_of, versions

import search
from pipelines.data.datasets import Dataset
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from pipelines.training.history import sha256
from pipelines.training.model import load_h5
from search.finals import ensemble as module
from search.finals.ensemble import recorded_ensemble
from search.finals.finals import run_finalists
from search.finals.result import FinalistsResult
from search.finals.sealed_test import evaluate
from search.finals.winner import find_winner, measured_winner
from search.home.settings import read_settings
from search.optimization.studies import load_study, load_writable_study, study_data
from search.registry.promotion import promote
from search.scheduling.run_study import run_study
from search.storage.attributes import RECORD, VERDICT
from search.storage.stored_study import StoredStudy
from search.tracking.spool import entries


class Killed(BaseException):
    """Ends a call at once, as a signal would: nothing catches it."""


def kill(*_: object) -> None:
    raise Killed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two finished studies: ``one`` has one split, ``two`` a table with two classes and two folds."""
    folder = tmp_path_factory.mktemp("ensemble")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=np.where(x @ [2, -1, 1] > 0, "yes", "no"))
    frame.to_csv(folder / "table.csv", index=False)
    one, two = (small_spec(name, trials=1) for name in ("one", "two"))
    run_study(one, home=folder / "home")
    data = replace(two.data, source=str(folder / "table.csv"), target="label", folds=2)
    run_study(replace(two, data=data), home=folder / "home")
    return folder / "home"


@pytest.fixture(scope="module")
def results(home: Path) -> dict[str, FinalistsResult]:
    """Their finals with ensembles.

    That of ``one`` is recovered after a kill between its spool and its record, that of ``two`` is made by ``promote``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "record_result", kill)
        with pytest.raises(Killed):
            run_finalists("one", top=1, seeds=2, ensemble=True, home=home)
    assert len(list(entries(read_settings(home).spool, "one"))) == 1
    assert run_finalists("two", top=1, seeds=2, home=home).model == "finalist"  # with folds there is no refit
    assert "evaluate" in promote("two", ensemble=True, home=home).reason
    assert len(runs_of(home, "two")) == 1
    return {name: run_finalists(name, top=1, seeds=2, ensemble=True, home=home) for name in ("one", "two")}


def test_the_logged_value_of_folds_can_be_computed_from_the_model_and_the_rows(home: Path) -> None:
    result = search.load_study("two", home=home)
    x, y, fold = result.validation_rows()
    model = result.best.load_model()
    each = keras.Model(model.inputs, model.layers[-1].input).predict(x, verbose=0)
    right = each[range(len(x)), fold].argmax(axis=1) == y
    assert np.mean([right[fold == number].mean() for number in (0, 1)]) == pytest.approx(result.best.value, abs=1e-6)
    rows = search.load_study("one", home=home).validation_rows()
    assert not rows.fold.any()


def test_runs_of_folds_have_their_number_as_a_tag(home: Path) -> None:
    client, folds = client_of(home), {}
    for study in ("one", "two"):
        (trial,) = search.trials(study, home=home)
        folds[study] = client.get_run(trial.run_id).data.tags.get("folds")
    assert folds == {"one": None, "two": "2"}


def study_of(home: Path, name: str) -> StoredStudy:
    return load_study(read_settings(home), name)


def dataset_of(home: Path, name: str) -> Dataset:
    return study_data(study_of(home, name), read_settings(home))[1]


def runs_of(home: Path, study: str) -> list:
    client = client_of(home)
    experiment = client.get_experiment_by_name(study)
    return client.search_runs([experiment.experiment_id], "tags.role = 'ensemble'")


def answers(home: Path, run_id: str, rows: np.ndarray) -> np.ndarray:
    """The answers of a run's model file."""
    content = Path(client_of(home).download_artifacts(run_id, "model.h5")).read_bytes()
    return load_h5(content, sha256(content)).predict(rows, verbose=0)


@pytest.mark.parametrize(("name", "networks"), [("one", 2), ("two", 4)])
def test_it_answers_with_the_mean_of_the_finalists(
    home: Path, results: dict[str, FinalistsResult], name: str, networks: int
):
    made, winner = results[name].ensemble, results[name].verdict.winner
    rows = dataset_of(home, name).validation.x

    found = answers(home, made.run_id, rows)

    each = [answers(home, run_id, rows) for run_id in winner.run_ids]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
    assert (made.run_name, made.networks) == (f"ensemble-{winner.candidate.trial:04d}-seeds-2", networks)


def test_its_run_has_the_finalists_mean_and_its_own_value_where_rows_are_left(
    home: Path, results: dict[str, FinalistsResult]
):
    validation = dataset_of(home, "one").validation
    for name, made in ((name, result.ensemble) for name, result in results.items()):
        run = client_of(home).get_run(made.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.tags["role"] == "ensemble"
        assert run.data.tags["networks"] == str(made.networks)
        assert run.data.metrics["mean_val_accuracy"] == pytest.approx(results[name].verdict.winner.mean)
    one, two = (client_of(home).get_run(results[name].ensemble.run_id) for name in ("one", "two"))
    right = answers(home, one.info.run_id, validation.x).argmax(axis=1) == validation.y
    assert one.data.metrics["best_val_accuracy"] == results["one"].ensemble.value == pytest.approx(right.mean())
    assert results["two"].ensemble.value is None  # each row trained one of its networks
    assert not [metric for metric in two.data.metrics if metric.startswith("best_")]


def test_it_is_made_once_also_after_a_kill(home: Path, results: dict[str, FinalistsResult]):
    again = run_finalists("one", top=1, seeds=2, ensemble=True, home=home)
    assert again.ensemble == results["one"].ensemble
    for name in ("one", "two"):
        assert [run.info.run_id for run in runs_of(home, name)] == [results[name].ensemble.run_id]
    assert not list(entries(read_settings(home).spool, "one"))


def test_it_stands_for_its_study_and_with_folds_the_median_finalist_is_measured(
    home: Path, results: dict[str, FinalistsResult]
):
    for name, measured in (("one", "ensemble"), ("two", "finalist")):
        study = study_of(home, name)
        winner = find_winner(study)
        assert (winner.role, winner.run_id) == ("ensemble", results[name].ensemble.run_id)
        assert winner.value == pytest.approx(results[name].verdict.winner.mean)
        assert measured_winner(study, winner).role == measured


def test_the_model_that_was_asked_for_last_stands_for_a_study(home: Path, results: dict[str, FinalistsResult]):
    refit = run_finalists("one", top=1, seeds=2, refit=True, home=home)
    assert find_winner(study_of(home, "one")).run_id == refit.refit_run_id
    run_finalists("one", top=1, seeds=2, home=home)  # asks for neither
    assert find_winner(study_of(home, "one")).run_id == refit.refit_run_id
    run_finalists("one", top=1, seeds=2, ensemble=True, home=home)
    assert find_winner(study_of(home, "one")).role == "ensemble"
    run_finalists("two", top=1, seeds=2, refit=False, home=home)
    assert find_winner(study_of(home, "two")).role == "finalist"
    run_finalists("two", top=1, seeds=2, ensemble=True, home=home)
    assert find_winner(study_of(home, "two")).role == "ensemble"

    # A study of an earlier version has no record of what was asked for.
    study = study_of(home, "one")
    before = study.user_attrs[VERDICT]
    study.set_user_attr(VERDICT, {key: value for key, value in before.items() if key != "model"})
    assert find_winner(study).role == "refit"
    study.set_user_attr(VERDICT, before)


def test_an_ensemble_of_other_seeds_does_not_stand_for_a_study(home: Path, results: dict[str, FinalistsResult]):
    study = study_of(home, "two")
    before = study.user_attrs[VERDICT]
    study.set_user_attr(VERDICT, before | {"seeds": 1})
    assert recorded_ensemble(study) is None
    assert find_winner(study).role == "finalist"
    study.set_user_attr(VERDICT, before)


def test_the_whole_way_to_predictions(home: Path, results: dict[str, FinalistsResult], tmp_path: Path):
    refused = call("promote", "two", "--ensemble", "--home", home)
    assert refused.code == 3
    assert "evaluate" in refused.out
    tested = evaluate("two", home=home)
    promoted = call("promote", "two", "--ensemble", "--json", "--home", home).json()

    (version,) = versions(home, "two")
    made = results["two"].ensemble
    assert promoted["promoted"]
    assert promoted["test_accuracy"] == tested.evaluation.accuracy
    assert (version.run_id, version.tags["role"], version.tags["networks"]) == (made.run_id, "ensemble", "4")
    assert version.tags["model_sha256"] == client_of(home).get_run(made.run_id).data.tags["model_sha256"]
    assert "the mean of 4 networks" in version.description
    file = tmp_path / "rows.csv"
    pd.DataFrame({"a": [2.0, -2.0], "b": [0.0, 0.0], "c": [0.0, 0.0]}).to_csv(file, index=False)
    found = call("predict", "two", file, "--threshold", "auto", "--json", "--home", home).json()
    assert [row["label"] for row in found] == ["yes", "no"]
    assert call("doctor", "--home", home).code == 0


@pytest.mark.parametrize("name", ["one", "two"])
def test_refits_of_all_seeds_as_one_model(home: Path, results: dict[str, FinalistsResult], name: str):
    shown = call("finalists", name, "--top", 1, "--seeds", 2, "--refit", "--ensemble", "--home", home)
    assert "2 networks, each trained again with the validation rows" in " ".join(shown.out.split())
    study, client = study_of(home, name), client_of(home)
    winner = find_winner(study)
    assert (winner.role, winner.networks, winner.value) == (
        "refit-ensemble", 2, pytest.approx(results[name].verdict.winner.mean),
    )  # fmt: skip
    assert measured_winner(study, winner).role == "finalist"
    made = recorded_ensemble(study)
    assert (made.run_name, made.value) == (results[name].verdict.winner.refit_ensemble_run, None)
    assert client.get_run(winner.run_id).data.tags.get("folds") is None
    refits = client.search_runs([client.get_run(winner.run_id).info.experiment_id], "tags.role = 'refit'")
    assert {run.info.run_name for run in refits} == set(results[name].verdict.winner.refit_runs)
    rows = dataset_of(home, name).validation.x
    mean = np.mean([answers(home, run.info.run_id, rows) for run in refits], axis=0)
    np.testing.assert_allclose(answers(home, winner.run_id, rows), mean, atol=1e-6)

    again = run_finalists(name, top=1, seeds=2, home=home)
    assert (again.model, again.ensemble) == ("refit-ensemble", made)
    promote(name, model="of-refits", ensemble=True, home=home)
    assert find_winner(study_of(home, name)).role == "refit-ensemble"
    assert call("doctor", "--home", home).code == 0
    run_finalists(name, top=1, seeds=2, ensemble=True, home=home)


@pytest.mark.parametrize("has_failed", [False, True])
def test_refits_that_are_missing_are_to_be_trained(tmp_path: Path, has_failed: bool):
    """Ctrl-C ended ``finalists --refit --ensemble`` among its refits; or one of them failed."""
    home = tmp_path / "home"
    run_small(home, "s", trials=1, epochs=1)
    winner = run_finalists("s", top=1, seeds=2, refit=False, home=home).verdict.winner
    study = load_writable_study(read_settings(home), "s")
    study.set_user_attr(VERDICT, study.user_attrs[VERDICT] | {"model": "refit-ensemble"})
    if has_failed:
        study.set_user_attr(RECORD + winner.refit_run, {"message": "the worker died", "seed": 1})
    why = "one of its refits failed: promote" if has_failed else "its refits are not all trained: train them with"
    with pytest.raises(UnavailableError, match=why):
        promote("s", ensemble=True, home=home)
    assert study_of(home, "s").user_attrs[VERDICT]["model"] == "refit-ensemble"
    with pytest.raises(SpecError, match="--seeds: must be at least 2 for an ensemble, got 1"):
        run_finalists("s", seeds=1, home=home)  # it keeps the kind of model


def test_wrong_options(home: Path):
    with pytest.raises(SpecError, match="--seeds: must be at least 2 for an ensemble, got 1"):
        run_finalists("one", seeds=1, ensemble=True, home=home)


def test_a_study_without_finalists_has_no_ensemble(contenders: Path, model: str):
    with pytest.raises(NotFoundError, match="must have finalists for an ensemble, got none"):
        promote("weak", model=model, ensemble=True, home=contenders)
    assert not versions(contenders, model)
