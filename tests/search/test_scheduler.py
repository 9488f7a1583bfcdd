"""The loop between Optuna, the pool and MLflow. Both databases are real; training is a script."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import mlflow
import optuna
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from scripted_pool import DIVERGED, FAILED, HANGS, LOST, Script, ScriptedPool, by_width

from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import UnavailableError
from search.progress import Progress
from search.runs import DatasetInput, Runs
from search.sampling import TrialSampler, draw
from search.scheduler import Scheduler
from search.settings import Settings, prepare_home, read_settings
from search.space import Choice, Range, SearchSpace
from search.spec import StudySpec, WorkerSettings
from search.spool import CURVES_FILE, MODEL_FILE, Entry, Epoch, RunStart, entries, study_slug, write_entry
from search.storage import ELAPSED, RESULT, TrialRow, leaderboard, load_study, open_study, set_run_id
from search.takeover import Takeover, note_runs
from search.tasks import Task
from search.tracking import Tracker

SPACE = SearchSpace({"width": Range(8, 64), "depth": Choice((1, 2)), "epochs": Choice((4,))})
_names = itertools.count()


@dataclass
class Watcher:
    """Keeps what it is told, and may act on it."""

    lines: list[str] = field(default_factory=list)
    act: Any = None
    wall_s: float = 0.0

    def update(self, progress: Progress) -> None:
        if self.act:
            self.act(progress)

    def note(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class World:
    """A home on which studies are searched by scripts."""

    settings: Settings

    def spec(self, **changes: Any) -> StudySpec:
        name = f"study-{next(_names)}"
        return replace(
            StudySpec(name=name, data=DataConfig("digits"), space=SPACE, trials=6, sampler="random", pruner="none"),
            **changes,
        )

    def search(self, spec: StudySpec, pool: ScriptedPool, act: Any = None) -> Watcher:
        """Runs a scheduler to its end; ``act(scheduler, progress)`` is called as the observer is."""
        watcher = Watcher()
        tracker = Tracker(
            lambda: Runs(self.settings, spec.name, "", DatasetInput("digits", "f00d", "digits")), watcher.note
        )
        tracker.wait_connected()
        study = open_study(self.settings, spec, "f00d")
        scheduler = Scheduler(
            spec,
            study,
            pool,
            tracker,
            self.settings,
            64,
            10,
            {"dataset.fingerprint": "f00d"},
            watcher,
            time.monotonic(),
        )
        watcher.act = act and (lambda progress: act(scheduler, progress))
        started = time.monotonic()
        try:
            scheduler.run()
        finally:
            watcher.wall_s = time.monotonic() - started
            left = tracker.close()
            note_runs(study, tracker)
        assert left == 0
        return watcher

    def rows(self, spec: StudySpec) -> list[TrialRow]:
        return sorted(leaderboard(load_study(self.settings, spec.name)), key=lambda row: row.number)

    def runs(self, spec: StudySpec) -> dict[str, Any]:
        client = self.client
        experiment = client.get_experiment_by_name(spec.name)
        assert experiment
        found = client.search_runs([experiment.experiment_id])
        assert len({run.info.run_name for run in found}) == len(found), "one run a trial"
        return {run.info.run_name: run for run in found}

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.settings.tracking_uri)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    settings = read_settings(tmp_path_factory.mktemp("home"), {})
    prepare_home(settings)
    return World(settings)


def states(rows: Iterable[TrialRow]) -> list[str]:
    return [row.state for row in rows]


def script(by_number: Mapping[int, list[list[float | str]]]) -> Script:
    """What befalls single trials, attempt by attempt; the others go by their width."""

    def play(task: Task, attempt: int) -> Iterable[float | str]:
        attempts = by_number.get(task.number, [])
        return attempts[attempt - 1] if attempt <= len(attempts) else by_width(task, attempt)

    return play


class TestASearch:
    def test_trains_the_budget_and_tells_both_databases(self, world: World) -> None:
        spec, pool = world.spec(), ScriptedPool(2)
        watcher = world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE"] * 6
        for (_, task), row in zip(sorted(pool.tasks, key=lambda pair: pair[1].number), rows, strict=True):
            hp = task.hyperparameters
            assert row.params == {name: getattr(hp, name) for name in row.params}
            assert len(row.params) == 8
            assert row.value == pytest.approx(hp.width / 100 * (1 - 0.5**4))
            assert (row.best_epoch, row.epochs_trained, row.duration_s) == (4, 4, 0.25)
            assert row.device in ("scripted:0", "scripted:1")
            run = world.runs(spec)[f"trial-{row.number:04d}"]
            assert row.run_id == run.info.run_id
            assert run.data.params["seed"] == str(task.seed)
            assert run.data.params["width"] == str(hp.width)
            assert int(run.data.params["n_parameters"]) == sum(
                (n_in + 1) * n_out for n_in, n_out in itertools.pairwise([64] + [hp.width] * hp.depth + [10])
            )
            assert run.data.metrics["best_val_accuracy"] == pytest.approx(row.value)
            assert run.info.status == "FINISHED"
        assert [line for line in watcher.lines if line.startswith("trial-0003 complete val_accuracy 0.")]
        assert list(entries(world.settings.spool, spec.name)) == []

    def test_epochs_are_what_the_pruner_sees(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.1, 0.2, 0.3, 0.25]]})))
        [trial] = load_study(world.settings, spec.name).trials
        assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.25}
        assert trial.value == 0.3

    def test_a_trial_that_is_pruned_keeps_what_it_reached(self, world: World) -> None:
        spec = world.spec(pruner="asha", trials=3)
        plays = {0: [[0.9] * 4], 1: [[0.2] * 4], 2: [[0.95] * 4]}
        pool = ScriptedPool(1, script(plays))
        world.search(spec, pool)
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE", "PRUNED", "COMPLETE"]
        assert (rows[1].value, rows[1].epochs_trained) == (0.2, 1)
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FINISHED"
        assert run.data.tags["trial.state"] == "PRUNED"
        assert [file.path for file in world.client.list_artifacts(run.info.run_id)] == [CURVES_FILE, MODEL_FILE]

    def test_the_last_epoch_ends_a_trial_by_itself(self, world: World) -> None:
        """A pruner that stops a trial after its last epoch would only make a complete trial a pruned one."""
        space = SearchSpace({"width": Range(8, 64), "epochs": Choice((1,))})
        spec = world.spec(pruner="asha", trials=2, space=space)
        world.search(spec, ScriptedPool(1, script({0: [[0.9]], 1: [[0.1]]})))
        assert states(world.rows(spec)) == ["COMPLETE", "COMPLETE"]

    def test_divergence_ends_a_trial_as_pruned(self, world: World) -> None:
        spec = world.spec(trials=2)
        world.search(spec, ScriptedPool(1, script({0: [[0.4, DIVERGED]], 1: [[DIVERGED]]})))
        rows = world.rows(spec)
        assert states(rows) == ["PRUNED", "PRUNED"]
        assert (rows[0].value, rows[1].value) == (0.4, None)
        assert world.runs(spec)["trial-0001"].data.tags["stop_reason"] == "diverged"

    def test_an_accuracy_of_zero_is_a_result_too(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.0] * 4]})))
        metrics = world.runs(spec)["trial-0000"].data.metrics
        assert metrics["best_val_accuracy"] == 0.0
        assert world.rows(spec)[0].value == 0.0

    def test_start_configurations_are_trained_first(self, world: World) -> None:
        start = tuple(Hyperparameters(width=width, depth=1, epochs=4) for width in (33, 12))
        spec, pool = world.spec(start=start, trials=3), ScriptedPool(1)
        world.search(spec, pool)
        assert [task.hyperparameters.width for _, task in pool.tasks[:2]] == [33, 12]


class TestTrouble:
    def test_a_lost_trial_is_trained_again_under_its_number_with_its_seed(self, world: World) -> None:
        spec = world.spec(trials=3)
        pool = ScriptedPool(2, script({1: [[0.1, 0.2, LOST]]}))
        watcher = world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 3
        first, second = (task for _, task in pool.tasks if task.number == 1)
        assert first == second
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FINISHED"
        assert len(world.client.get_metric_history(run.info.run_id, "loss")) == 4
        assert [line for line in watcher.lines if "died; it is trained again" in line]

    def test_the_run_tells_where_the_trial_was_trained_in_the_end(self, world: World) -> None:
        spec = world.spec(trials=2)
        pool = ScriptedPool(2, script({0: [[0.1, LOST]], 1: [[FAILED]]}))
        world.search(spec, pool)
        assert [slot.device for slot, task in pool.tasks if task.number == 0] == ["scripted:0", "scripted:1"]
        assert world.rows(spec)[0].device == "scripted:1"
        assert world.runs(spec)["trial-0000"].data.tags["device"] == "scripted:1"

    def test_slots_that_leave_are_used_no_more_and_those_that_join_are(self, world: World) -> None:
        """The machine of both slots dies while one is idle: the lost trial must not go to its neighbour."""
        spec, pool = world.spec(trials=2), ScriptedPool(2, script({0: [[0.1, HANGS]]}))
        seen: list[set[int]] = []

        def move(scheduler: Scheduler, progress: Progress) -> None:
            seen.append(set(progress.slots))
            if progress.complete == 1 and len(pool.slots) == 2:
                pool.leave(*pool.slots)
            elif not pool.slots and not progress.slots:
                pool.join(2)

        watcher = world.search(spec, pool, move)
        assert states(world.rows(spec)) == ["COMPLETE"] * 2
        assert [slot.number for slot, task in pool.tasks if task.number == 0] == [0, 2]
        assert {0, 1} in seen
        assert seen[-1] == {2}
        assert "trial-0000: the node of scripted:0 is gone; it is trained again" in watcher.lines

    def test_a_configuration_that_kills_every_process_fails_after_three(self, world: World) -> None:
        spec, pool = world.spec(trials=4), ScriptedPool(2, script({1: [[0.5, LOST]] * 9}))
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert Counter(task.number for _, task in pool.tasks) == {0: 1, 1: 3, 2: 1, 3: 1}
        run = world.runs(spec)["trial-0001"]
        assert run.info.status == "FAILED"
        assert run.data.tags["message"].endswith("3 times with this configuration")

    def test_a_failure_is_one_trial_s_own(self, world: World) -> None:
        spec, pool = world.spec(trials=3), ScriptedPool(1, script({0: [[FAILED]], 2: [[0.3, FAILED]]}))
        watcher = world.search(spec, pool)
        assert states(world.rows(spec)) == ["FAIL", "COMPLETE", "FAIL"]
        assert len(pool.tasks) == 3, "the same task would fail again"
        run = world.runs(spec)["trial-0000"]
        assert (run.info.status, run.data.tags["message"]) == ("FAILED", "it cannot be trained")
        assert [file.path for file in world.client.list_artifacts(run.info.run_id)] == ["traceback.txt"]
        assert "trial-0000 failed: it cannot be trained" in watcher.lines

    def test_a_trial_that_hangs_is_ended_at_its_limit(self, world: World) -> None:
        workers = WorkerSettings(trial_timeout_s=0.3)
        spec, pool = world.spec(trials=2, workers=workers), ScriptedPool(1, script({0: [[0.2, HANGS]]}))
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["FAIL", "COMPLETE"]
        message = world.runs(spec)["trial-0000"].data.tags["message"]
        assert message == "workers.trial_timeout_s: took longer than 0.3 s and was ended"

    @settings(max_examples=12, deadline=None)
    @given(
        n_slots=st.integers(1, 4),
        trials=st.integers(1, 9),
        plays=st.dictionaries(
            st.integers(0, 8),
            st.lists(
                st.lists(st.one_of(st.floats(0, 1), st.sampled_from([LOST, FAILED, DIVERGED])), max_size=4), max_size=3
            ),
        ),
    )
    def test_whatever_happens_the_budget_is_exact_and_every_trial_ends(
        self, world: World, n_slots: int, trials: int, plays: dict[int, list[list[float | str]]]
    ) -> None:
        spec = world.spec(trials=trials, pruner="asha", sampler="tpe")
        world.search(spec, ScriptedPool(n_slots, script(plays)))
        rows = world.rows(spec)
        assert [row.number for row in rows] == list(range(trials))
        assert set(states(rows)) <= {"COMPLETE", "PRUNED", "FAIL"}
        runs = world.runs(spec)
        assert len(runs) == trials
        assert {run.info.status for run in runs.values()} <= {"FINISHED", "FAILED"}
        for row in rows:
            run = runs[f"trial-{row.number:04d}"]
            assert run.data.tags["trial.state"] == row.state
            history = world.client.get_metric_history(run.info.run_id, "val_accuracy")
            assert sorted(point.step for point in history) == list(range(1, row.epochs_trained + 1))


def test_a_configuration_that_was_finished_is_copied_and_not_trained_again(world: World) -> None:
    twice = (Hyperparameters(width=20, depth=1, epochs=4),) * 2
    spec, pool = world.spec(start=twice, trials=2), ScriptedPool(1)
    world.search(spec, pool)
    assert [task.number for _, task in pool.tasks] == [0]
    first, second = world.rows(spec)
    assert (second.state, second.value, second.params) == (first.state, first.value, first.params)
    assert second.duration_s == 0
    run = world.runs(spec)["trial-0001"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["copied_from"] == "0"
    assert run.data.metrics["best_val_accuracy"] == first.value


SIX = SearchSpace({"width": Choice((8, 16, 32)), "depth": Choice((1, 2)), "epochs": Choice((4,))})


class TestASmallSpace:
    @pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
    @pytest.mark.parametrize("n_slots", [1, 3])
    def test_each_configuration_is_trained_once_and_then_the_study_ends(
        self, world: World, sampler: Any, n_slots: int
    ) -> None:
        spec, pool = world.spec(space=SIX, trials=20, sampler=sampler), ScriptedPool(n_slots)
        world.search(spec, pool)
        trained = [(task.hyperparameters.width, task.hyperparameters.depth) for _, task in pool.tasks]
        assert sorted(trained) == sorted(itertools.product((8, 16, 32), (1, 2)))
        assert len(world.rows(spec)) == 6

    def test_a_lost_trial_is_trained_again_though_nothing_new_is_left(self, world: World) -> None:
        spec = world.spec(space=SIX, trials=20, sampler="grid")
        pool = ScriptedPool(3, script({5: [[0.5, LOST]], 4: [[0.1] * 4]}))
        world.search(spec, pool)
        assert states(world.rows(spec)) == ["COMPLETE"] * 6

    def test_a_spent_study_goes_on_where_its_budget_grows(self, world: World) -> None:
        spec = world.spec(space=SIX, trials=2, sampler="grid")
        world.search(spec, ScriptedPool(1))
        more = ScriptedPool(1)
        world.search(replace(spec, trials=4), more)
        assert sorted(task.number for _, task in more.tasks) == [2, 3]
        assert len(world.rows(spec)) == 4


def interrupt_after(n_epochs: int) -> Any:
    """Interrupts at the first look after that many epochs were reported."""
    seen: Counter[str] = Counter()

    def act(scheduler: Scheduler, progress: Progress) -> None:
        for view in progress.slots.values():
            if view.report:
                seen[f"{view.run_name} {view.report.epoch}"] = 1
        if len(seen) >= n_epochs:
            scheduler.interrupt()

    return act


class TestInterrupted:
    @pytest.mark.parametrize(("pruner", "n_slots"), [("asha", 1), ("hyperband", 1), ("median", 1), ("asha", 2)])
    def test_a_study_goes_on_as_if_it_had_not_been(self, world: World, n_slots: int, pruner: Any) -> None:
        """With one slot in every value; with several at least in number."""
        whole, broken = (world.spec(trials=9, pruner=pruner, sampler="tpe", name=f"{pruner}-{n_slots}-{kind}")
                         for kind in ("whole", "broken"))  # fmt: skip
        world.search(whole, ScriptedPool(n_slots))
        for n_epochs in (3, 1, 6, 2):
            world.search(broken, ScriptedPool(n_slots), interrupt_after(n_epochs))
            open_states = [run.info.status for run in world.runs(broken).values()]
            assert "RUNNING" not in open_states
            study = load_study(world.settings, broken.name)
            assert TrialState.RUNNING not in [trial.state for trial in study.trials]
        world.search(broken, ScriptedPool(n_slots))
        rows, expected = world.rows(broken), world.rows(whole)
        assert len(rows) == len(expected) == 9
        if n_slots == 1:
            kept = [(row.state, row.value, row.params, row.epochs_trained) for row in rows]
            assert kept == [(row.state, row.value, row.params, row.epochs_trained) for row in expected]
        assert {run.info.status for run in world.runs(broken).values()} == {"FINISHED"}

    def test_a_trial_in_training_is_killed_in_mlflow_and_waits_in_optuna(self, world: World) -> None:
        spec = world.spec(trials=3)
        world.search(spec, ScriptedPool(1), interrupt_after(6))
        assert [row.state for row in world.rows(spec)] == ["COMPLETE", "WAITING"]
        assert [world.runs(spec)[f"trial-000{n}"].info.status for n in (0, 1)] == ["FINISHED", "KILLED"]

    def test_an_error_leaves_its_trials_in_the_budget(self, world: World) -> None:
        spec = world.spec(trials=4)

        def fail(scheduler: Scheduler, progress: Progress) -> None:
            if progress.complete == 2:
                raise RuntimeError("the observer broke")

        with pytest.raises(RuntimeError, match="the observer broke"):
            world.search(spec, ScriptedPool(2), fail)
        assert "RUNNING" not in states(world.rows(spec))
        world.search(spec, ScriptedPool(2))
        assert states(world.rows(spec)) == ["COMPLETE"] * 4


class TestTime:
    def test_what_earlier_runs_took_counts(self, world: World) -> None:
        spec = world.spec(trials=None, timeout_s=100.0)
        study = open_study(world.settings, spec, "f00d")
        study.set_user_attr(ELAPSED, 100.5)
        pool = ScriptedPool(1)
        world.search(spec, pool)
        assert pool.tasks == []
        assert load_study(world.settings, spec.name).user_attrs[ELAPSED] >= 100.5

    def test_the_time_that_was_used_is_noted(self, world: World) -> None:
        spec = world.spec(trials=1)
        world.search(spec, ScriptedPool(1, script({0: [[0.1, LOST]]})))
        used = load_study(world.settings, spec.name).user_attrs[ELAPSED]
        world.search(replace(spec, trials=2), ScriptedPool(1))
        assert load_study(world.settings, spec.name).user_attrs[ELAPSED] >= used

    def test_the_timeout_ends_trials_at_an_epoch_and_keeps_what_they_reached(self, world: World) -> None:
        spec = world.spec(
            trials=None, timeout_s=1.2, space=SearchSpace({"width": Range(8, 64), "epochs": Choice((10**6,))})
        )

        def slowly(task: Task, attempt: int) -> Iterator[float]:
            for epoch in itertools.count(1):
                time.sleep(0.01)
                yield min(0.9, epoch / 1000)

        pool = ScriptedPool(2, slowly)
        assert world.search(spec, pool).wall_s < 4
        rows = world.rows(spec)
        assert states(rows) == ["COMPLETE", "COMPLETE"]
        assert all(row.value and row.epochs_trained > 3 for row in rows)
        assert all(abs(task.deadline - time.time()) < 10 for _, task in pool.tasks if task.deadline)
        assert {run.data.tags["stop_reason"] for run in world.runs(spec).values()} == {"timeout"}

    def test_no_trial_begins_whose_first_epoch_would_end_too_late(self, world: World) -> None:
        spec = world.spec(trials=None, timeout_s=1.0, sampler="random")
        pool = ScriptedPool(1)
        assert world.search(spec, pool).wall_s < 3
        assert set(states(world.rows(spec))) == {"COMPLETE"}


@dataclass
class Left:
    """What a process that was killed left of trial 0, after each of its steps."""

    world: World
    spec: StudySpec

    def __post_init__(self) -> None:
        self.study = open_study(self.world.settings, self.spec, "f00d")
        self.study.sampler = TrialSampler(self.spec, self.study)
        self.trial = self.study.ask()
        self.params = draw(self.study, self.trial, self.spec.space.distributions())
        hp = self.spec.space.hyperparameters(self.params)
        tags = {"study": self.spec.name, "trial": "0", "device": "gone:0"}
        self.start = RunStart(self.spec.name, "trial-0000", 1_700_000_000_000, asdict(hp) | {"seed": 1}, tags)
        self.epochs = tuple(Epoch(n, 1_700_000_000_000 + n, {"loss": 0.5, "val_accuracy": 0.77}) for n in (1, 2, 3, 4))

    def opened(self) -> str:
        runs = Runs(self.world.settings, self.spec.name, "", None)
        run_id = runs.open(self.start, replace=False)
        runs.log(run_id, self.start.params, self.epochs[:2], None)
        set_run_id(self.study, 0, run_id)
        return run_id

    def reported(self) -> None:
        for epoch in (1, 2):
            self.trial.report(0.77, epoch)

    def spooled(self) -> Entry:
        result = {"params": dict(self.start.params), "best_val_accuracy": 0.77, "best_epoch": 1, "epochs_trained": 4}
        entry = Entry(
            self.start, 1_700_000_009_000, "COMPLETE", 0.77, result, self.epochs, {"best_val_accuracy": 0.77},
            {"trial.state": "COMPLETE"}, 0,
        )  # fmt: skip
        write_entry(self.world.settings.spool, entry, {MODEL_FILE: b"model"})
        return entry

    def told(self, entry: Entry) -> None:
        self.trial.set_user_attr(RESULT, dict(entry.result))
        self.study.tell(self.trial, entry.value)


class TestLeftBehind:
    @pytest.fixture
    def left(self, world: World) -> Left:
        return Left(world, world.spec(trials=2))

    def check(self, left: Left, trained: list[int], value: float | None = None) -> Any:
        """Goes on with the study; returns the run of trial 0."""
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
        assert [f.path for f in left.world.client.list_artifacts(run.info.run_id)] == [CURVES_FILE, MODEL_FILE]
        assert list(entries(left.world.settings.spool, left.spec.name)) == []
        return run

    def test_a_result_on_disk_of_which_optuna_did_not_hear_is_told_and_not_trained_again(self, left: Left) -> None:
        left.opened()
        left.reported()
        left.spooled()
        self.check(left, trained=[1], value=0.77)

    def test_a_result_of_which_mlflow_did_not_hear_is_delivered(self, left: Left) -> None:
        left.opened()
        left.reported()
        left.told(left.spooled())
        self.check(left, trained=[1], value=0.77)

    def test_a_result_whose_run_was_never_opened_is_delivered(self, left: Left) -> None:
        left.told(left.spooled())
        self.check(left, trained=[1], value=0.77)

    def test_a_result_that_mlflow_has_but_for_the_last_step_is_delivered_once(self, left: Left) -> None:
        run_id = left.opened()
        entry = left.spooled()
        left.told(entry)
        runs = Runs(left.world.settings, left.spec.name, "", None)
        [folder] = entries(left.world.settings.spool, left.spec.name)
        runs.log(run_id, {}, left.epochs, entry)
        runs.end(run_id, entry, folder)
        self.check(left, trained=[1], value=0.77)

    def test_a_run_that_took_another_s_place_unnoticed_is_known_in_the_end(self, left: Left) -> None:
        """MLflow has the result under a new run, and the process died before Optuna was told of that."""
        replaced = left.opened()
        left.told(left.spooled())
        runs = Runs(left.world.settings, left.spec.name, "", None)
        tracker = Tracker(lambda: runs)
        Takeover(left.study, left.world.settings, tracker, ()).begin()
        assert tracker.close() == 0
        run = self.check(left, trained=[1], value=0.77)
        assert run.info.run_id != replaced

    def test_a_trial_in_training_is_trained_again_from_its_beginning(self, left: Left) -> None:
        lost = left.opened()
        left.reported()
        run = self.check(left, trained=[0, 1])
        assert run.info.run_id != lost
        width = left.params["width"]
        assert left.world.rows(left.spec)[0].value == pytest.approx(width / 100 * (1 - 0.5**4))

    def test_a_trial_that_was_drawn_and_no_more_is_trained(self, left: Left) -> None:
        self.check(left, trained=[0, 1])

    def test_a_verdict_of_the_pruner_that_was_lost_is_given_again(self, world: World) -> None:
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

    def test_an_entry_that_was_being_written_is_in_nobody_s_way(self, left: Left) -> None:
        folder = left.world.settings.spool / study_slug(left.spec.name) / "trial-0000.tmp"
        folder.mkdir(parents=True)
        (folder / "entry.json").write_text('{"half')
        self.check(left, trained=[0, 1])


def test_a_full_disk_ends_the_search_at_once_and_loses_no_trial(world: World) -> None:
    """A file in the place of the study's spool folder stands for a disk that takes nothing."""
    spec = world.spec(trials=3)
    blocked = world.settings.spool / study_slug(spec.name)
    blocked.touch()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="must take a finished trial"):
        world.search(spec, ScriptedPool(2))
    assert time.monotonic() - started < 20
    assert set(states(world.rows(spec))) == {"WAITING"}
    assert {run.info.status for run in world.runs(spec).values()} == {"KILLED"}
    blocked.unlink()
    world.search(spec, ScriptedPool(2))
    assert states(world.rows(spec)) == ["COMPLETE"] * 3


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory, postgres: Callable[[str], str]) -> World:
    """A home whose studies lie on PostgreSQL, where other processes may search them too."""
    places = read_settings(tmp_path_factory.mktemp("shared"), {"OPTUNA_STORAGE": postgres("scheduler")})
    prepare_home(places)
    return World(places)


def stop_beating(world: World, trial: optuna.Trial) -> None:
    """The last heartbeat of a trial was an hour ago."""
    engine = sa.create_engine(world.settings.optuna_storage)
    ago = "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP - interval '1 hour' WHERE trial_id = :id"
    with engine.begin() as connection:
        connection.execute(sa.text(ago), {"id": trial._trial_id})
    engine.dispose()


class TestOnASharedDatabase:
    def test_a_trial_has_a_heartbeat_from_its_beginning(self, shared_world: World) -> None:
        """One that has none is never taken for dead: were its process killed at once, nobody would train it again."""
        beating: list[int] = []
        engine = sa.create_engine(shared_world.settings.optuna_storage)

        def look(scheduler: Scheduler, progress: Progress) -> None:
            if any(view.run_name for view in progress.slots.values()) and not beating:
                with engine.connect() as connection:
                    beating.append(connection.execute(sa.text("SELECT count(*) FROM trial_heartbeats")).scalar_one())
                scheduler.interrupt()

        shared_world.search(shared_world.spec(trials=1), ScriptedPool(1, script({0: [[0.1] * 3]})), look)
        engine.dispose()
        assert beating == [1]

    def test_what_another_process_has_in_training_counts_for_the_budget_and_is_waited_for(
        self, shared_world: World
    ) -> None:
        spec = shared_world.spec(trials=4)
        other = Left(shared_world, spec)
        other.study._storage.record_heartbeat(other.trial._trial_id)

        looks: list[int] = []

        def finish(scheduler: Scheduler, progress: Progress) -> None:
            looks.append(progress.complete)
            if looks.count(3) == 2:
                other.study.tell(other.trial, 0.5)

        pool = ScriptedPool(2)
        watcher = shared_world.search(spec, pool, finish)
        assert sorted(task.number for _, task in pool.tasks) == [1, 2, 3]
        assert states(shared_world.rows(spec)) == ["COMPLETE"] * 4
        assert "waiting for 1 of the study's trials that other processes train" in watcher.lines

    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    def test_what_a_dead_process_had_in_training_is_trained_here(self, shared_world: World, when: str) -> None:
        spec = shared_world.spec(trials=3)
        other = Left(shared_world, spec)
        lost = other.opened()
        if when == "before":  # the other one dies before its first heartbeat: alive for ever it is not
            other.study._storage.record_heartbeat(other.trial._trial_id)
            stop_beating(shared_world, other.trial)

        def die(scheduler: Scheduler, progress: Progress) -> None:
            if progress.complete == 2:
                stop_beating(shared_world, other.trial)

        pool = ScriptedPool(1)
        shared_world.search(spec, pool, die)
        assert sorted(task.number for _, task in pool.tasks) == [0, 1, 2]
        assert states(shared_world.rows(spec)) == ["COMPLETE"] * 3
        runs = shared_world.runs(spec)
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert runs["trial-0000"].info.run_id != lost

    def test_a_trial_that_another_process_has_finished_meanwhile_counts_once(self, shared_world: World) -> None:
        """So after a pause that let this process look dead."""
        spec = shared_world.spec(trials=2)

        def finish(scheduler: Scheduler, progress: Progress) -> None:
            [trial, *_] = load_study(shared_world.settings, spec.name).trials or [None]
            if trial and len(trial.intermediate_values) == 2 and trial.state == TrialState.RUNNING:
                study = load_study(shared_world.settings, spec.name)
                study.tell(0, 0.99)

        watcher = shared_world.search(spec, ScriptedPool(1), finish)
        rows = shared_world.rows(spec)
        assert states(rows) == ["COMPLETE"] * 2
        assert rows[0].value == 0.99 or load_study(shared_world.settings, spec.name).trials[0].value == 0.99
        assert sorted(shared_world.runs(spec)) == ["trial-0001"], "the other process has the run of the first"
        assert not [line for line in watcher.lines if "deleted" in line]

    @pytest.mark.parametrize("sampler", ["tpe", "grid"])
    def test_an_interrupted_study_goes_on(self, shared_world: World, sampler: Any) -> None:
        spec = shared_world.spec(space=SIX, trials=20, sampler=sampler, pruner="asha")
        for n_epochs in (2, 5):
            shared_world.search(spec, ScriptedPool(2), interrupt_after(n_epochs))
        shared_world.search(spec, ScriptedPool(2))
        rows = shared_world.rows(spec)
        assert sorted((row.params["width"], row.params["depth"]) for row in rows) == sorted(
            itertools.product((8, 16, 32), (1, 2))
        )
        assert set(states(rows)) <= {"COMPLETE", "PRUNED"}
