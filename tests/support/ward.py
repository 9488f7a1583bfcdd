"""A damaged home: the damage, and the findings that the doctor must report."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from command_line import Answer, call
from homes import StudyBuilder, model_file, ms
from mlflow import MlflowClient

from search.home.settings import Settings, study_slug
from search.registry.versions import COMPLETE, MADE_BY, PENDING, STATE
from search.tracking.spool import write_entry

LONG_AGO_MS = ms(datetime.now() - timedelta(hours=3))


def doctor(settings: Settings, *options: str) -> Answer:
    return call("doctor", *options, "--home", settings.home)


@dataclass
class Ward:
    """A home with a study, and the damage done to it: kinds and subjects of the findings to expect."""

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
        """Adds a trial that will be damaged; returns its run."""
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
    # One result in Optuna alone, two in the spool, of which Optuna knows one.
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
    duplicate_of = ward.builder.add(b"two runs have this")
    damaged = model_file(settings, ward.add("damaged model.h5", model=b"two runs have this"))
    damaged.write_bytes(b"")
    assert model_file(settings, duplicate_of).read_bytes() == b"two runs have this"
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
    """Adds a version with a run and a model file of its own."""
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
    ward.client.create_run(single, None, tags, "train-now")  # it may still be running
    ward.planted += [("experiment that was deleted", "gone"), ("run left in training", "train-digits: train-2026")]


def plant(ward: Ward) -> None:
    """Does every kind of damage."""
    for part in (plant_trials, plant_files, plant_versions, plant_elsewhere):
        part(ward)
