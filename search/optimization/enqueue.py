"""Enqueues configurations of the user's own, which a study trains next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.home.html import HtmlResult
from search.home.locks import SearchedError, study_lock
from search.home.settings import read_settings
from search.optimization.leaderboard import SHORT_NAMES, trial_row
from search.optimization.studies import load_own_study, load_writable_study
from search.optimization.studies.budget import has_used_budget
from search.spec import StudySpec, spec_from_dict
from search.spec.conditions import Sizes, broken_conditions, without_effect
from search.spec.space import SearchSpace
from search.storage import StoredStudy, storage_errors
from search.storage.attributes import ENQUEUED, FACTS, SPEC
from search.storage.sharing import exclusive_access

_PLACE = "enqueue, start[0]."


@dataclass(frozen=True, slots=True)
class Enqueued(HtmlResult):
    """A configuration that waits to be trained.

    Attributes:
        study: The study's name.
        number: The trial's number.
        params: The whole configuration.
        waiting: Number of trials that wait, this one included; they are trained in the order of their numbers.
        has_budget: Whether the study's budget has room for them.
    """

    study: str
    number: int
    params: dict[str, Any]
    waiting: int
    has_budget: bool


def enqueue(name: str, values: Mapping[str, object], *, like: int | None = None, home: Path | None = None) -> Enqueued:
    """Enqueues a configuration: the next run of the study, or one on a shared database now, trains it first.

    Args:
        name: The study.
        values: Hyperparameters by name, as texts or as they are.
        like: A trial whose other values are taken.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such study or trial.
        SpecError: The configuration is not one of the study's space, or a trial has it already.
        UnavailableError: Another process searches the study on an embedded database.
    """
    settings = read_settings(home)
    load_own_study(settings, name)  # a misspelled name must not create a study
    try:
        with storage_errors(settings), study_lock(settings, name) as own:
            study = load_writable_study(own, name)
            with exclusive_access(own, study):
                study.refresh()
                return _enqueue(study, dict(values), like)
    except SearchedError as error:
        raise UnavailableError(
            f"study {name!r}: is being searched: interrupt it with Ctrl-C, enqueue, then resume it with the same"
            " command; only a search on PostgreSQL can be given a configuration while it runs"
        ) from error


def _enqueue(study: StoredStudy, values: Mapping[str, object], like: int | None) -> Enqueued:
    spec = spec_from_dict(study.user_attrs[SPEC], "recorded study")
    twice = [name for short, name in SHORT_NAMES.items() if {short, name} <= values.keys()]
    if twice:
        raise SpecError([f"{name}: must be given once, got two values" for name in twice])
    given = {SHORT_NAMES.get(name, name): _value(given) for name, given in values.items()}
    configuration = _configuration(spec, _others(study, like, spec.space, given) | given)
    if problems := broken_conditions(spec.space, configuration, _sizes(study, configuration), given):
        raise SpecError(problems)
    params = spec.space.params(configuration)
    _require_new(study, spec, params)
    with study.transaction():
        # A trial's number says whether it has a start configuration: those that no trial has yet come first.
        for start in spec.start[study.n_trials :]:
            study.enqueue(spec.space.params(start))
        number = study.enqueue(params)
    waiting = len(study.get_trials(deepcopy=False, states=[TrialState.WAITING]))
    has_room = spec.trials is None or study.n_trials <= spec.trials
    has_budget = has_room and not has_used_budget(study, spec)
    return Enqueued(study.study_name, number, configuration.to_json(), waiting, has_budget)


def _others(study: StoredStudy, like: int | None, space: SearchSpace, given: Mapping[str, object]) -> dict[str, Any]:
    """The values of a trial that have an effect beside the given ones."""
    if like is None:
        return {}
    if not 0 <= like < study.n_trials:
        raise NotFoundError(f"--like {like}: must be a trial of study {study.study_name!r}, 0 to {study.n_trials - 1}")
    params = trial_row(study.trial(like), study.user_attrs).params
    idle = without_effect({**params, **given})
    return {name: value for name, value in params.items() if name in space.searched and name not in idle}


def _value(given: object) -> object:
    """The value of a text: a number, true or false, or the text itself."""
    if not isinstance(given, str):
        return given
    for kind in (int, float):
        with suppress(ValueError):
            return kind(given)
    return {"true": True, "false": False}.get(given.lower(), given)


def _configuration(spec: StudySpec, given: Mapping[str, object]) -> Hyperparameters:
    """The configuration, checked as a study file's ``[[start]]`` is."""
    try:
        return spec_from_dict(spec.to_json() | {"start": [dict(given)]}, "enqueue").start[0]
    except SpecError as error:
        raise SpecError(_named(problem.removeprefix(_PLACE) for problem in error.problems)) from error


def _named(problems: Iterable[str]) -> Iterator[str]:
    """The problems of a configuration; those that are not given have one line, and the option that takes them."""
    missing = []
    for problem in problems:
        name, _, rule = problem.partition(": ")
        if rule.startswith("must be given"):
            missing.append(name)
        else:
            yield problem
    if missing:
        yield f"{', '.join(missing)}: must be given; --like N takes what is not given from trial N"


def _sizes(study: StoredStudy, configuration: Hyperparameters) -> Sizes | None:
    """The sizes of the study's data, as far as they are recorded: what an embedding adds is not."""
    data = study.user_attrs.get(FACTS, {}).get("dataset")
    if not data or "features" not in data or configuration.embedding == "piecewise":
        return None
    return data["features"], data["classes"] or 1, 0


def _require_new(study: StoredStudy, spec: StudySpec, params: Mapping[str, Any]) -> None:
    space, trials = spec.space, study.get_trials(deepcopy=False)
    key = space.key(params)
    known = [trial.number for trial in trials if trial.state != TrialState.FAIL and _key(trial, space) == key]
    coming = [n for n, start in enumerate(spec.start) if n >= len(trials) and space.key(space.params(start)) == key]
    if known or coming:
        start = f"it is start[{coming[0]}] of the study, which is still to be trained" if coming else ""
        owner = f"trial {known[0]} has it" if known else start
        raise SpecError(f"study {study.study_name!r}: an enqueued configuration must be new, but {owner}")


def _key(trial: FrozenTrial, space: SearchSpace) -> tuple[object, ...] | None:
    params = trial.system_attrs.get(ENQUEUED, {}) | trial.params
    return space.key(params) if params.keys() >= space.searched.keys() else None
