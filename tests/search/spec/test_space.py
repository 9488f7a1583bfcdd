from __future__ import annotations

import json
import math
import warnings

import optuna
import pytest
from hypothesis import given, settings, strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, GridSampler, RandomSampler, TPESampler

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from search.spec.dimensions import Choice, Fixed, Range, contains, count, values
from search.spec.reading import spec_from_dict
from search.spec.space import KERAS_LEARNING_RATES, NAMES, SearchSpace
from search.spec.study_spec import default_space

optuna.logging.set_verbosity(optuna.logging.ERROR)


def dimension(value_strategy, ends):
    fixed = value_strategy.map(Fixed)
    choice = st.lists(value_strategy, min_size=1, max_size=4, unique=True).map(lambda v: Choice(tuple(v)))
    return st.one_of(fixed, choice, ends) if ends is not None else st.one_of(fixed, choice)


@st.composite
def integer_range(draw, low, high):
    first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    step = draw(st.none() | st.integers(1, last - first)) if last > first else None
    return Range(first, last, log=step is None and draw(st.booleans()), step=step)


@st.composite
def float_range(draw, low, high):
    first, last = sorted(draw(st.tuples(st.floats(low, high), st.floats(low, high))))
    step = (last - first) / draw(st.integers(1, 1000)) if draw(st.booleans()) else None
    if not step or not math.isfinite(step) or step < 1e-9:
        return Range(first, last, log=first > 0 and draw(st.booleans()))
    return Range(first, last, step=step)


def integers(low, high):
    return dimension(st.integers(low, high), integer_range(low, high))


SPACES = st.fixed_dictionaries(
    {},
    optional={
        "width": integers(1, 4096),
        "depth": integers(1, 8),
        "dropout": dimension(st.floats(0, 0.99), float_range(0.0, 0.99)),
        "optimizer": dimension(st.sampled_from(sorted(KERAS_LEARNING_RATES)), None),
        "learning_rate": dimension(st.floats(1e-6, 10), float_range(1e-6, 10.0)),
        "schedule": dimension(st.sampled_from(["constant", "cosine"]), None),
        "epochs": integers(1, 300),
        "batch_size": integers(1, 10_000),
    },
).map(SearchSpace)


def lies_in(value, dimension) -> bool:
    """The rule in the words of the study file, independent of Optuna's distributions."""
    if isinstance(dimension, Fixed):
        return value == dimension.value
    if isinstance(dimension, Choice):
        return value in dimension.values
    steps = (value - dimension.low) / dimension.step if dimension.step else 0
    return dimension.low <= value <= dimension.high and steps == pytest.approx(round(steps), abs=1e-6)


def test_a_space_names_all_eight_in_order_whatever_was_given():
    space = SearchSpace({"epochs": Fixed(3), "width": Choice((8, 16))})
    assert tuple(space.dimensions) == NAMES
    assert tuple(space.searched) == ("width",)
    assert space.dimensions["dropout"] == Fixed(Hyperparameters().dropout)


def test_distributions_of_the_default_space():
    assert default_space().distributions() == {
        "width": IntDistribution(32, 1024, log=True),
        "depth": IntDistribution(1, 4),
        "dropout": FloatDistribution(0.0, 0.5),
        "optimizer": CategoricalDistribution(("sgd", "rmsprop", "adam")),
        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
        "schedule": CategoricalDistribution(("constant", "cosine")),
        "epochs": IntDistribution(5, 40),
        "batch_size": CategoricalDistribution((32, 64, 128, 256)),
    }
    assert default_space().highest("epochs") == 40


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        (Fixed(7), [7]),
        (Choice((4, 2)), [4, 2]),
        (Range(1, 4), [1, 2, 3, 4]),
        (Range(10, 100, step=40), [10, 50, 90]),
        (Range(0.0, 0.5, step=0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (Range(0.3, 0.3), [0.3]),
    ],
)
def test_values(dimension, expected):
    assert values(dimension) == expected
    assert count(dimension) == len(expected)


def test_a_continuous_range_has_no_count():
    assert count(Range(0.0, 0.5)) is None


def test_a_step_that_misses_high_ends_below_it_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = SearchSpace({"width": Range(10, 100, step=40), "dropout": Range(0.0, 0.5, step=0.2)})
        assert space.distributions()["width"].high == 90
        assert space.distributions()["dropout"].high == 0.4
    assert space.highest("width") == 90
    assert not contains(space.dimensions["width"], 100)


def read_space(table) -> SearchSpace:
    """A space as a study file has it."""
    return spec_from_dict({"data": {"source": "digits"}, "space": table}).space


def test_integers_given_for_floats_mean_floats():
    space = read_space({"dropout": {"low": 0, "high": 0.5}, "learning_rate": [1, 2]})
    same = read_space({"dropout": {"low": 0.0, "high": 0.5}, "learning_rate": [1.0, 2.0]})
    assert space.distributions()["dropout"] == FloatDistribution(0.0, 0.5)
    assert json.dumps(space.to_json()) == json.dumps(same.to_json())
    assert json.dumps(read_space({"dropout": 0}).to_json()) == json.dumps(read_space({"dropout": 0.0}).to_json())


def test_a_learning_rate_left_out_follows_the_optimizer():
    space = SearchSpace({"optimizer": Choice(("sgd", "adam"))})
    assert space.hyperparameters({"optimizer": "sgd"}).learning_rate == 0.01
    assert space.hyperparameters({"optimizer": "adam"}).learning_rate == 0.001
    assert read_space(space.to_json()) == space


def test_params_of_another_space_are_refused():
    space = SearchSpace({"width": Range(1, 9), "depth": Range(1, 2)})
    with pytest.raises(SpecError, match=r"^space: the trial's params must be width, depth, got width$"):
        space.hyperparameters({"width": 3})


def test_params_are_the_searched_values_of_a_configuration():
    space = SearchSpace({"width": Range(1, 9), "learning_rate": Range(0.1, 0.2)})
    params = space.params(Hyperparameters(width=4, learning_rate=0.15, depth=1))
    assert params == {"width": 4, "learning_rate": 0.15}


def test_grid_refuses_continuous_ranges_and_too_many_configurations():
    with pytest.raises(SpecError) as caught:
        SearchSpace({"dropout": Range(0.0, 0.5), "learning_rate": Range(0.1, 1.0, step=0.1)}).grid()
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("space.dropout: must be a value, a list or a range with a step")
    with pytest.raises(SpecError, match=r"at most 100000 configurations .*, got 2000000; give the ranges a step"):
        SearchSpace({"width": Range(1, 1_000_000), "depth": Choice((1, 2))}).grid()


def test_the_grid_sampler_visits_every_configuration_once():
    space = SearchSpace(
        {"width": Range(8, 24, step=8), "dropout": Range(0.0, 0.2, step=0.1), "optimizer": Choice(("sgd", "adam"))}
    )
    seen = []

    def objective(trial):
        seen.append(space.suggest(trial))
        return 0.0

    optuna.create_study(sampler=GridSampler(space.grid(), seed=0)).optimize(objective)
    assert space.size() == len(seen) == len(set(seen)) == 18


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler, CmaEsSampler])
def test_optunas_samplers_stay_inside_the_default_space(sampler):
    options = {} if sampler is RandomSampler else {"n_startup_trials": 3}
    space, study = default_space(), optuna.create_study(sampler=sampler(seed=1, **options))
    for _ in range(12):
        trial = study.ask()
        found = space.suggest(trial)
        assert all(lies_in(getattr(found, name), d) for name, d in space.dimensions.items())
        study.tell(trial, found.dropout)


@pytest.mark.filterwarnings("ignore:The distribution is specified by")  # steps of 17 digits
@settings(max_examples=200)
@given(SPACES, st.integers(0, 1000))
def test_what_is_suggested_lies_in_the_space(space, seed):
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    for _ in range(3):
        trial = study.ask()
        found = space.suggest(trial)
        for name, dimension in space.searched.items():
            assert lies_in(getattr(found, name), dimension)
            assert contains(dimension, getattr(found, name))
        for name in ("width", "depth", "epochs", "batch_size"):
            assert type(getattr(found, name)) is int
        assert space.hyperparameters(trial.params) == found
        assert space.params(found) == trial.params
        assert space.complete(trial.params)[1] == []
        asked = study.ask(space.distributions())
        assert asked.params.keys() == trial.params.keys()


@pytest.mark.filterwarnings("ignore:The distribution is specified by")  # steps of 17 digits
@settings(max_examples=200)
@given(SPACES, SPACES)
def test_json_says_which_spaces_are_equal(one, other):
    text = json.dumps(one.to_json(), allow_nan=False)
    assert read_space(json.loads(text)) == one
    assert (text == json.dumps(other.to_json())) == (one == other)


@pytest.mark.filterwarnings("ignore:The distribution is specified by")  # steps of 17 digits
@settings(max_examples=200)
@given(SPACES)
def test_size_counts_the_values_that_are_in_the_space(space):
    if space.size() is None:
        assert any(count(dimension) is None for dimension in space.dimensions.values())
        return
    listed = {name: values(dimension) for name, dimension in space.dimensions.items()}
    assert space.size() == math.prod(len(set(options)) for options in listed.values())
    for name, options in listed.items():
        assert all(contains(space.dimensions[name], option) for option in options)


def test_the_default_learning_rates_are_keras_own():
    import keras  # seconds that only this test needs

    for name, rate in KERAS_LEARNING_RATES.items():
        assert float(keras.optimizers.get(name).learning_rate) == pytest.approx(rate), name
