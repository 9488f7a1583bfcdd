"""The presets of a space, and the study files that ``init`` writes for them."""

from __future__ import annotations

import re
import tomllib

import pytest

from pipelines.errors import SpecError
from pipelines.objectives import TASK_DIMENSIONS
from search.spec.defaults import PRESETS, STUDY_TEMPLATE, preset_starts, study_template
from search.spec.reading import default_spec, override, read_spec, spec_from_dict


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("source", ["digits", "table.csv"])
@pytest.mark.parametrize("preset", PRESETS)
def test_each_fits_every_kind_of_data(preset, source, task):
    spec = default_spec(source, preset=preset).for_task(task)
    assert spec.start
    for start in spec.start:
        assert spec.space.complete(start.to_json())[1] == []
    assert all(TASK_DIMENSIONS.get(name, task) == task for name in spec.space.dimensions)
    assert ("embedding" in spec.space.dimensions) == (source.endswith(".csv") and preset == "strong")


@pytest.mark.parametrize("preset", PRESETS)
def test_its_study_file_is_the_preset(preset, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(study_template(preset), encoding="utf-8")
    spec, default = read_spec(path), default_spec("digits", preset=preset)
    assert spec.space == default.space
    assert spec.start == tuple(type(start)(**start.to_json()) for start in default.start)


def test_the_study_file_of_a_preset_has_the_starts_of_the_source_that_is_put_into_it(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(study_template("strong").replace('source = "digits"', 'source = "people.csv"'), encoding="utf-8")
    spec, default = read_spec(path), default_spec("people.csv", preset="strong")
    assert spec.start == default.start
    assert {start.batch_size for start in spec.start} == {32}
    assert spec.for_size(100, 20).start == default.for_size(100, 20).start


@pytest.mark.parametrize("source", ["digits", "people.csv"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_in_a_file_brings_its_starts_unless_the_file_names_some(preset, source):
    document = {"data": {"source": source}, "space": {"preset": preset}}
    default = default_spec(source, preset=preset)
    assert spec_from_dict(document).start == default.start
    assert spec_from_dict(document | {"start": []}).start == ()
    given = spec_from_dict(document | {"start": [default.start[0].to_json()]})
    assert (given.start, given.has_default_starts) == (default.start[:1], False)
    assert override(spec_from_dict(document), trials=3).has_default_starts
    assert spec_from_dict(spec_from_dict(document).to_json()) == spec_from_dict(document)


def test_the_starts_of_a_preset_are_moved_into_a_space_that_replaces_some_of_it():
    document = {"data": {"source": "people.csv"}, "space": {"preset": "strong", "epochs": 10, "activation": "selu"}}
    spec = spec_from_dict(document)
    assert [(start.epochs, start.activation, start.width) for start in spec.start] == [(10, "selu", 256)] * 4


@pytest.mark.parametrize("preset", ["strong", "tiny"])
def test_the_starts_of_a_preset_are_comments_of_its_file(preset, tmp_path):
    text, path = study_template(preset), tmp_path / "study.toml"
    head, starts = text.split("for arrays with these:\n")
    assert {line[:2] for line in starts.splitlines() if line} == {"# "}
    path.write_text(head + "\n" + starts.replace("\n# ", "\n").removeprefix("# "), encoding="utf-8")
    expected = default_spec("digits", preset=preset)
    assert (read_spec(path).start, read_spec(path).has_default_starts) == (expected.start, False)


@pytest.mark.parametrize("preset", ["strong", "tiny"])
def test_the_dimensions_of_a_preset_are_comments_of_its_file(preset):
    named = rf"^# ((?:{'|'.join(PRESETS[preset]['space'])}) = )"
    space = study_template(preset).partition("\n[space]")[2].partition("\n[search]")[0]
    lines = re.findall(rf"{named}(.*)$", space, re.MULTILINE)
    written = tomllib.loads("\n".join("".join(parts) for parts in lines))
    assert written == PRESETS[preset]["space"]


def test_the_classic_file_is_the_template():
    assert study_template("classic") == STUDY_TEMPLATE


def test_a_given_dimension_replaces_that_of_the_preset_and_adds_to_it():
    document = {"data": {"source": "digits"}, "space": {"preset": "strong", "width": 64, "noise": 0.1}}
    space = spec_from_dict(document).space.to_json()
    assert (space["width"], space["noise"], space["optimizer"]) == (64, 0.1, ["adam", "adamw"])


def test_a_given_dimension_that_does_not_fit_the_task_is_refused_not_left_out():
    document = {"data": {"source": "digits"}, "space": {"preset": "strong", "label_smoothing": 0.1}}
    with pytest.raises(SpecError, match="label_smoothing: must be left out, because the task is a regression"):
        spec_from_dict(document).for_task("regression")


def test_an_option_keeps_what_the_preset_of_a_file_leaves_out_for_another_task():
    document = {"data": {"source": "ames.csv", "target": "price"}, "space": {"preset": "strong"}}
    spec = override(spec_from_dict(document), trials=3).for_task("regression", {"embedding": "no column has pieces"})
    assert not {"label_smoothing", "embedding"} & set(spec.space.dimensions)
    default = override(default_spec("digits"), seed=1)
    assert default.for_size(100, 20) == default_spec("digits", seed=1, preset="classic").for_size(100, 20)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("of_file", PRESETS)
def test_a_preset_as_an_option_replaces_space_and_starts_of_a_file(of_file, preset, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(study_template(of_file), encoding="utf-8")
    spec, default = override(read_spec(path), preset=preset), default_spec("digits", preset=preset)
    assert (spec.space, spec.start) == (default.space, default.start)


@pytest.mark.parametrize(("study", "expected"), [({}, (None, 60.0)), ({"trials": 9}, (9, 60.0))])
def test_a_timeout_as_an_option_replaces_the_default_number_of_trials(study, expected):
    spec = override(spec_from_dict({"study": study, "data": {"source": "digits"}}), timeout_s=60)
    assert (spec.trials, spec.timeout_s) == expected


def test_an_option_replaces_the_space_of_a_file():
    spec = override(spec_from_dict({"data": {"source": "digits"}, "space": {"width": 2048}}), preset="tiny")
    assert spec.space == default_spec("digits", preset="tiny").space


@pytest.mark.parametrize("preset", ["huge", 3, ["strong"]])
def test_an_unknown_one_is_refused(preset):
    with pytest.raises(SpecError, match=r"space\.preset: must be one of classic, strong, tiny, got"):
        spec_from_dict({"data": {"source": "digits"}, "space": {"preset": preset}})


def test_momentum_without_sgd_is_refused():
    with pytest.raises(SpecError, match=r"space\.momentum: must be left out where the optimizer is never sgd"):
        spec_from_dict({"data": {"source": "digits"}, "space": {"optimizer": ["adam", "lion"], "momentum": 0.9}})


def test_a_range_of_true_and_false_is_refused():
    with pytest.raises(SpecError, match=r"space\.residual: must be true or false, got"):
        spec_from_dict({"data": {"source": "digits"}, "space": {"residual": {"low": 0, "high": 1}}})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_study_file_for_data_of_ones_own(preset: str) -> None:
    text = study_template(preset, ["a"], "my wine.csv", 'the "quality"', "my wine")
    spec = spec_from_dict(tomllib.loads(text))
    assert (spec.name, spec.data.source, spec.data.target) == ("my wine", "my wine.csv", 'the "quality"')
    assert spec.like == ["a"]
    default = default_spec("my wine.csv", preset=preset)
    assert (spec.space, spec.start) == (default.space, default.start)
    _, starts = text.split("for a regression) with these:\n")
    written = tomllib.loads(starts.replace("\n# ", "\n").removeprefix("# "))["start"]
    assert written == preset_starts(preset, "my wine.csv")
