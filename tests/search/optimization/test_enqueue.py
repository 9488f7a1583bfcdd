"""Configurations of a user's own, which a study trains next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from databases import SPACE, ask, finish, opened
from optuna.trial import TrialState

import search
from pipelines.config import Hyperparameters
from pipelines.errors import InputError, NotFoundError, UnavailableError
from search.home.locks import study_lock
from search.home.settings import Settings, prepare_home, read_settings
from search.optimization.explanations import explain
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_study
from search.spec.dimensions import Choice, Value
from search.spec.rules import VALUES as VALUES_OF, Rule
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED, FACTS
from search.storage.stored_study import StoredStudy

VALUES = {"width": "32", "lr": "0.01", "depth": "2"}
VALUES_OF_START = {"depth": 1, "learning_rate": 0.05}
STARTS = (Hyperparameters(width=8, depth=1, learning_rate=0.05), Hyperparameters(width=9, depth=1, learning_rate=0.05))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    return settings


def begun(settings: Settings, spec: StudySpec, n_trials: int = 2) -> StoredStudy:
    study = opened(settings, spec)
    for _ in range(n_trials):
        finish(study, ask(study)[0], "COMPLETE", 0.5)
    return study


def test_it_is_trained_next_with_its_values(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec)
    result = search.enqueue(spec.name, VALUES, home=settings.home)
    assert (result.number, result.waiting, result.has_budget) == (2, 1, True)
    assert result.params["learning_rate"] == 0.01
    assert search.enqueue(spec.name, VALUES | {"width": "33"}, home=settings.home).waiting == 2
    study = opened(settings, spec)
    assert ask(study)[1] == {"width": 32, "learning_rate": 0.01, "depth": 2}
    assert ask(study)[1]["width"] == 33
    trial, drawn = ask(study)
    assert trial.number == 4
    assert drawn["width"] not in (32, 33)


def test_other_trials_draw_what_they_would_have_drawn(settings: Settings, spec: StudySpec) -> None:
    plain = replace(spec, name="plain", sampler="random")
    given = replace(plain, name="given")
    begun(settings, plain, 4)
    begun(settings, given, 2)
    search.enqueue("given", VALUES, home=settings.home)
    study = opened(settings, given)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    drawn = [[trial.params for trial in load_study(settings, name).get_trials()] for name in ("plain", "given")]
    assert drawn[0][:2] == drawn[1][:2]
    assert drawn[0][3] == drawn[1][3]


def test_start_configurations_come_before_it(settings: Settings, spec: StudySpec) -> None:
    begun(settings, replace(spec, start=STARTS), 1)
    assert search.enqueue(spec.name, VALUES, home=settings.home).number == 2
    study = opened(settings, replace(spec, start=STARTS))
    assert [ask(study)[1]["width"] for _ in range(2)] == [9, 32]
    rows = {row.number: row for row in leaderboard(load_study(settings, spec.name))}
    assert [(rows[n].is_start, rows[n].is_enqueued) for n in range(3)] == [(True, False), (True, False), (False, True)]


def test_it_is_shown_while_it_waits(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec)
    search.enqueue(spec.name, VALUES, home=settings.home)
    explained = explain(load_study(settings, spec.name), 2)
    assert explained.row.state == "WAITING"
    assert explained.row.params["width"] == 32
    assert "is enqueued and waits" in explained.text


def test_other_values_come_from_a_trial(settings: Settings, spec: StudySpec) -> None:
    study = begun(settings, spec)
    params = study.trial(1).params
    other = 1 if params["depth"] == 2 else 2
    result = search.enqueue(spec.name, {"depth": str(other)}, like=1, home=settings.home)
    assert result.params["width"] == params["width"]
    assert result.params["learning_rate"] == params["learning_rate"]
    with pytest.raises(NotFoundError, match=r"--like 9: must be a trial of study .*, 0 to 2"):
        search.enqueue(spec.name, {}, like=9, home=settings.home)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"width": "wide"}, 'width: must be a whole number from 1 to 2147483647, got "wide"'),
        ({"width": "65"}, "width: must be from 8 to 64, as in the space, got 65"),
        ({"widht": "8"}, "widht: unknown key"),
        ({"learning_rate": "0.1"}, "learning_rate: must be given once, got two values"),
        ({"dropout": "0.1"}, "dropout: must be 0.2, as in the space, got 0.1"),
        ({"width": "nan"}, "width: must be a whole number"),
    ],
)
def test_a_wrong_configuration(changes: dict[str, str], problem: str, settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec, 1)
    with pytest.raises(InputError) as error:
        search.enqueue(spec.name, VALUES | changes, home=settings.home)
    assert any(line.startswith(problem) for line in error.value.problems)
    assert load_study(settings, spec.name).n_trials == 1


def test_what_is_missing_is_named(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec, 1)
    with pytest.raises(InputError) as error:
        search.enqueue(spec.name, {"width": "8"}, home=settings.home)
    assert error.value.problems == ("depth: must be given; --like N takes what is not given from trial N",)


def test_every_dimension_can_be_set(settings: Settings, spec: StudySpec) -> None:
    space = SearchSpace({name: Choice(_two_values(rule)) for name, rule in VALUES_OF.items()})
    opened(settings, replace(spec, space=space))
    first, second = ({name: d.values[place] for name, d in space.searched.items()} for place in (0, 1))
    texts = {name: json.dumps(value).strip('"') for name, value in first.items()}
    assert search.enqueue(spec.name, texts, home=settings.home).params == first
    assert search.enqueue(spec.name, second, home=settings.home).params == second, "values that are no texts"
    changed = search.enqueue(spec.name, {"flip": "False"}, like=0, home=settings.home).params
    assert changed == first | {"flip": False}


def _two_values(rule: Rule) -> tuple[Value, ...]:
    if bool in rule.types:
        return True, False
    return (rule.names[-1], rule.names[0]) if rule.names else (0.5, 0.25) if float in rule.types else (2, 1)


def test_a_configuration_that_a_trial_has_is_refused(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec)
    search.enqueue(spec.name, VALUES, home=settings.home)
    with pytest.raises(InputError, match="must be new, but trial 2 has it"):
        search.enqueue(spec.name, VALUES, home=settings.home)
    with pytest.raises(InputError, match="must be new, but trial 0 has it"):
        search.enqueue(spec.name, {}, like=0, home=settings.home)


def test_a_study_that_does_not_exist_is_not_made(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec, 1)
    with pytest.raises(NotFoundError):
        search.enqueue("other", VALUES, home=settings.home)
    assert [study.name for study in search.studies(home=settings.home)] == [spec.name]


def test_a_study_in_a_search_is_refused(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec, 1)
    with study_lock(settings, spec.name), pytest.raises(UnavailableError, match="is being searched: interrupt it"):
        search.enqueue(spec.name, VALUES, home=settings.home)


def test_a_spent_budget_is_said(settings: Settings, spec: StudySpec) -> None:
    begun(settings, replace(spec, trials=2))
    assert not search.enqueue(spec.name, VALUES, home=settings.home).has_budget


def test_a_process_of_a_shared_database_takes_it_at_once(places: Settings, spec: StudySpec) -> None:
    study = opened(places, spec)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    params = {"width": 64, "learning_rate": 0.01, "depth": 1}
    assert SPACE.key(params)
    assert (opened(places, spec) if places.is_shared else study).enqueue(params) == 1
    study.refresh()
    assert study.trial(1).state == TrialState.WAITING
    assert ask(study)[1] == params


CONDITIONAL = SearchSpace(
    {
        **SPACE.dimensions,
        "optimizer": Choice(("sgd", "adam")),
        "momentum": Choice((0.0, 0.9)),
        "shape": Choice(("constant", "funnel")),
        "residual": Choice((False, True)),
    }
)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"optimizer": "adam", "momentum": "0.9"}, "momentum: must be left out, got 0.9: only sgd has it, and the"),
        ({"optimizer": "sgd", "shape": "funnel", "depth": "1"}, 'shape: must be left out, got "funnel": it narrows'),
        ({"optimizer": "sgd", "residual": "true", "depth": "1"}, "residual: must be left out, got true: it adds a"),
    ],
)
def test_a_value_without_effect_is_refused(
    settings: Settings, spec: StudySpec, values: dict[str, str], line: str
) -> None:
    study = begun(settings, replace(spec, space=CONDITIONAL))
    study.set_user_attr(FACTS, {"dataset": {"features": 64, "classes": 10}})
    with pytest.raises(InputError) as caught:
        search.enqueue(spec.name, VALUES | values, home=settings.home)
    assert str(caught.value).startswith(line)
    assert load_study(settings, spec.name).n_trials == 2


def test_a_value_of_another_trial_that_has_no_effect_is_left_behind(settings: Settings, spec: StudySpec) -> None:
    begun(settings, replace(spec, space=CONDITIONAL))
    given = VALUES | {"optimizer": "sgd", "momentum": "0.9", "shape": "funnel"}
    number = search.enqueue(spec.name, given, home=settings.home).number
    study = opened(settings, replace(spec, space=CONDITIONAL))
    trial = study.ask()
    CONDITIONAL.suggest(trial)
    finish(study, trial, "COMPLETE", 0.5)
    adam = search.enqueue(spec.name, {"optimizer": "adam"}, like=number, home=settings.home).params
    assert (adam["momentum"], adam["shape"], adam["width"]) == (0.0, "funnel", 32)
    flat = search.enqueue(spec.name, {"depth": "1"}, like=number, home=settings.home).params
    assert (flat["momentum"], flat["shape"]) == (0.9, "constant")


def test_a_value_of_another_trial_that_was_drawn_without_effect_is_no_problem(
    settings: Settings, spec: StudySpec
) -> None:
    study = begun(settings, replace(spec, space=CONDITIONAL))
    study.set_user_attr(FACTS, {"dataset": {"features": 64, "classes": 10}})
    usual = {"width": 32, "learning_rate": 0.01, "optimizer": "sgd", "momentum": 0.0, "shape": "constant"}
    drawn = study.enqueue(usual | {"depth": 1, "residual": True})
    trial = study.ask()
    CONDITIONAL.suggest(trial)
    finish(study, trial, "COMPLETE", 0.5)
    given = {"width": "24"}
    assert search.enqueue(spec.name, given, like=drawn, home=settings.home).params["residual"] is True
    with pytest.raises(InputError, match="residual: must be left out, got true"):
        search.enqueue(spec.name, given | {"residual": "true"}, like=drawn, home=settings.home)


def test_a_start_that_is_still_to_come_is_not_enqueued_too(settings: Settings, spec: StudySpec) -> None:
    spec = replace(spec, start=tuple(SPACE.hyperparameters({**VALUES_OF_START, "width": n}) for n in (8, 9, 10)))
    study = opened(settings, spec)
    finish(study, ask(study)[0], "COMPLETE", 0.5)
    with pytest.raises(InputError, match=r"but it is start\[2\] of the study, which is still to be trained"):
        search.enqueue(spec.name, VALUES_OF_START | {"width": 10}, home=settings.home)
    assert search.enqueue(spec.name, VALUES_OF_START | {"width": 11}, home=settings.home).waiting == 3


def test_time_that_is_used_up_is_said(settings: Settings, spec: StudySpec) -> None:
    study = begun(settings, replace(spec, trials=None, timeout_s=30.0))
    study.set_user_attr(ELAPSED, 30.5)
    assert not search.enqueue(spec.name, VALUES, home=settings.home).has_budget


def test_a_configuration_that_the_budget_has_no_room_for_is_said(settings: Settings, spec: StudySpec) -> None:
    begun(settings, replace(spec, trials=4))
    rooms = [
        search.enqueue(spec.name, VALUES | {"width": w}, home=settings.home).has_budget for w in ("30", "31", "33")
    ]
    assert rooms == [True, True, False]


def test_what_the_space_fixes_is_shown_while_it_waits(settings: Settings, spec: StudySpec) -> None:
    begun(settings, spec)
    search.enqueue(spec.name, VALUES, home=settings.home)
    rows = {row.number: row for row in search.trials(spec.name, home=settings.home)}
    fixed = {name: value for name, value in spec.space.to_json().items() if not isinstance(value, list | dict)}
    assert fixed
    assert fixed.items() <= rows[2].params.items()
