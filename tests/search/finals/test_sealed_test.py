"""The held-out test: read once, for the winner, recorded, and out of reach of anything that chooses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from finished import run_small
from mlflow import MlflowClient

from pipelines.config import DataConfig
from pipelines.data.sealed import open_test
from pipelines.errors import InputError, RefusedError, UnavailableError
from pipelines.evaluation.metrics import CLASSIFICATION_METRICS
from pipelines.evaluation.predictions import Predictions
from pipelines.training.history import sha256
from pipelines.training.model import load_h5
from search.devices.work import Shape
from search.finals.finals import run_finalists
from search.finals.opening import exclusive_study
from search.finals.readings import recorded_test
from search.finals.sealed_test import FOLDER, evaluate, read_predictions, read_right
from search.finals.winner import find_winner
from search.home.settings import read_settings
from search.optimization.studies import load_study, load_writable_study
from search.scheduling.progress import Observer
from search.storage.attributes import SEAL, VERDICT

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the study ``s``, two trials, not evaluated."""
    run_small(tmp_path / "home", "s", trials=2, width={"low": 8, "high": 32})
    return tmp_path / "home"


def client_of(home: Path) -> MlflowClient:
    return MlflowClient(read_settings(home).tracking_uri)


def readings(home: Path, study: str = "s") -> list[dict]:
    return load_study(read_settings(home), study).user_attrs.get(SEAL, [])


def test_finals_know_the_size_of_their_dataset(contenders: Path) -> None:
    with exclusive_study("strong", contenders, Observer()) as (context, dataset):
        assert len(dataset.training.y) != 1000
        assert context.shape == Shape.of(dataset, context.shape.precision_rule)


def test_its_figures_are_those_of_the_saved_model_on_the_test_rows(home: Path, tmp_path: Path):
    result = evaluate("s", home=home)

    client, run_id = client_of(home), result.winner.run_id
    content = Path(client.download_artifacts(run_id, "model.h5", str(tmp_path))).read_bytes()
    test = open_test(DataConfig("digits"))
    probabilities = load_h5(content, sha256(content)).predict(test.x, verbose=0)
    right = probabilities.argmax(axis=1) == test.y
    assert result.evaluation.accuracy == pytest.approx(right.mean())
    assert (result.evaluation.n_right, result.evaluation.n_wrong) == (right.sum(), (~right).sum())
    assert result.evaluation.loss == pytest.approx(
        -np.log(probabilities[np.arange(len(test.y)), test.y]).mean(), rel=1e-4
    )
    assert np.array_equal(read_right(client, run_id), right)
    assert result.untrained_accuracy < 0.3 < result.evaluation.accuracy
    assert result.gap == pytest.approx(result.winner.candidate.value - right.mean())

    metrics = client.get_run(run_id).data.metrics
    assert metrics["test_accuracy"] == pytest.approx(right.mean())
    for name in CLASSIFICATION_METRICS:
        assert metrics[f"test_{name}_low"] < metrics[f"test_{name}"] < metrics[f"test_{name}_high"]
    kept = Predictions.from_npz(read_predictions(client, run_id), "it")
    assert kept.predicted == pytest.approx(probabilities, abs=1e-6)
    assert np.array_equal(kept.truth, test.y)
    files = {item.path.removeprefix(f"{FOLDER}/") for item in client.list_artifacts(run_id, FOLDER)}
    assert files == {
        "confusion_matrix.png", "evaluation.json", "predictions_right.png", "predictions_wrong.png", "right.npz",
        "predictions.npz",
    }  # fmt: skip


def test_no_other_run_has_a_test_metric(contenders: Path):
    client = client_of(contenders)
    experiments = [client.get_experiment_by_name(name).experiment_id for name in ("weak", "strong")]
    tested = [
        run.info.run_id
        for run in client.search_runs(experiments)
        if any(name.startswith("test_") for name in run.data.metrics)
    ]
    assert len(tested) == 2
    assert set(tested) == {readings(contenders, name)[0]["run_id"] for name in ("weak", "strong")}


def test_a_second_call_shows_the_recorded_reading_and_again_is_counted(home: Path):
    first = call("evaluate", "s", "--json", "--home", home)
    assert first.code == 0
    assert first.json().keys() == {
        "test_accuracy", "interval", "test_loss", "right", "wrong", "untrained_accuracy", "majority",
        "test_rows", "seal_opened", "ordinal", "objective", "value", "intervals", "baseline", "baselines", "groups",
        "test_balanced_accuracy", "test_macro_f1", "test_auc", "test_average_precision", "run_name", "run_id",
    }  # fmt: skip
    assert first.json()["seal_opened"] == 1
    assert first.json()["run_id"] == readings(home)[0]["run_id"]
    assert first.json()["ordinal"] == 1
    assert "this is the 1st model tested on these rows" in first.err

    (home / "mlflow.db").rename(home / "away.db")  # nothing is opened but the study
    second = call("evaluate", "s", "--json", "--home", home)
    shown = call("evaluate", "s", "--home", home)
    (home / "away.db").rename(home / "mlflow.db")
    assert second.code == 0
    assert {key: second.json()[key] for key in first.json()} == first.json()
    assert second.json().keys() - first.json().keys() == {"at", "by"}
    assert "was read once" in second.err
    assert "next: mlp-search promote s" in second.err
    assert "--again" in second.err
    assert f"test accuracy {first.json()['test_accuracy']:.4f}, 95% interval " in " ".join(shown.out.split())
    assert len(readings(home)) == 1

    third = call("evaluate", "s", "--again", "--home", home)
    assert third.code == 0
    assert "2 times" in third.out
    assert len(readings(home)) == 2
    with pytest.raises(RefusedError, match="2 times"):
        evaluate("s", home=home)
    kept, study = readings(home), load_writable_study(read_settings(home), "s")
    study.set_user_attr(SEAL, [*kept, {"at": "2026-01-01", "by": "x", "run_name": "trial-0000"}])  # a cut-off --again
    assert call("evaluate", "s", "--json", "--home", home).json()["at"] == kept[1]["at"]
    with pytest.raises(RefusedError, match="--again reads it anyway"):
        evaluate("s", home=home)
    study.set_user_attr(SEAL, kept)
    assert "read 2 times" in call("finalists", "s", "--top", "1", "--seeds", "1", "--home", home).err


def test_a_reading_that_was_cut_off_is_repeated_and_counted_once(home: Path):
    study = load_study(read_settings(home), "s")
    study.set_user_attr(SEAL, [{"run_name": "trial-0000", "at": "2026-01-01", "by": "me"}])

    result = evaluate("s", home=home)

    assert result.seal_opened == 1
    assert len(readings(home)) == 1
    with pytest.raises(RefusedError):
        evaluate("s", home=home)


def test_a_changed_model_file_is_refused_and_the_test_is_not_read(home: Path):
    winner = find_winner(load_study(read_settings(home), "s"))
    (path,) = home.glob(f"artifacts/**/{winner.run_id}/artifacts/model.h5")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(InputError, match="the file was changed"):
        evaluate("s", home=home)
    assert readings(home) == []


def test_the_winner_is_its_refit_or_else_its_median_finalist(home: Path):
    first = run_finalists("s", top=1, seeds=3, home=home)
    study, verdict = load_study(read_settings(home), "s"), first.verdict
    winner = find_winner(study)
    assert (winner.role, winner.run_id) == ("refit", first.refit_run_id)

    run_finalists("s", top=1, seeds=3, refit=False, home=home)
    assert run_finalists("s", top=1, seeds=3, home=home).model == "finalist"  # keeps what was chosen
    winner = find_winner(study)
    assert winner.role == "finalist"
    value_of = dict(zip(verdict.winner.run_ids, verdict.winner.values, strict=True))
    assert value_of[winner.run_id] == sorted(value_of.values())[1]
    assert winner.value == pytest.approx(verdict.winner.mean)
    assert len(winner.seeds) == 3

    refit = run_finalists("s", top=1, seeds=3, refit=True, home=home)
    assert refit.refit_run_id == first.refit_run_id
    assert evaluate("s", home=home).winner.run_id == refit.refit_run_id


def test_a_refit_that_is_missing_is_made_before_the_test_is_read(home: Path):
    """Ctrl-C ended ``finalists`` in the refit: another model would be tested in its place, and the test be spent."""
    run_finalists("s", top=1, seeds=1, refit=False, home=home)
    study = load_writable_study(read_settings(home), "s")
    study.set_user_attr(VERDICT, study.user_attrs[VERDICT] | {"model": "refit"})
    remedy = "its refit must be made before the held-out rows are read, but is missing: mlp-search finalists s makes it"
    with pytest.raises(UnavailableError, match=remedy):
        evaluate("s", home=home)
    assert readings(home) == []

    made = run_finalists("s", home=home)
    assert evaluate("s", home=home).winner.run_id == made.refit_run_id is not None


def test_the_dataset_of_the_workers_has_no_test_rows():
    from pipelines.data.loading import load

    dataset, test = load(DataConfig("digits")), open_test(DataConfig("digits"))
    given = {row.tobytes() for split in (dataset.training, dataset.validation) for row in split.x}
    assert not given & {row.tobytes() for row in test.x}
    assert len(given) + len({row.tobytes() for row in test.x}) == 1797


def test_the_record_is_json(contenders: Path):
    assert json.dumps(readings(contenders, "strong"))


def test_another_winner_than_the_tested_one_is_named(home: Path):
    evaluate("s", home=home)
    assert "winner" not in (recorded_test("s", home=home) or {})
    study = load_study(read_settings(home), "s")
    (reading,) = readings(home)
    other = reading | {"run_name": "trial-0999", "model_sha256": "f00d"}
    study.set_user_attr(SEAL, [other])
    shown = call("evaluate", "s", "--home", home)
    assert f"the winner has changed to {reading['run_name']}, which has not been tested" in shown.err
    study.set_user_attr(SEAL, [reading, other])  # it was tested before the other one was
    found = recorded_test("s", home=home) or {}
    assert (found["run_name"], found["seal_opened"], "winner" in found) == (reading["run_name"], 2, False)


def test_the_test_of_a_study_without_finalists_says_so(untouched_contenders: Path):
    """The best trial by one seed looks better than it is, and the test rows are read only once."""
    notes: list[str] = []

    class Notes(Observer):
        def note(self, line: str) -> None:
            notes.append(line)

    evaluate("weak", again=True, home=untouched_contenders, observer=Notes())
    what = "no finalists were trained, so trial-0000, the best trial by one seed, is tested"
    assert notes == [f"study weak: {what}"]
