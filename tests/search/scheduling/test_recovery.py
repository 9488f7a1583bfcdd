"""Recovery of the trials, spooled results and runs of a dead process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scripted_pool import ScriptedPool
from world import Left, World, script, states

from search.home.settings import study_slug
from search.scheduling.recovery import Recovery
from search.tracking.entries import MODEL_FILE
from search.tracking.runs import Runs
from search.tracking.spool import entries, write_entry
from search.tracking.tracker import Tracker


class TestLeftBehind:
    @pytest.fixture
    def left(self, world: World) -> Left:
        return Left(world, world.spec(trials=2))

    def check(self, left: Left, trained: list[int], value: float | None = None) -> Any:
        """Resumes the study; returns the run of trial 0."""
        pool = ScriptedPool(1)
        left.world.search(left.spec, pool)
        assert [task.number for _, task in pool.tasks] == trained
        rows = left.world.rows(left.spec)
        assert states(rows) == ["COMPLETE", "COMPLETE"]
        assert value is None or rows[0].value == value
        run = left.world.runs(left.spec)["trial-0000"]
        assert rows[0].run_id == run.info.run_id, "each knows the other"
        assert run.info.status == "FINISHED"
        assert len(left.world.client.get_metric_history(run.info.run_id, "val_accuracy")) == 4
        assert [f.path for f in left.world.client.list_artifacts(run.info.run_id)] == [MODEL_FILE]
        assert list(entries(left.world.settings.spool, left.spec.name)) == []
        return run

    def test_a_spooled_result_is_told_to_optuna(self, left: Left) -> None:
        left.opened()
        left.reported()
        left.spooled()
        self.check(left, trained=[1], value=0.77)

    def test_a_result_without_a_finished_run_is_delivered(self, left: Left) -> None:
        left.opened()
        left.reported()
        left.told(left.spooled())
        self.check(left, trained=[1], value=0.77)

    def test_a_result_whose_run_was_never_opened_is_delivered(self, left: Left) -> None:
        left.told(left.spooled())
        self.check(left, trained=[1], value=0.77)

    def test_a_result_that_mlflow_almost_has_is_delivered_once(self, left: Left) -> None:
        run_id = left.opened()
        entry = left.spooled()
        left.told(entry)
        runs = Runs(left.world.settings, left.spec.name, "", None)
        [folder] = entries(left.world.settings.spool, left.spec.name)
        runs.log(run_id, {}, left.epochs, entry)
        runs.end(run_id, entry, folder)
        self.check(left, trained=[1], value=0.77)

    def test_the_id_of_a_replaced_run_is_looked_up(self, left: Left) -> None:
        """MLflow has the result as a new run, and the process died before it recorded the id."""
        replaced = left.opened()
        left.told(left.spooled())
        runs = Runs(left.world.settings, left.spec.name, "", None)
        tracker = Tracker(lambda: runs)
        Recovery(left.study, left.world.settings, tracker).deliver_left()
        assert tracker.close() == 0
        run = self.check(left, trained=[1], value=0.77)
        assert run.info.run_id != replaced

    def test_a_trial_in_training_is_requeued(self, left: Left) -> None:
        lost = left.opened()
        left.reported()
        run = self.check(left, trained=[0, 1])
        assert run.info.run_id != lost
        width = left.params["width"]
        assert left.world.rows(left.spec)[0].value == pytest.approx(width / 100 * (1 - 0.5**4))

    def test_a_trial_that_was_only_sampled_is_trained(self, left: Left) -> None:
        self.check(left, trained=[0, 1])

    def test_the_pruner_is_asked_again_when_its_answer_was_lost(self, world: World) -> None:
        spec = world.spec(trials=3, pruner="asha")
        plays = script({0: [[0.9] * 4], 1: [[0.2] * 4], 2: [[0.95] * 4]})
        world.search(replace(spec, trials=1), ScriptedPool(1, plays))
        left = Left(world, replace(spec, trials=1))
        left.trial.report(0.2, 1)
        assert left.trial.should_prune(), "here the process dies"
        world.search(spec, ScriptedPool(1, plays))
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE", "PRUNED", "COMPLETE"]
        assert rows[1].epochs_trained == 1

    def test_a_result_of_a_trial_that_optuna_lost_is_replaced(self, left: Left) -> None:
        """A power cut may cost a database its last commits, but the spool none of its files."""
        without = replace(left.spec, name="without")
        pool = ScriptedPool(1)
        entry = replace(left.spooled(), start=replace(left.start, study="without", run_name="trial-0001"), number=1)
        write_entry(left.world.settings.spool, entry, {MODEL_FILE: b"model"})
        left.world.search(without, pool)
        assert [task.number for _, task in pool.tasks] == [0, 1]
        assert states(left.world.rows(without)) == ["COMPLETE", "COMPLETE"]
        assert {run.info.status for run in left.world.runs(without).values()} == {"FINISHED"}
        assert list(entries(left.world.settings.spool, "without")) == []

    def test_a_half_written_entry_is_ignored(self, left: Left) -> None:
        folder = left.world.settings.spool / study_slug(left.spec.name) / "trial-0000.tmp"
        folder.mkdir(parents=True)
        (folder / "entry.json").write_text('{"half')
        self.check(left, trained=[0, 1])
