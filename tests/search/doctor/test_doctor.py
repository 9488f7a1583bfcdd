"""The doctor on a damaged home: its findings, its repairs, and what it skips."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Answer, call
from homes import EPOCHS, StudyBuilder, model_file, multiply, reload
from mlflow import MlflowClient
from mlflow.entities import ViewType
from optuna.trial import TrialState
from reports import METRICS
from ward import Ward, doctor, plant

from search.doctor.content import find_copies
from search.home.settings import Settings, prepare_home, read_settings, study_slug
from search.registry.versions import COMPLETE, STATE


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ward(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """Over each kind of database for Optuna."""
    home = tmp_path_factory.mktemp("doctor") / "home"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            make: Callable[[str], str] = request.getfixturevalue("postgres")
            patch.setenv("OPTUNA_STORAGE", make("doctor"))
        settings = read_settings(home)
        prepare_home(settings)
        builder = StudyBuilder(settings, "sick")
        for _ in range(3):
            builder.add()
        ward = Ward(builder, MlflowClient(settings.tracking_uri))
        assert doctor(settings).code == 0, "the home starts without findings"
        plant(ward)
        yield ward


@pytest.fixture(scope="module")
def seen(ward: Ward) -> Answer:
    """The doctor's answer before the repair."""
    return doctor(ward.settings)


@pytest.fixture(scope="module")
def repaired(ward: Ward, seen: Answer) -> Answer:
    """The answer of the repair."""
    return doctor(ward.settings, "--repair")


def state(settings: Settings) -> set[str]:
    return {str(path) for path in settings.home.rglob("*") if path.is_file() and ".db" not in path.name}


class TestADamagedHome:
    def test_each_finding_has_its_own_line(self, ward: Ward, seen: Answer) -> None:
        assert seen.code == 3
        lines = seen.out.splitlines()
        for kind, where in ward.planted:
            assert [line for line in lines if line.startswith(f"{kind}: {where}")], (kind, where, lines)
        assert len({kind for kind, _ in ward.planted}) >= 15
        assert lines[-1].startswith(f"{len(lines) - 1} found: ")
        assert len(lines) - 1 == len(ward.planted), "there is no other finding"
        assert "--repair" in seen.err

    def test_a_check_changes_nothing_and_json_is_a_list(self, ward: Ward, seen: Answer) -> None:
        before = state(ward.settings)
        answer = doctor(ward.settings, "--json")
        assert answer.code == 3
        assert [set(finding) for finding in answer.json()] == [{"kind", "subject", "repair"}] * len(ward.planted)
        assert state(ward.settings) == before

    def test_a_repair_leaves_no_finding(self, ward: Ward, repaired: Answer) -> None:
        assert repaired.code == 0, repaired.out + repaired.err
        for kind, where in ward.planted:
            assert f"{kind}: {where}" in repaired.out
        again = doctor(ward.settings)
        assert (again.code, again.out.count("\n")) == (0, 1), again.out
        assert again.out == "OK: Optuna, MLflow and the spool agree\n"
        assert doctor(ward.settings, "--repair", "--json").json() == []


class TestWhatARepairLeaves:
    """Read through Optuna, MlflowClient and the files."""

    @pytest.fixture(autouse=True)
    def _after(self, repaired: Answer) -> None:
        """All tests of the class run after the repair."""

    def test_every_finished_trial_has_its_run_and_every_run_an_end(self, ward: Ward) -> None:
        runs = ward.client.search_runs([ward.experiment], max_results=1000)
        by_id = {run.info.run_id: run for run in runs}
        study = reload(ward.builder)
        for trial in study.trials:
            if trial.state == TrialState.COMPLETE:
                run_id = study.user_attrs.get(f"run_id:{trial.number}") or trial.user_attrs["run_id"]
                run = by_id[run_id]
                assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", "COMPLETE")
                assert run.data.tags["trial"] == str(trial.number)
        assert TrialState.RUNNING not in {trial.state for trial in study.trials}
        assert not [run for run in runs if run.info.status == "RUNNING"]
        assert len({run.info.run_name for run in runs}) == len(runs)

    def test_a_trial_with_a_spooled_result_is_reported_and_complete(self, ward: Ward) -> None:
        (name,) = [w.removeprefix("sick: ") for k, w in ward.planted if k == "result that Optuna does not have"]
        study = reload(ward.builder)
        assert study.trials[int(name[-4:])].state == TrialState.COMPLETE
        (run,) = ward.builder.runs.find(name)
        assert run.info.run_id == study.user_attrs[f"run_id:{int(name[-4:])}"]
        for metric in METRICS:
            assert [p.step for p in ward.client.get_metric_history(run.info.run_id, metric)] == [*range(1, EPOCHS + 1)]
        assert model_file(ward.settings, run.info.run_id).is_file()

    def test_a_gap_is_filled_from_optuna_or_recorded_as_lost(self, ward: Ward) -> None:
        (name,) = [w.removeprefix("sick: ") for k, w in ward.planted if k == "history with gaps"]
        (run,) = ward.builder.runs.find(name)
        points = ward.client.get_metric_history(run.info.run_id, "val_accuracy")
        trial = reload(ward.builder).trials[int(name[-4:])]
        assert {point.step: point.value for point in points} == trial.intermediate_values
        assert "loss of epoch 2" in run.data.tags["lost.history"]

    def test_a_model_is_restored_from_a_copy_or_recorded_as_lost(self, ward: Ward) -> None:
        runs = ward.client.search_runs([ward.experiment], max_results=1000)
        lost = [run for run in runs if "lost.model.h5" in run.data.tags]
        assert len(lost) == 2, "one missing, one damaged"
        for run in runs:
            sha256 = run.data.tags.get("model_sha256")
            if sha256 and run not in lost:
                content = model_file(ward.settings, run.info.run_id).read_bytes()
                assert hashlib.sha256(content).hexdigest() == sha256

    def test_nothing_of_unknown_worth_was_deleted(self, ward: Ward) -> None:
        kept = {path.name for path in (ward.settings.home / "set-aside").iterdir()}
        assert kept == {"spool-notes.txt", f"{study_slug('sick')}-trial-0901"}
        assert ward.client.get_registered_model("somebody else's")
        (run,) = ward.builder.runs.find("trial-0999")
        assert run.data.tags["trial.state"] == "ORPHAN"
        trash = ward.client.search_runs([ward.experiment], run_view_type=ViewType.DELETED_ONLY)
        assert len(trash) == 1, "of two runs of one trial"

    def test_aliases_point_at_existing_versions(self, ward: Ward) -> None:
        model = ward.client.get_registered_model("digits")
        assert model.aliases.keys() == {"champion", "late", "old"}
        for alias in model.aliases:
            assert ward.client.get_model_version_by_alias("digits", alias).tags[STATE] == COMPLETE
        assert json.loads(model.tags["history.champion"]) == ["1", "2"]

    def test_a_training_that_may_be_running_is_skipped(self, ward: Ward) -> None:
        experiment = ward.client.get_experiment_by_name("train-digits")
        runs = ward.client.search_runs([experiment.experiment_id])
        assert {run.info.run_name: run.info.status for run in runs}["train-now"] == "RUNNING"


def test_a_damaged_database_is_one_line(own_home: Settings) -> None:
    StudyBuilder(own_home, "damaged").trial("RUNNING")
    file = own_home.home / "optuna.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [page] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trials'").fetchone()
        [size] = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with file.open("r+b") as damaged:
        damaged.seek((page - 1) * size)
        damaged.write(b"\xff" * size)
    for words in (["trials", "damaged"], ["doctor"]):
        answer = call(*words, "--home", own_home.home)
        assert (answer.code, answer.out) == (1, "")
        assert re.fullmatch(r"error: a database failed: .*malformed.*\n", answer.err)


def test_a_file_that_cannot_be_read_now_is_not_lost(own_home: Settings) -> None:
    """A link to itself stands for a store that has the file and gives an error."""
    builder = StudyBuilder(own_home, "kept")
    builder.add()
    [model] = own_home.home.rglob("model.h5")
    model.unlink()
    model.symlink_to(model)
    answer = doctor(own_home, "--repair")
    assert "unreadable model.h5" in answer.out
    client = MlflowClient(own_home.tracking_uri)
    [run] = client.search_runs([client.get_experiment_by_name("kept").experiment_id])
    assert not [tag for tag in run.data.tags if tag.startswith("lost.")]


def test_a_held_out_test_whose_files_are_gone_is_found_and_recorded_as_lost(own_home: Settings, tmp_path: Path) -> None:
    builder, client = StudyBuilder(own_home, "read"), MlflowClient(own_home.tracking_uri)
    whole, gone = builder.add(), builder.add()
    (tmp_path / "evaluation.json").write_text("{}")
    client.log_artifact(whole, str(tmp_path / "evaluation.json"), "sealed_test")
    for run_id in (whole, gone):
        client.set_tag(run_id, "seal.opened", "1")

    found = doctor(own_home, "--json").json()
    assert [finding["kind"] for finding in found] == ["missing sealed_test"]
    assert "mlp-search evaluate read --again" in found[0]["repair"]

    assert doctor(own_home, "--repair").code == 0
    assert client.get_run(gone).data.tags["lost.sealed_test"] == "missing"
    assert doctor(own_home).code == 0


def test_a_missing_home_is_an_error(tmp_path: Path) -> None:
    answer = doctor(read_settings(tmp_path / "none", {}))
    assert answer.code == 1
    assert "must exist" in answer.err
    assert not (tmp_path / "none").exists()


def test_one_missing_model_among_200_trials_is_found(own_home: Settings) -> None:
    settings = own_home
    builder = StudyBuilder(settings, "large")
    builder.add()
    multiply(builder, 199)
    model_file(settings, builder.study.trials[150].user_attrs["run_id"]).unlink()
    assert len(doctor(settings, "--json").json()) == 1


def test_a_trial_that_diverged_at_once_lacks_no_model(own_home: Settings) -> None:
    """Earlier versions recorded the hash of no bytes for it."""
    builder = StudyBuilder(own_home, "diverged")
    outcome = replace(builder.outcome(0), model=b"", model_sha256=hashlib.sha256().hexdigest())
    entry = builder.entry(0, outcome)
    builder.trial("COMPLETE", entry, builder.track(entry, outcome))
    answer = doctor(own_home)
    assert (answer.code, answer.err) == (0, "")


def test_copies_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    """A running search moves and deletes its own files."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "gone.h5").symlink_to(tmp_path / "nowhere")
    (tmp_path / "artifacts" / "model.h5").write_bytes(b"model")
    assert list(find_copies(tmp_path)().values()) == [tmp_path / "artifacts" / "model.h5"]
