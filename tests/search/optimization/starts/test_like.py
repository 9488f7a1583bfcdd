"""Starts from earlier studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import ask, opened
from in_memory import ask as ask_in_memory, make_study

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.errors import NotFoundError, SpecError
from pipelines.objectives import Task
from search.devices.precision import PrecisionRule
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.starts import settle_starts
from search.optimization.starts.like import best_of
from search.optimization.studies import open_study
from search.spec.dimensions import Choice, Fixed, Range, nearest
from search.spec.reading import default_spec, spec_from_dict
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import RESULT


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    return settings


def searched(
    settings: Settings, spec: StudySpec, name: str, values: Sequence[float], seed: int = 0
) -> list[Hyperparameters]:
    """A study with trials of these values; its configurations by number."""
    spec = replace(spec, name=name, seed=seed, sampler="random")
    study, found = opened(settings, spec), []
    for value in values:
        trial, params = ask(study)
        found.append(spec.space.hyperparameters(params))
        trial.set_user_attr(RESULT, {"best_val_accuracy": value, "params": found[-1].to_json(), "best_epoch": 1})
        study.tell(trial, value)
    return found


def test_the_best_of_earlier_studies_come_first(settings: Settings, spec: StudySpec, digits: Dataset) -> None:
    one = searched(settings, spec, "one", [0.5, 0.9, 0.7])
    two = searched(settings, spec, "two", [0.8, 0.6], seed=1)
    own = Hyperparameters(width=8, depth=1, learning_rate=0.05)
    begun = settle_starts(settings, replace(spec, name="new", like=["one", "two"], start=(own,)), digits)
    assert begun.start == (one[1], two[0], one[2], two[1], one[0], own)


def test_a_resumed_study_has_the_starts_that_it_began_with(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    searched(settings, spec, "one", [0.5])
    new = replace(spec, name="new", like=["one"])
    begun = settle_starts(settings, new, digits)
    opened(settings, begun)
    searched(settings, spec, "one", [0.5, 0.9])
    assert settle_starts(settings, new, digits) == begun
    unnamed = replace(new, like=None, has_default_starts=True)
    assert settle_starts(settings, unnamed, digits) == begun
    searched(settings, spec, "two", [0.5])
    with pytest.raises(SpecError, match=r"search.like.* changed"):
        opened(settings, settle_starts(settings, replace(new, like=["two"]), digits))


def test_what_lies_outside_of_the_space_is_left_out_and_named(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    searched(settings, spec, "one", [0.5, 0.6])
    other = SearchSpace(dict(spec.space.dimensions) | {"optimizer": Fixed("sgd")})
    notes: list[str] = []
    new = replace(spec, name="new", space=other, like=["one"])
    assert settle_starts(settings, new, digits, notes.append).start == ()
    assert len(notes) == 1
    assert notes[0].startswith(
        "--like one: none of its 2 complete trials can be in the space; the best of the others fails: optimizer: must"
    )


def test_numbers_outside_of_the_space_are_moved_to_the_nearest_ones(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    one, two = searched(settings, spec, "one", [0.9, 0.6])
    dimensions = {"width": Range(1000, 2000), "epochs": Choice((8, 16, 32)), "batch_size": Fixed(64)}
    space = SearchSpace({**spec.space.dimensions, **dimensions, "learning_rate": Fixed(None)})
    notes: list[str] = []
    new = replace(spec, name="new", space=space, like=["one"])
    changed = {"width": 1000, "epochs": 16, "batch_size": 64, "learning_rate": 0.001}
    expected = list(dict.fromkeys(replace(found, **changed) for found in (one, two)))
    assert list(settle_starts(settings, new, digits, notes.append).start) == expected
    assert notes == [
        f"--like one: in {len(expected)} of {len(expected)} configurations the nearest numbers in the space are taken"
    ]
    steps = Range(0.0, 1.0, step=0.25)
    assert [nearest(steps, value) for value in (-1.0, 0.4, 0.3, 7.0)] == [0.0, 0.5, 0.25, 1.0]
    assert nearest(Choice(("relu",)), 3) == 3
    assert nearest(Fixed(1), True) is True


def test_the_starts_of_the_preset_follow_and_draws_stay_near_the_earlier_studies_only(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    [found] = searched(settings, spec, "one", [0.9])
    far = Hyperparameters(width=64 if found.width < 36 else 8, depth=1, learning_rate=0.05)
    new = replace(spec, name="new", like=["one"], start=(far,), has_default_starts=True)
    for own in (True, False):
        begun = settle_starts(settings, replace(new, name=f"new-{own}", has_default_starts=not own), digits)
        assert begun.start == (found, far)
        study = opened(settings, begun)
        widths = [ask(study)[1]["width"] for _ in range(30)]
        assert widths[:2] == [found.width, far.width]
        assert all(abs(width - found.width) <= 14 for width in widths[2:]), "a quarter of 8 to 64"
    other = SearchSpace(dict(spec.space.dimensions) | {"optimizer": Fixed("sgd")})
    nothing = settle_starts(settings, replace(new, name="nothing", space=other), digits)
    study = opened(settings, nothing)
    assert nothing.start == (far,)
    widths = [ask(study)[1]["width"] for _ in range(30)]
    assert max(widths) - min(widths) > 28, "nothing to stay near"


def test_what_an_earlier_study_did_not_search_is_as_it_was_or_the_nearest_value(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    [found] = searched(settings, spec, "one", [0.9])
    strong = default_spec("mnist", preset="strong").space
    space = SearchSpace({**strong.dimensions, **spec.space.dimensions})
    [first] = settle_starts(settings, replace(spec, name="new", like=["one"], space=space), digits).start
    unnamed = {"activation": "relu", "normalization": "none", "weight_decay": 1e-4, "label_smoothing": 0.0, "ema": 0.0}
    assert first == replace(found, **unnamed)


def test_a_study_that_brings_one_of_the_users_own_starts_resumes(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    found = searched(settings, spec, "one", [0.5, 0.9])
    new = replace(spec, name="new", like=["one"], start=(found[0], Hyperparameters(width=8, depth=1)))
    begun = settle_starts(settings, new, digits)
    assert begun.start == (found[1], found[0], new.start[1])
    opened(settings, begun)
    assert settle_starts(settings, new, digits) == begun


def test_what_an_earlier_study_has_for_another_task_or_without_effect_is_left_out(
    settings: Settings, spec: StudySpec
) -> None:
    study = opened(settings, replace(spec, name="one"))
    trial, params = ask(study)
    richer = {**params, "label_smoothing": 0.1, "embedding": "none"}
    trial.set_user_attr(RESULT, {"best_val_accuracy": 0.9, "params": richer, "best_epoch": 1})
    study.tell(trial, 0.9)
    notes: list[str] = []
    plain = spec.space.hyperparameters(params)
    assert best_of(settings, ["one"], spec.space, "regression", notes.append) == [plain]
    assert notes == []
    assert best_of(settings, ["one"], spec.space, "classification", notes.append) == [], "smoothing has an effect"
    assert "label_smoothing: must be a dimension of the space too" in notes[0]


@pytest.mark.parametrize(
    ("default", "task"),
    [({"class_weight": "none", "weight_decay": 0.0, "ema": 0.0}, "classification"), ({"loss": "mse"}, "regression")],
)
def test_what_an_earlier_study_has_as_every_network_has_it_needs_no_dimension(
    default: dict[str, Any], task: Task, settings: Settings, spec: StudySpec
) -> None:
    study = opened(settings, replace(spec, name="one"))
    trial, params = ask(study)
    found = {**params, "optimizer": "adam", **default}
    trial.set_user_attr(RESULT, {"best_val_accuracy": 0.9, "params": found, "best_epoch": 1})
    study.tell(trial, 0.9)
    space = SearchSpace({**spec.space.dimensions, "optimizer": Fixed("adam")})
    notes: list[str] = []
    [liked] = best_of(settings, ["one"], space, task, notes.append)
    assert (liked.to_json().keys() & default.keys(), notes) == (set(), [])


def test_a_start_of_adamw_without_a_weight_decay_keeps_keras_own() -> None:
    space = SearchSpace({"optimizer": Choice(("adam", "adamw")), "weight_decay": Range(0.0, 0.1)})
    assert [space.complete({"optimizer": name})[0]["weight_decay"] for name in ("adam", "adamw")] == [0.0, 0.004]


def test_a_study_whose_process_died_while_it_started_begins_with_its_starts(
    settings: Settings, spec: StudySpec, digits: Dataset
) -> None:
    found = searched(settings, spec, "one", [0.9])
    new = replace(spec, name="new", like=["one"])

    def dies() -> PrecisionRule:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_study(settings, new, "f00d", dies)
    assert settle_starts(settings, new, digits).start == (found[0],)


def test_a_study_that_an_earlier_version_began_without_the_starts_of_its_preset_resumes(
    settings: Settings, digits: Dataset
) -> None:
    document = {"data": {"source": "digits", "folds": 1}, "space": {"preset": "strong"}}
    opened(settings, spec_from_dict(document | {"start": []}))
    now = spec_from_dict(document)
    assert now.start
    resumed = settle_starts(settings, now, digits)
    assert resumed.start == ()
    opened(settings, resumed)


def test_a_study_that_is_not_there_or_has_nothing(settings: Settings, spec: StudySpec, digits: Dataset) -> None:
    searched(settings, spec, "one", [])
    for name, rule in (("one", "must have a complete trial"), ("on", r"search.like \(--like on\): .*did you mean one")):
        with pytest.raises(NotFoundError, match=rule):
            settle_starts(settings, replace(spec, name="new", like=[name]), digits)


def test_the_first_random_draws_stay_near_the_starts(spec: StudySpec) -> None:
    starts = (
        Hyperparameters(width=16, depth=1, learning_rate=0.05),
        Hyperparameters(width=20, depth=2, learning_rate=0.1),
    )
    near = spec.space.near(starts)
    assert (near["width"].low, near["width"].high) == (8, 34), "a quarter of 8 to 64 beyond both"
    assert near["learning_rate"].low == pytest.approx(0.05 / 10**0.5)
    assert near["learning_rate"].high == 0.1
    assert near["depth"].choices == (1, 2)
    for like, widest in ((["one"], 34), (None, 64)):
        own = replace(spec, start=starts, like=like)
        study = make_study(own)
        widths = [ask_in_memory(own, study)[1]["width"] for _ in range(40)]
        assert widths[:2] == [16, 20]
        assert (max(widths) <= 34) == (widest == 34)


def test_a_momentum_that_had_no_effect_is_left_behind(settings: Settings, spec: StudySpec, digits: Dataset) -> None:
    """The earlier study drew one with each optimizer; a space without momentum takes its configurations of adam."""
    drawn = spec_from_dict(
        {"data": {"source": "digits"}, "space": {"optimizer": "adam", "width": {"low": 8, "high": 64}, "depth": 1}}
    ).space
    both = {"optimizer": Choice(("sgd", "adam")), "momentum": Range(0.1, 0.9)}
    earlier = replace(spec, space=SearchSpace({**drawn.dimensions, **both}))
    study = opened(settings, replace(earlier, name="one"))
    found = []
    for number in range(6):
        trial = study.ask()
        found.append(earlier.space.suggest(trial))
        trial.set_user_attr(RESULT, {"best_val_accuracy": 0.5, "params": found[number].to_json(), "best_epoch": 1})
        study.tell(trial, 0.5)
    adam = {hp.width for hp in found if hp.optimizer == "adam"}
    notes: list[str] = []
    assert adam
    assert {hp.width for hp in best_of(settings, ["one"], drawn, "classification", notes.append)} == adam
    moved = best_of(settings, ["one"], earlier.space, "classification", notes.append)
    assert {hp.momentum for hp in moved if hp.optimizer == "adam"} == {0.1}
