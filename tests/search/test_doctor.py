"""The doctor: what it finds in a home where much went wrong, what it mends, and what it leaves alone."""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from command_line import Answer, call
from homes import EPOCHS, StudyBuilder, model_file, ms, multiply, reload
from mlflow import MlflowClient
from mlflow.entities import ViewType
from optuna.trial import TrialState

from search.settings import Settings, prepare_home, read_settings
from search.spool import METRICS, study_slug, write_entry
from search.versions import COMPLETE, MADE_BY, PENDING, STATE

LONG_AGO_MS = ms(datetime.now() - timedelta(hours=3))


def doctor(settings: Settings, *options: str) -> Answer:
    return call("doctor", *options, "--home", settings.home)


@dataclass
class Ward:
    """A home with a study that was healthy once, and what was planted in it: kinds with what their lines name."""

    builder: StudyBuilder
    client: MlflowClient
    planted: list[tuple[str, str]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return self.builder.settings

    @property
    def experiment(self) -> str:
        return self.builder.runs.experiment_id

    def add(self, kind: str, **options: object) -> str:
        """A trial that shall get this disagreement; its run."""
        number = len(self.builder.study.get_trials(deepcopy=False))
        self.planted.append((kind, f"sick: trial-{number:04d}"))
        return self.builder.add(**options)  # type: ignore[arg-type]


def plant_trials(ward: Ward) -> None:
    builder, client, study = ward.builder, ward.client, ward.builder.study
    client.delete_run(ward.add("trial without a run"))
    client.set_terminated(ward.add("wrong status"), "FAILED")
    client.update_run(ward.add("run left in training"), status="RUNNING")
    client.set_tag(ward.add("wrong tags"), "trial.state", "PRUNED")
    client.log_metric(ward.add("wrong figures"), "best_val_accuracy", 0.1, step=1)
    ward.add("history with gaps", without=(2,))
    run_id = ward.add("two runs of one trial")
    client.create_run(ward.experiment, tags={"study": "sick"}, run_name=client.get_run(run_id).info.run_name)
    ward.add("trial that does not know its run")
    study.set_user_attr(f"run_id:{len(study.get_trials()) - 1}", "0" * 32)
    # Optuna alone has this one, and that one is in the spool; a third is there without Optuna's knowledge.
    number = builder.trial("COMPLETE", builder.entry(len(study.get_trials()), builder.outcome(0)))
    ward.planted.append(("trial without a run", f"sick: trial-{number:04d}"))
    for who, state in (("MLflow", "COMPLETE"), ("Optuna", "RUNNING")):
        outcome = builder.outcome(len(study.get_trials()))
        entry = builder.entry(len(study.get_trials()), outcome)
        number = builder.trial(state, entry if state == "COMPLETE" else None)
        write_entry(ward.settings.spool, entry, {"model.h5": outcome.model})
        ward.planted.append((f"result that {who} does not have", f"sick: trial-{number:04d}"))
    number = builder.trial("RUNNING")
    client.create_run(ward.experiment, LONG_AGO_MS, {"study": "sick"}, f"trial-{number:04d}")
    ward.planted += [(kind, f"sick: trial-{number:04d}") for kind in ("trial left in training", "run left in training")]
    number = builder.trial("WAITING")
    ahead = client.create_run(ward.experiment, LONG_AGO_MS, {"study": "sick"}, f"trial-{number:04d}")
    client.set_terminated(ahead.info.run_id, "FINISHED")
    ward.planted.append(("run that is ahead of its trial", f"sick: trial-{number:04d}"))
    orphan = client.create_run(ward.experiment, LONG_AGO_MS, {"study": "sick"}, "trial-0999")
    client.set_terminated(orphan.info.run_id, "FINISHED")
    ward.planted.append(("run without a trial", "sick: trial-0999"))


def plant_files(ward: Ward) -> None:
    settings = ward.settings
    model_file(settings, ward.add("missing model.h5")).unlink()
    damaged = model_file(settings, ward.add("damaged model.h5"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    twin = ward.builder.add(b"two runs have this")
    damaged = model_file(settings, ward.add("damaged model.h5", model=b"two runs have this"))
    damaged.write_bytes(b"")
    assert model_file(settings, twin).read_bytes() == b"two runs have this"
    part = settings.spool / study_slug("sick")
    for name, content in (("trial-0900.tmp", {"model.h5": "half"}), ("trial-0901", {"entry.json": '{"start": {"st'})):
        (part / name).mkdir(parents=True)
        for file, text in content.items():
            (part / name / file).write_text(text)
    (settings.spool / "notes.txt").write_text("whose is this?")
    (settings.home / "artifacts" / ("e" * 32) / "artifacts").mkdir(parents=True)
    ward.planted += [
        ("unfinished file in the spool", f"spool/{study_slug('sick')}/trial-0900.tmp"),
        ("unreadable in the spool", f"spool/{study_slug('sick')}/trial-0901"),
        ("unreadable in the spool", "spool/notes.txt"),
        ("empty folder of no run", f"artifacts/{'e' * 32}"),
    ]


def version(ward: Ward, name: str, **tags: str) -> str:
    """A version whose model file is that of a run of its own."""
    run_id = ward.builder.add()
    source = ward.settings.home / "artifacts" / run_id
    (source / "artifacts" / "record.json").write_text("{}")
    sha256 = hashlib.sha256(model_file(ward.settings, run_id).read_bytes()).hexdigest()
    tags = {STATE: COMPLETE, "model_sha256": sha256, **tags}
    return str(ward.client.create_model_version(name, source.as_uri(), run_id, tags).version)


def plant_versions(ward: Ward) -> None:
    client, planted = ward.client, ward.planted
    client.create_registered_model("digits", MADE_BY)
    one, two = version(ward, "digits"), version(ward, "digits")
    client.set_registered_model_alias("digits", "champion", two)
    client.set_registered_model_tag("digits", "history.champion", json.dumps([one]))
    planted.append(("history of an alias", "digits@champion"))
    half, cut_off = version(ward, "digits", **{STATE: PENDING}), version(ward, "digits", **{STATE: PENDING})
    client.set_registered_model_alias("digits", "late", cut_off)
    planted += [("registration half made", f"digits version {half}")]
    planted += [("promotion that was cut off", f"digits version {cut_off}")]
    with closing(sqlite3.connect(ward.settings.home / "mlflow.db")) as database:
        for alias in ("old", "lone"):
            database.execute(
                "INSERT INTO registered_model_aliases (name, alias, version) VALUES ('digits', ?, 77)", [alias]
            )
        database.commit()
    client.set_registered_model_tag("digits", "history.old", json.dumps([one, "77"]))
    planted += [("alias that points nowhere", "digits@old"), ("alias that points nowhere", "digits@lone")]
    client.create_registered_model("empty", MADE_BY)
    client.create_registered_model("somebody else's")
    planted.append(("registered model without a version", "empty"))
    tags = {"study": "sick", "run_id": "r", "model_sha256": "s"}
    logged = client.create_logged_model(ward.experiment, "trial-0001", tags=tags)
    planted.append(("logged model half made", f"sick: {logged.model_id}"))


def plant_elsewhere(ward: Ward) -> None:
    gone = StudyBuilder(ward.settings, "gone")
    gone.add()
    ward.client.delete_experiment(gone.runs.experiment_id)
    single = ward.client.create_experiment("train-digits", ward.settings.artifact_root)
    tags = {"training": "{}", "mlflow.source.name": "mlp-search"}
    ward.client.create_run(single, LONG_AGO_MS, tags, "train-20260101-000000-abcd")
    ward.client.create_run(single, None, tags, "train-now")  # somebody may well be at it
    ward.planted += [("experiment that was deleted", "gone"), ("run left in training", "train-digits: train-2026")]


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
        assert doctor(settings).code == 0, "it was healthy"
        for plant in (plant_trials, plant_files, plant_versions, plant_elsewhere):
            plant(ward)
        yield ward


@pytest.fixture(scope="module")
def seen(ward: Ward) -> Answer:
    """What the doctor says before anything is mended."""
    return doctor(ward.settings)


@pytest.fixture(scope="module")
def repaired(ward: Ward, seen: Answer) -> Answer:
    """What it says while it mends."""
    return doctor(ward.settings, "--repair")


def state(settings: Settings) -> set[str]:
    return {str(path) for path in settings.home.rglob("*") if path.is_file() and ".db" not in path.name}


class TestAHomeWhereMuchWentWrong:
    def test_each_disagreement_has_its_own_line(self, ward: Ward, seen: Answer) -> None:
        assert seen.code == 3
        lines = seen.out.splitlines()
        for kind, where in ward.planted:
            assert [line for line in lines if line.startswith(f"{kind}: {where}")], (kind, where, lines)
        assert len({kind for kind, _ in ward.planted}) >= 15
        assert lines[-1].startswith(f"{len(lines) - 1} found: ")
        assert len(lines) - 1 == len(ward.planted), "and there is nothing that was not planted"
        assert "--repair" in seen.err

    def test_looking_changes_nothing_and_json_is_a_list(self, ward: Ward, seen: Answer) -> None:
        before = state(ward.settings)
        answer = doctor(ward.settings, "--json")
        assert answer.code == 3
        assert [set(finding) for finding in answer.json()] == [{"kind", "subject", "repair"}] * len(ward.planted)
        assert state(ward.settings) == before

    def test_repair_mends_all_and_a_second_look_says_so(self, ward: Ward, repaired: Answer) -> None:
        assert repaired.code == 0, repaired.out + repaired.err
        for kind, where in ward.planted:
            assert f"{kind}: {where}" in repaired.out
        again = doctor(ward.settings)
        assert (again.code, again.out.count("\n")) == (0, 1), again.out
        assert "agree" in again.out
        assert doctor(ward.settings, "--repair", "--json").json() == []


class TestWhatARepairLeaves:
    """Seen through Optuna, MlflowClient and the files."""

    @pytest.fixture(autouse=True)
    def _after(self, repaired: Answer) -> None:
        """Everything here is seen after the repair."""

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

    def test_a_trial_whose_result_lay_in_the_spool_is_told_and_whole(self, ward: Ward) -> None:
        (name,) = [w.removeprefix("sick: ") for k, w in ward.planted if k == "result that Optuna does not have"]
        study = reload(ward.builder)
        assert study.trials[int(name[-4:])].state == TrialState.COMPLETE
        (run,) = ward.builder.runs.find(name)
        assert run.info.run_id == study.user_attrs[f"run_id:{int(name[-4:])}"]
        for metric in METRICS:
            assert [p.step for p in ward.client.get_metric_history(run.info.run_id, metric)] == [*range(1, EPOCHS + 1)]
        assert model_file(ward.settings, run.info.run_id).is_file()

    def test_a_gap_is_filled_where_optuna_knows_it_and_noted_where_not(self, ward: Ward) -> None:
        (name,) = [w.removeprefix("sick: ") for k, w in ward.planted if k == "history with gaps"]
        (run,) = ward.builder.runs.find(name)
        points = ward.client.get_metric_history(run.info.run_id, "val_accuracy")
        trial = reload(ward.builder).trials[int(name[-4:])]
        assert {point.step: point.value for point in points} == trial.intermediate_values
        assert "loss of epoch 2" in run.data.tags["lost.history"]

    def test_a_model_comes_back_from_a_copy_and_is_noted_as_lost_where_there_is_none(self, ward: Ward) -> None:
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

    def test_aliases_point_at_what_is_there(self, ward: Ward) -> None:
        model = ward.client.get_registered_model("digits")
        assert model.aliases.keys() == {"champion", "late", "old"}
        for alias in model.aliases:
            assert ward.client.get_model_version_by_alias("digits", alias).tags[STATE] == COMPLETE
        assert json.loads(model.tags["history.champion"]) == ["1", "2"]

    def test_a_training_that_may_be_going_on_is_left_alone(self, ward: Ward) -> None:
        experiment = ward.client.get_experiment_by_name("train-digits")
        runs = ward.client.search_runs([experiment.experiment_id])
        assert {run.info.run_name: run.info.status for run in runs}["train-now"] == "RUNNING"


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty home with embedded databases."""
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    settings = read_settings(tmp_path / "home")
    prepare_home(settings)
    return settings


class TestAStudyThatIsBeingSearched:
    def test_is_left_alone_while_its_lock_is_held(self, own_home: Settings) -> None:
        settings = own_home
        StudyBuilder(settings, "busy").trial("RUNNING")
        with (settings.locks / f"{study_slug('busy')}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answer = doctor(settings, "--repair")
            assert (answer.code, answer.err) == (0, "study busy: left alone, it is being searched\n")
        assert doctor(settings).code == 3

    def test_is_left_alone_while_it_beats(
        self, tmp_path: Path, postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPTUNA_STORAGE", postgres("beating"))
        settings = read_settings(tmp_path / "home")
        prepare_home(settings)
        builder = StudyBuilder(settings, "busy")
        trial = builder.study.ask()
        builder.study._storage.record_heartbeat(trial._trial_id)
        answer = doctor(settings)
        assert (answer.code, answer.err) == (0, "study busy: left alone, it is being searched\n")
        with sa.create_engine(settings.optuna_storage).begin() as connection:
            connection.execute(sa.text("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '1 hour'"))
        assert [finding["kind"] for finding in doctor(settings, "--json").json()] == ["trial left in training"]


def test_a_home_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    answer = doctor(read_settings(tmp_path / "none", {}))
    assert answer.code == 1
    assert "must be there" in answer.err
    assert not (tmp_path / "none").exists()


def test_a_healthy_home_of_500_trials_is_looked_through_in_10_s(own_home: Settings) -> None:
    settings = own_home
    builder = StudyBuilder(settings, "large")
    builder.add()
    multiply(builder, 499)
    before = time.process_time()  # other programs' share of the machine is not its fault
    answer = doctor(settings)
    took_s = time.process_time() - before
    assert answer.code == 0, answer.out
    assert took_s < 10
    model_file(settings, builder.study.trials[300].user_attrs["run_id"]).unlink()
    assert doctor(settings).code == 3, "it did look"
