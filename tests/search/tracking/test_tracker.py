"""MLflow gets every run completely, on each kind of database.

Renaming a table stands for a failing database: MLflow's store fails in the same way.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import DATABASES
from mlflow.exceptions import MlflowException
from tracked import MODEL, PARAMS, Place, end, epochs, finished, start, steps
from waiting import wait_for

from pipelines.objectives import OBJECTIVES
from search.home.settings import prepare_home, read_settings
from search.tracking.entries import MODEL_FILE, RunStart
from search.tracking.experiment_view import NOTE, VIEW, state_of, view_tags
from search.tracking.runs import Runs
from search.tracking.spool import entries, write_entry


@pytest.fixture(scope="module", params=DATABASES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    environ = {}
    if request.param == "postgresql":
        make: Callable[[str], str] = request.getfixturevalue("postgres")
        environ["MLFLOW_TRACKING_URI"] = make("tracking")
    settings = read_settings(tmp_path_factory.mktemp("home"), environ)
    prepare_home(settings)
    return Place(settings)


@pytest.fixture(scope="module")
def story(place: Place) -> dict[str, Any]:
    """Seven trials as a tracker gets them: 0 complete, 1 pruned, 2 failed, 3 interrupted, 4 long, 5 replacing a lost
    run, 6 delivered from the spool of an earlier process."""
    tracker = place.tracker("story")
    for number in (0, 1, 2, 3, 4):
        tracker.open(start("story", number))
    for number, count in ((0, 5), (1, 2), (2, 1), (3, 3), (4, 400)):
        for epoch in epochs(count):
            tracker.log_epoch(f"trial-{number:04d}", epoch)
    end(place, tracker, finished("story", 0, "COMPLETE", epochs(5)))
    end(place, tracker, finished("story", 1, "PRUNED", epochs(2)))
    end(place, tracker, finished("story", 2, "FAIL", epochs(1)), model=b"")
    tracker.kill("trial-0003")
    end(place, tracker, finished("story", 4, "COMPLETE", epochs(400)))
    lost = place.runs("story").open(start("story", 5))
    tracker.open(start("story", 5), replace=True)
    end(place, tracker, finished("story", 5, "COMPLETE", []))
    tracker.deliver(write_entry(place.settings.spool, finished("story", 6, "PRUNED", epochs(3)), {MODEL_FILE: MODEL}))
    undelivered = tracker.close()
    return {"opened": dict(tracker.opened()), "undelivered": undelivered, "lost": lost}


@pytest.mark.usefixtures("story")
class TestRuns:
    def test_each_trial_has_one_run_and_none_is_nested(self, place: Place, story: dict[str, Any]) -> None:
        runs = place.found("story")
        assert sorted(run.info.run_name for run in runs) == [f"trial-{number:04d}" for number in range(7)]
        assert not [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        assert story["opened"] == {run.info.run_name: run.info.run_id for run in runs}
        assert story["lost"] not in story["opened"].values()
        assert story["undelivered"] == 0

    @pytest.mark.parametrize(
        ("number", "status"),
        [(0, "FINISHED"), (1, "FINISHED"), (2, "FAILED"), (3, "KILLED"), (4, "FINISHED"), (6, "FINISHED")],
    )
    def test_each_run_has_the_status_of_its_trial(self, place: Place, number: int, status: str) -> None:
        assert place.run("story", number).info.status == status

    @pytest.mark.parametrize("number", [0, 3, 6])
    def test_params_tags_and_times(self, place: Place, number: int) -> None:
        run = place.run("story", number)
        assert run.data.params == {key: str(value) for key, value in PARAMS.items()}
        assert run.data.tags.items() >= start("story", number).tags.items()
        assert run.data.tags.get("trial.state") == {0: "COMPLETE", 3: None, 6: "PRUNED"}[number]
        assert run.info.start_time == 1_700_000_000_000 + number
        assert number == 3 or run.info.end_time == 1_700_000_009_000

    @pytest.mark.parametrize(("number", "count"), [(0, 5), (1, 2), (3, 3), (4, 400), (6, 3)])
    def test_every_epoch_is_a_point(self, place: Place, number: int, count: int) -> None:
        run = place.run("story", number)
        assert steps(place, run, "loss") == [(epoch.step, epoch.metrics["loss"]) for epoch in epochs(count)]
        assert steps(place, run, "val_accuracy")[-1] == (count, pytest.approx(1 - 1 / count))
        assert steps(place, run, "best_val_accuracy") == ([(0, 0.9)] if number != 3 else [])

    def test_the_dataset_is_an_input(self, place: Place) -> None:
        for number in (0, 3, 6):
            [dataset] = [given.dataset for given in place.run("story", number).inputs.dataset_inputs]
            assert (dataset.name, dataset.digest) == ("digits", "f00dbeef")
            assert json.loads(dataset.profile) == {"training_rows": 1149}

    def test_the_model_is_an_artifact(self, place: Place, tmp_path: Path) -> None:
        for number in (0, 1, 6):
            run = place.run("story", number)
            content = Path(place.client.download_artifacts(run.info.run_id, MODEL_FILE, str(tmp_path))).read_bytes()
            assert content == MODEL
        assert [file.path for file in place.client.list_artifacts(place.run("story", 2).info.run_id)] == []

    def test_the_experiment_is_described_and_opens_as_model_training(self, place: Place) -> None:
        experiment = place.client.get_experiment_by_name("story")
        assert experiment
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        assert experiment.tags["mlflow.note.content"] == "About story."
        assert experiment.artifact_location == place.settings.artifact_root

    def test_the_spool_is_empty_again(self, place: Place) -> None:
        assert list(entries(place.settings.spool, "story")) == []


def test_a_deleted_experiment_is_restored_with_its_runs(place: Place) -> None:
    first = place.runs("deleted")
    run_id = first.open(start("deleted", 0))
    place.client.delete_experiment(first.experiment_id)
    again = place.runs("deleted")
    assert again.experiment_id == first.experiment_id
    assert again.is_there(run_id)


def test_names_of_studies_with_quotes_and_letters_of_all_kinds(place: Place) -> None:
    study = "it's \"Müller's\" 数字 %_"
    tracker = place.tracker(study)
    tracker.open(start(study, 0))
    end(place, tracker, finished(study, 0, "COMPLETE", []))
    assert tracker.close() == 0
    assert [run.info.status for run in place.found(study)] == ["FINISHED"]


class TestAway:
    def test_nothing_is_lost_while_mlflow_fails_and_its_recovery_is_reported(
        self, place: Place, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines: list[str] = []
        tracker = place.tracker("away", lines)
        tracker.open(start("away", 0))
        wait_for(lambda: len(place.found("away")) == 1)
        with place.without("metrics"):
            tracker.log_epoch("trial-0000", epochs(1)[0])
            wait_for(lambda: bool(lines))
            assert lines[0].startswith("MLflow does not answer; training continues and results stay on disk: ")
            for epoch in epochs(4, first=2):
                tracker.log_epoch("trial-0000", epoch)
            end(place, tracker, finished("away", 0, "COMPLETE", epochs(5)))
            tracker.open(start("away", 1))
            assert len(list(entries(place.settings.spool, "away"))) == 1
        wait_for(lambda: len(lines) == 2)
        assert "answers again" in lines[1]
        end(place, tracker, finished("away", 1, "COMPLETE", []))
        assert tracker.close() == 0
        assert steps(place, place.run("away", 0), "loss") == [(e.step, e.metrics["loss"]) for e in epochs(5)]
        assert {run.info.status for run in place.found("away")} == {"FINISHED"}
        assert len(lines) == 2, "one line for the failure, one for the recovery"
        assert capsys.readouterr().err == "", "MLflow prints no traceback"

    def test_a_run_whose_opening_failed_halfway_is_not_opened_twice(self, place: Place) -> None:
        lines: list[str] = []
        tracker = place.tracker("half", lines)
        with place.refusing_datasets():
            tracker.open(start("half", 0))
            wait_for(lambda: bool(lines))
            assert len(place.found("half")) == 1, "the run exists, its input does not"
        end(place, tracker, finished("half", 0, "COMPLETE", epochs(2)))
        assert tracker.close() == 0
        [run] = place.found("half")
        assert run.info.status == "FINISHED"
        assert len(run.inputs.dataset_inputs) == 1

    def test_undelivered_results_are_counted_and_stay_on_disk(self, place: Place) -> None:
        tracker = place.tracker("late")
        with place.without("metrics"):
            for number in range(3):
                tracker.open(start("late", number))
                end(place, tracker, finished("late", number, "COMPLETE", epochs(2)))
            assert tracker.close(timeout_s=1) == 3
        assert len(list(entries(place.settings.spool, "late"))) == 3
        later = place.tracker("late")
        for folder in entries(place.settings.spool, "late"):
            later.deliver(folder)
        assert later.close() == 0
        assert sorted(run.info.status for run in place.found("late")) == ["FINISHED"] * 3
        for number in range(3):
            assert len(steps(place, place.run("late", number), "loss")) == 2

    def test_a_deleted_run_does_not_delay_the_others(self, place: Place) -> None:
        lines: list[str] = []
        tracker = place.tracker("gone", lines)
        for number in range(2):
            tracker.open(start("gone", number))
        wait_for(lambda: len(place.found("gone")) == 2)
        place.client.delete_run(place.run("gone", 0).info.run_id)
        for number in range(2):
            tracker.log_epoch(f"trial-{number:04d}", epochs(1)[0])
            end(place, tracker, finished("gone", number, "COMPLETE", epochs(1)))
        undelivered = tracker.close()
        assert place.run("gone", 1).info.status == "FINISHED"
        assert undelivered == len(list(entries(place.settings.spool, "gone"))) == 0
        assert place.run("gone", 0).info.status == "FINISHED", "the result is in a new run"
        assert len(steps(place, place.run("gone", 0), "loss")) == 1
        assert [line for line in lines if "trial-0000" in line]

    def test_a_discarded_run_restores_the_finished_run_that_it_replaced(self, place: Place) -> None:
        """Two processes train one trial, because the first was taken for dead, and the first finishes first."""
        first, second = place.tracker("twice"), place.tracker("twice")
        first.open(start("twice", 0))
        end(place, first, finished("twice", 0, "COMPLETE", epochs(2)))
        assert first.close() == 0
        ended = place.run("twice", 0).info.run_id
        second.open(start("twice", 0), replace=True)
        wait_for(lambda: [run.info.run_id for run in place.found("twice")] not in ([], [ended]))
        second.discard("trial-0000")
        assert second.close() == 0
        assert place.run("twice", 0).info.run_id == ended
        assert place.run("twice", 0).info.status == "FINISHED"

    def test_no_call_waits_for_mlflow(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every request hangs until the last call has returned, so a call that waits would never return."""
        tracker = place.tracker("busy")
        answered = threading.Event()

        def hang(runs: Runs, start: RunStart) -> str:
            answered.wait()
            raise MlflowException("no answer")

        monkeypatch.setattr(Runs, "open", hang)
        try:
            for number in range(50):
                tracker.open(start("busy", number))
                for epoch in epochs(20):
                    tracker.log_epoch(f"trial-{number:04d}", epoch)
                tracker.kill(f"trial-{number:04d}")
        finally:
            answered.set()
            tracker.close(timeout_s=0)


def test_a_failure_keeps_its_traceback_and_its_message(place: Place) -> None:
    tracker = place.tracker("failed")
    tracker.open(start("failed", 0))
    entry = replace(finished("failed", 0, "FAIL", []), tags={"trial.state": "FAIL", "message": "x" * 4000}, metrics={})
    tracker.end("trial-0000", write_entry(place.settings.spool, entry, {"traceback.txt": b"Traceback ..."}))
    assert tracker.close() == 0
    run = place.run("failed", 0)
    assert run.info.status == "FAILED"
    assert run.data.tags["message"].startswith("xxx")
    assert [file.path for file in place.client.list_artifacts(run.info.run_id)] == ["traceback.txt"]


def test_a_run_is_described_but_not_where_its_user_did(place: Place) -> None:
    runs = place.runs("described")
    ids = [runs.open(start("described", number)) for number in range(3)]
    place.client.set_tag(ids[2], NOTE, "Mine: too deep.")
    for rank in (1, 2):  # a study that goes on ranks its trials anew
        runs.describe({f"trial-{n:04d}": f"Trial {n} reached rank {rank + n}." for n in (0, 2)})
    notes = [place.client.get_run(run_id).data.tags.get(NOTE) for run_id in ids]
    assert notes == ["Trial 0 reached rank 2.", None, "Mine: too deep."]


def test_an_experiment_of_an_earlier_version_gets_the_views_of_this_one(place: Place) -> None:
    key = f"mlflow.sharedViewState.{VIEW}"
    first = place.runs("views")
    place.client.set_experiment_tag(first.experiment_id, key, json.dumps({"name": "Trials", "state": "{}"}))
    place.runs("views")
    assert state_of(place.client.get_experiment(first.experiment_id).tags[key]) == "{}"
    views = view_tags(OBJECTIVES["val_auc"], ("width", "depth"), ("width",))
    Runs(place.settings, "views", "", None, views)
    tags = place.client.get_experiment(first.experiment_id).tags
    state = json.loads(state_of(tags[key]))
    assert state["orderByKey"] == "metrics.`best_val_auc`"
    assert state["selectedColumns"][0] == "tags.`trial.state`"
    at = {name: json.loads(tags[name])["createdAt"] for name in views}
    for number in range(5):
        run_id = first.open(start("views", number))
        first.client.log_metric(run_id, "best_val_auc", 0.9 + number / 100)
    first.describe({})
    assert "yMin" in place.client.get_experiment(first.experiment_id).tags[key]
    Runs(place.settings, "views", "", None, view_tags(OBJECTIVES["val_auc"], ("width", "depth"), ("width",)))
    again = place.client.get_experiment(first.experiment_id).tags
    assert {name: json.loads(again[name])["createdAt"] for name in views} == at
    assert "yMin" in again[key], "the span of the best trials' chart outlives the next start"
