"""Migration to PostgreSQL: three studies, 120 runs, two versions, compared through Optuna and MLflow."""

from __future__ import annotations

import fcntl
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from command_line import Answer, call
from homes import StudyBuilder, model_file, multiply
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric
from reports import METRICS

from search.home.settings import Settings, prepare_home, read_settings, study_slug

STUDIES = ("one", "two", 'it\'s "three"')


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three studies of forty runs each, and a model with two versions."""
    settings = read_settings(tmp_path_factory.mktemp("move") / "home", {})
    prepare_home(settings)
    for name in STUDIES:
        builder = StudyBuilder(settings, name)
        run_id = builder.add()
        multiply(builder, 39)
        builder.study.set_user_attr("seal", [{"at": "noon"}])
        client = builder.runs.client
        client.log_batch(
            run_id, [Metric("odd", value, 5, step) for step, value in enumerate((float("nan"), 1e300, -0.1))]
        )
    client.create_registered_model("digits", {"history.champion": '["1", "2"]'})
    for number in (1, 2):
        client.create_model_version("digits", f"file:///m{number}", run_id, {"gate": "passed"}, description="card")
    client.set_registered_model_alias("digits", "champion", "2")
    return settings


@dataclass
class Target:
    """Two empty databases, and the command that copies a home there."""

    optuna: str
    mlflow: str

    def migrate(self, home: Settings, *options: str) -> Answer:
        return call("migrate", "--home", home.home, *options)

    def rows(self) -> int:
        """Studies and runs there."""
        found = 0
        for address, table in ((self.optuna, "studies"), (self.mlflow, "runs")):
            engine = sa.create_engine(address)
            with engine.connect() as connection:
                if sa.inspect(connection).has_table(table):
                    found += connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) or 0
            engine.dispose()
        return found


@pytest.fixture(scope="class")
def target(postgres: Callable[[str], str]) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTUNA_STORAGE", postgres("move_optuna"))
        patch.setenv("MLFLOW_TRACKING_URI", postgres("move_mlflow"))
        settings = read_settings(Path("anywhere"))
        yield Target(settings.optuna_storage, settings.tracking_uri)


def optuna_has(address: str) -> dict[str, Any]:
    """Everything that Optuna says of its studies."""
    found = {}
    for name in optuna.get_all_study_names(address):
        study = optuna.load_study(study_name=name, storage=address)
        found[name] = (
            study.user_attrs,
            study.directions,
            [(t.number, t.__dict__ | {"_trial_id": 0}) for t in study.trials],
        )
    return found


def mlflow_has(address: str) -> dict[str, Any]:
    """Everything that MLflow says of its runs and models, files included."""
    client, found = MlflowClient(address), {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            run_id = run.info.run_id
            points = {
                name: [(p.step, repr(p.value), p.timestamp) for p in client.get_metric_history(run_id, name)]
                for name in (*METRICS, "best_val_accuracy", "odd")
            }
            content = Path(download_artifacts(f"{run.info.artifact_uri}/model.h5", tracking_uri=address)).read_bytes()
            figures = run.data.params, run.data.tags, points, hashlib.sha256(content).hexdigest()
            found[run_id] = (
                dict(experiment),
                dict(run.info),
                figures,
                [i.to_dictionary() for i in run.inputs.dataset_inputs],
            )
    models = [(dict(model), model.aliases, model.tags) for model in client.search_registered_models()]
    versions = [(dict(version), version.tags) for version in client.search_model_versions("name='digits'")]
    return found | {
        "models": models,
        "versions": versions,
        "champion": client.get_model_version_by_alias("digits", "champion"),
    }


def files(home: Settings) -> dict[str, str]:
    """The home's databases as they are read, and its other files' hashes."""
    found = {}
    for name in ("optuna.db", "mlflow.db"):
        with closing(sqlite3.connect(home.home / name)) as database:
            found[name] = hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()
    return found


class TestRefusals:
    def test_a_study_that_is_being_searched(self, home: Settings, target: Target) -> None:
        with (home.locks / f"{study_slug('two')}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answer = target.migrate(home)
        assert (answer.code, target.rows()) == (1, 0)
        assert "being searched" in answer.err

    @pytest.mark.parametrize("name", ["train-digits", "model-digits"])
    def test_a_training_or_a_promotion(self, home: Settings, target: Target, name: str) -> None:
        with (home.locks / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answer = target.migrate(home)
        assert (answer.code, target.rows()) == (1, 0)
        assert "a training or a promotion runs in it" in answer.err

    @pytest.mark.parametrize(
        ("variable", "value", "said"),
        [
            ("MLFLOW_TRACKING_URI", "http://u:secret@server:5000", "name the database behind it"),
            ("MLFLOW_TRACKING_URI", "", "must be the PostgreSQL database to move to"),
            ("OPTUNA_STORAGE", "sqlite:///other.db", "must be the PostgreSQL database to move to"),
            ("MLFLOW_REGISTRY_URI", "sqlite:///other.db", "must be unset"),
        ],
    )
    def test_wrong_addresses(
        self, home: Settings, target: Target, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        answer = target.migrate(home)
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert answer.err.startswith(f"error: {variable}: ")
        assert said in answer.err
        assert "secret" not in answer.err

    def test_one_database_for_both(self, home: Settings, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPTUNA_STORAGE", target.mlflow)
        assert "must be two databases" in target.migrate(home).err

    def test_a_failure_in_the_middle_leaves_both_empty(self, home: Settings, target: Target) -> None:
        """PostgreSQL refuses a row in one of the last tables of the second database."""
        path = home.home / "mlflow.db"
        row = "INSERT INTO registered_model_tags (name, key, value) VALUES ('digits', ?, ?)"
        with closing(sqlite3.connect(path)) as database:
            database.execute(row, ["k" * 5000, "v"])
            database.commit()
        answer = target.migrate(home)
        with closing(sqlite3.connect(path)) as database:
            database.execute("DELETE FROM registered_model_tags WHERE length(key) = 5000")
            database.commit()
        assert (answer.code, target.rows()) == (1, 0), answer.err
        assert re.match(r"error: migrate: .*empty", answer.err)


class TestMigration:
    @pytest.fixture(scope="class")
    def moved(self, home: Settings, target: Target) -> tuple[Answer, dict[str, str]]:
        before = files(home)
        return target.migrate(home, "--json"), before

    def test_everything_is_copied_and_the_source_unchanged(
        self, home: Settings, target: Target, moved: tuple[Answer, dict[str, str]]
    ) -> None:
        answer, before = moved
        assert answer.code == 0, answer.err
        counts = answer.json()
        assert (counts["optuna"]["studies"], counts["optuna"]["trials"], counts["mlflow"]["runs"]) == (3, 120, 120)
        assert (counts["mlflow"]["model_versions"], counts["mlflow"]["registered_model_aliases"]) == (2, 1)
        assert optuna_has(target.optuna) == optuna_has(home.optuna_storage)
        assert mlflow_has(target.mlflow) == mlflow_has(home.tracking_uri)
        assert files(home) == before

    def test_new_rows_are_numbered_after_the_copied_ones(
        self, home: Settings, target: Target, moved: tuple[Answer, dict[str, str]]
    ) -> None:
        client = MlflowClient(target.mlflow)
        ids = {experiment.experiment_id for experiment in client.search_experiments()}
        assert client.create_experiment("new") not in ids
        trials = optuna.load_study(study_name="one", storage=target.optuna)
        assert trials.ask().number == 40

    def test_a_target_that_is_not_empty_is_refused(
        self, home: Settings, target: Target, moved: tuple[Answer, dict[str, str]]
    ) -> None:
        before = target.rows()
        answer = target.migrate(home)
        assert (answer.code, target.rows()) == (1, before)
        assert "must be empty" in answer.err


def test_a_home_with_a_trial_left_in_training(tmp_path: Path, target: Target) -> None:
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    StudyBuilder(settings, "ghost").trial("RUNNING")
    answer = target.migrate(settings)
    assert answer.code == 1
    assert "doctor --repair first" in answer.err
    assert model_file(settings, "none").exists() is False


def test_an_empty_folder(tmp_path: Path, target: Target) -> None:
    answer = call("migrate", "--home", tmp_path)
    assert answer.code == 1
    assert "must have databases of its own" in answer.err


def test_the_home_may_be_named_by_the_environment(
    tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLP_SEARCH_HOME", str(tmp_path / "team"))
    monkeypatch.chdir(tmp_path)
    assert f"home {tmp_path / 'team'}: must have databases" in call("migrate").err
