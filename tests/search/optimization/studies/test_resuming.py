"""What an existing study keeps, and which of its settings may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import ask, finish, opened
from optuna.trial import TrialState

from pipelines.config import DataConfig, GroupDraw, Hyperparameters, Scaling
from pipelines.errors import NotFoundError, SpecError
from search.home.settings import Settings, read_settings
from search.optimization.studies import as_recorded, keep_recorded_defaults, load_study, resumed_spec
from search.spec.defaults import PRESETS
from search.spec.dimensions import Range
from search.spec.reading import default_spec, spec_from_dict
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec, WorkerSettings
from search.storage.attributes import CHANGED_OVER, SPEC

OWN_START = PRESETS["strong"]["start"][1] | {"width": 64, "learning_rate": 0.004}


class TestResuming:
    def test_a_study_goes_on_with_its_trials(self, places: Settings, spec: StudySpec) -> None:
        study = opened(places, spec)
        trial, params = ask(study)
        trial.report(0.4, 1)
        finish(study, trial, "COMPLETE", 0.5)
        again = opened(places, spec)
        [kept] = again.trials
        assert (kept.number, kept.state, kept.value) == (0, TrialState.COMPLETE, 0.5)
        assert kept.params == params
        assert kept.intermediate_values == {1: 0.4}
        assert ask(again)[0].number == 1

    def test_its_specification_is_recorded_in_full(self, places: Settings, spec: StudySpec) -> None:
        spec = replace(spec, start=(Hyperparameters(width=8, learning_rate=0.01, depth=1),))
        opened(places, spec)
        assert spec_from_dict(load_study(places, spec.name).user_attrs[SPEC]) == spec

    def test_a_table_of_an_earlier_version_keeps_its_starts(self, places: Settings) -> None:
        spec = default_spec("iris.csv", target="species")
        assert keep_recorded_defaults(places, spec) == spec
        earlier = replace(spec, start=spec.start[1:])
        opened(places, earlier)
        assert keep_recorded_defaults(places, spec) == earlier
        other = replace(spec, name="other")
        opened(places, other)
        assert keep_recorded_defaults(places, other) == other
        assert keep_recorded_defaults(places, replace(spec, has_default_starts=False)) == spec, "the user gave these"

    @pytest.mark.parametrize("like", [None, ["an earlier one"]])
    def test_a_small_table_keeps_the_widths_that_its_study_began_with(
        self, places: Settings, like: list[str] | None
    ) -> None:
        """An earlier version did not narrow them."""
        given = {"target": "species", "name": f"wide, {like}", "like": like}
        now = default_spec("iris.csv", **given).for_task("classification").with_folds(5)
        opened(places, now)
        narrow = now.for_size(150, 4)
        assert narrow.start != now.start
        resumed = keep_recorded_defaults(places, narrow)
        assert (resumed.space, resumed.start) == (now.space, now.start)
        named = default_spec("iris.csv", **given, preset="strong").for_task("classification").with_folds(5)
        resumed = keep_recorded_defaults(places, named.for_size(150, 4))
        assert (resumed.space, resumed.start) == (now.space, now.start)

    def test_a_study_that_began_with_narrow_widths_is_not_widened_in_silence(self, places: Settings) -> None:
        given = {"target": "species", "name": "narrow"}
        narrow = default_spec("iris.csv", **given).for_task("classification").with_folds(5).for_size(150, 4)
        opened(places, narrow)
        named = default_spec("iris.csv", **given, preset="strong").for_task("classification").with_folds(5)
        with pytest.raises(SpecError, match="but space changed"):
            opened(places, keep_recorded_defaults(places, named.for_size(150, 4)))

    @pytest.mark.parametrize(
        "own", [{}, {"start": [PRESETS["strong"]["start"][1] | {"width": 64, "learning_rate": 0.004}]}, {"start": []}]
    )
    def test_a_study_of_a_preset_that_another_version_changed_keeps_its_ranges(
        self, places: Settings, own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = f"of a preset, {len(own.get('start', 'none'))}"
        document = {"study": {"name": name}, "data": {"source": "digits"}, "space": {"preset": "strong", "width": 64}}
        document |= own
        now = spec_from_dict(document).for_task("classification", {"embedding": "no table"})
        with monkeypatch.context() as earlier:
            earlier.setitem(PRESETS["strong"]["space"], "learning_rate", {"low": 1e-4, "high": 5e-3})
            earlier.setitem(PRESETS["strong"]["space"], "epochs", {"low": 10, "high": 50})
            then = spec_from_dict(document).for_task("classification", {"embedding": "no table"})
            opened(places, then)
        resumed = keep_recorded_defaults(places, now)
        assert resumed.space == then.space
        opened(places, resumed)
        wider = spec_from_dict({**document, "space": {"preset": "strong", "width": 96}, "start": []})
        with pytest.raises(SpecError, match="but space"):
            opened(places, keep_recorded_defaults(places, wider.for_task("classification", {"embedding": "no table"})))

    @pytest.mark.parametrize("other", ["tiny", "strong"])
    def test_another_preset_is_refused(self, places: Settings, other: str) -> None:
        document = {"study": {"name": f"classic, not {other}"}, "data": {"source": "digits"}}
        opened(places, spec_from_dict(document | {"space": {"preset": "classic"}}))
        changed = spec_from_dict(document | {"space": {"preset": other}})
        with pytest.raises(SpecError, match="but space"):
            opened(places, keep_recorded_defaults(places, changed))

    @pytest.mark.parametrize("recorded", ["minmax", None])
    def test_a_table_of_an_earlier_version_keeps_its_scaling(self, places: Settings, recorded: Scaling | None) -> None:
        spec = default_spec("iris.csv", target="species", name=f"scaled-{recorded}")
        assert as_recorded(places, spec) == spec
        assert spec.for_task("classification").data.scaling == "auto"
        earlier = replace(spec, data=replace(spec.data, scaling=recorded))
        opened(places, earlier)
        resumed = as_recorded(places, spec)
        assert resumed.data.scaling == "minmax"
        opened(places, resumed)
        with pytest.raises(SpecError, match="but data changed"):
            opened(places, as_recorded(places, replace(spec, data=replace(spec.data, scaling="auto"))))

    @pytest.mark.parametrize(("recorded", "folds"), [(None, 1), (1, 1), (5, 5)])
    def test_a_study_keeps_its_folds_and_one_of_an_earlier_version_its_split(
        self, places: Settings, recorded: int | None, folds: int
    ) -> None:
        spec = default_spec("iris.csv", target="species", name=f"folds-{recorded}")
        assert as_recorded(places, spec).data.folds is None
        opened(places, replace(spec, data=replace(spec.data, folds=recorded)))
        resumed = as_recorded(places, spec)
        assert resumed.data.folds == folds
        opened(places, resumed)
        with pytest.raises(SpecError, match=r"but data\.folds changed: undo"):
            opened(places, as_recorded(places, spec.with_folds(3)))

    @pytest.mark.parametrize("recorded", ["largest_first", "random", None])
    def test_a_study_keeps_its_draw_of_groups(self, places: Settings, recorded: GroupDraw | None) -> None:
        """Earlier versions, which recorded none, held back the largest groups first."""
        spec = default_spec("iris.csv", target="species", group="garden", name=f"drawn-{recorded}")
        settled = spec.for_task("classification")
        assert settled.data.group_draw == "random"
        opened(places, replace(settled, data=replace(settled.data, group_draw=recorded)))
        resumed = as_recorded(places, spec)
        assert resumed.data.group_draw == (recorded or "largest_first")
        opened(places, resumed)
        other: GroupDraw = "largest_first" if recorded == "random" else "random"
        with pytest.raises(SpecError, match=r"but data\.group_draw changed: undo"):
            opened(places, as_recorded(places, replace(spec, data=replace(spec.data, group_draw=other))))

    def test_a_study_keeps_its_objective_beside_its_task_and_its_task_beside_its_objective(
        self, places: Settings
    ) -> None:
        spec = default_spec("iris.csv", target="species", name="kept objective")
        then = replace(spec.for_task("classification"), objective="val_auc")
        opened(places, then)
        named = as_recorded(places, replace(spec, data=replace(spec.data, task="classification")))
        assert (named.objective, named.data.task) == ("val_auc", "classification")
        named = as_recorded(places, replace(spec, objective="val_auc"))
        assert (named.objective, named.data.task) == ("val_auc", "classification")
        other = as_recorded(places, replace(spec, data=replace(spec.data, task="regression")))
        assert (other.objective, other.data.task) == (None, "regression")

    def test_other_data_is_named_before_what_the_study_chose_by_itself(self, places: Settings) -> None:
        spec = default_spec("iris.csv", target="species", name="other data")
        opened(places, spec.with_folds(5).for_task("classification"))
        changes: dict[str, dict[str, Any]] = {
            "data.time": {"time": "date"},
            "data.validation_fraction": {"validation_fraction": 0.1},
            "data.group and data.split": {"split": "part", "group": "house"},
            "data.source and data.target": {"source": "pictures.npz", "target": None},
        }
        for what, change in changes.items():
            with pytest.raises(SpecError, match=f"but {what} changed: undo the change, or start another study with"):
                as_recorded(places, replace(spec, data=replace(spec.data, **change)))

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"seed": 1}, "study.seed"),
            ({"sampler": "random"}, "search.sampler"),
            ({"pruner": "median"}, "search.pruner"),
            ({"data": DataConfig("digits", scaling="standard")}, "data"),
            ({"space": SearchSpace({"width": Range(8, 65)})}, "space"),
            ({"start": (Hyperparameters(width=8),)}, "start"),
            ({"seed": 1, "space": SearchSpace({"width": Range(8, 65)})}, "study.seed and space"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_it_must_go_on_with_what_it_was_started_with(
        self, places: Settings, spec: StudySpec, change: dict[str, Any], what: str
    ) -> None:
        opened(places, spec)
        with pytest.raises(SpecError) as caught:
            opened(places, replace(spec, **change))
        assert str(caught.value).startswith(f"study '{spec.name}': must be resumed with its own settings, but {what}")
        assert spec_from_dict(load_study(places, spec.name).user_attrs[SPEC]) == spec, "the record must stay"

    @pytest.mark.parametrize(
        "change",
        [{"trials": 99}, {"timeout_s": 5.0}, {"trials": None, "timeout_s": 9.0}, {"workers": WorkerSettings(slots=3)}],
    )
    def test_its_budget_and_its_workers_may_change(
        self, places: Settings, spec: StudySpec, change: dict[str, Any]
    ) -> None:
        opened(places, spec)
        opened(places, replace(spec, **change))
        assert spec_from_dict(load_study(places, spec.name).user_attrs[SPEC]) == replace(spec, **change)

    def test_other_rows_under_the_same_name_are_refused(self, places: Settings, spec: StudySpec) -> None:
        opened(places, spec, "f00d")
        with pytest.raises(SpecError, match="the rows of digits or how this version reads them changed"):
            opened(places, spec, "beef")


@pytest.fixture
def own_home(tmp_path: Path) -> Settings:
    """A home of the test's own."""
    settings = read_settings(tmp_path, {})
    settings.locks.mkdir()
    return settings


class TestBudgets:
    """Without a budget a study keeps its own; a given one takes its place."""

    @pytest.mark.parametrize("given", [{"trials": 7}, {"timeout_s": 90.0}, {"trials": 7, "timeout_s": 90.0}])
    def test_a_study_keeps_its_budget(self, given: dict[str, Any], own_home: Settings) -> None:
        opened(own_home, default_spec("digits", **given))
        kept = as_recorded(own_home, default_spec("digits"))
        assert (kept.trials, kept.timeout_s) == (given.get("trials"), given.get("timeout_s"))

    @pytest.mark.parametrize("given", [{"trials": 3}, {"trials": 64}, {"timeout_s": 5.0}])
    def test_a_budget_that_is_given_counts(self, given: dict[str, Any], own_home: Settings) -> None:
        opened(own_home, default_spec("digits", trials=7, timeout_s=90.0))
        now = as_recorded(own_home, default_spec("digits", **given))
        assert (now.trials, now.timeout_s) == (given.get("trials"), given.get("timeout_s"))

    def test_a_budget_that_python_replaced_counts(self, own_home: Settings) -> None:
        opened(own_home, default_spec("digits", trials=7))
        assert as_recorded(own_home, replace(default_spec("digits"), trials=9)).trials == 9


class TestByName:
    def test_a_study_resumes_with_its_own_settings(self, own_home: Settings, spec: StudySpec) -> None:
        begun = replace(spec, trials=7, seed=4, objective="val_loss", start=(Hyperparameters(width=8),))
        opened(own_home, begun)
        found = resumed_spec(begun.name, home=own_home.home)
        assert found == begun
        assert opened(own_home, found).study_name == begun.name, "nothing that it searches has changed"

    @pytest.mark.parametrize("given", [{"trials": 90}, {"timeout_s": 5.0}])
    def test_a_budget_takes_the_place_of_both_limits(self, given: dict[str, Any], own_home: Settings) -> None:
        opened(own_home, default_spec("digits", trials=7, timeout_s=90.0))
        found = resumed_spec("digits", home=own_home.home, **given)
        assert (found.trials, found.timeout_s) == (given.get("trials"), given.get("timeout_s"))

    def test_another_name_is_another_study(self, own_home: Settings) -> None:
        opened(own_home, default_spec("digits", trials=7, width={"low": 8, "high": 16}))
        found = resumed_spec("digits", home=own_home.home, name="again", seed=3)
        assert (found.name, found.seed, found.trials) == ("again", 3, 7)
        assert found.space.dimensions["width"] == Range(8, 16, log=False)

    def test_the_budget_of_trials_and_seeds_is_the_whole_one(self, own_home: Settings) -> None:
        study = opened(own_home, default_spec("digits", trials=12, budget="auto"))
        with pytest.raises(SpecError, match="its budget must be given, because it was interrupted before its finalist"):
            resumed_spec("digits", home=own_home.home)
        assert resumed_spec("digits", home=own_home.home, trials=24).trials == 24
        study.set_user_attr(CHANGED_OVER, {"budget": [24, None], "searched": [12, None]})
        found = resumed_spec("digits", home=own_home.home)
        assert (found.budget, found.trials, found.timeout_s) == ("auto", 24, None)

    def test_no_such_study(self, own_home: Settings) -> None:
        with pytest.raises(NotFoundError, match="study 'nothing'"):
            resumed_spec("nothing", home=own_home.home)
