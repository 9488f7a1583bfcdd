"""A study file (TOML), or the same as a dict, becomes a StudySpec, or an error with every problem in it.

Defaults of what a file leaves out:

* ``[study]``: the name is that of the source, the seed 0. Without ``trials`` and ``timeout_s`` the budget is
  ``DEFAULT_TRIALS``; with one of them, that one alone.
* ``[space]`` as a whole: the classic preset. A dimension that an existing ``[space]`` leaves out is not
  searched, as with Optuna and scikit-learn: it stays at its value in ``Hyperparameters()``, the learning
  rate at Keras's default for the trial's optimizer.
* ``[[start]]`` as a whole, where ``[space]`` names a preset: the preset's for the source, with what the space
  fixes, the nearest number of a range and the first value of a list that lacks theirs. ``start = []`` leaves them out.
* In a ``[[start]]``: what the space fixes; the learning rate (Keras's default for the optimizer); the
  schedule (constant); what a dimension beyond the basic ones is where it is not named, such as ReLU. The others must be
  given, and every value must lie in the space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import InputError, SpecError
from pipelines.files.sources import stem_of
from pipelines.objectives import OBJECTIVES
from search.home.text import printable
from search.spec.defaults import DEFAULT_PRESET, PRESETS, preset_starts
from search.spec.dimensions import Range, count, values
from search.spec.rules import NAME_RULE, TABLES, is_name
from search.spec.schema import Table, load, parse, show
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec, WorkerSettings

MAX_WEIGHTS = 2**31


def read_spec(path: str | Path) -> StudySpec:
    """Reads a study file.

    Args:
        path: A TOML file. Paths inside it are relative to the working directory.

    Raises:
        SpecError: Every problem of the file, a line each.
    """
    return spec_from_dict(load(path), str(path))


def default_spec(source: str | Path, **options: object) -> StudySpec:
    """The study of ``run SOURCE`` without a file: a preset's space and starts.

    Args:
        source: A built-in dataset or the path of a file.
        **options: As for ``override``; without a budget it is ``DEFAULT_TRIALS``.

    Raises:
        SpecError: An option breaks a rule.
    """
    source = checked_source(source)
    is_own = options.get("preset") is not None
    preset = str(options.pop("preset", None) or DEFAULT_PRESET)
    spec = _with({"data": {"source": source}, "space": {"preset": preset}}, options)
    return replace(spec, has_default_space=not is_own)


def checked_source(source: object) -> str:
    """The name or path of a source that Python code gave.

    Raises:
        SpecError: It is something else, such as the data itself.
    """
    if not isinstance(source, str | Path):
        rule = "must be the name of a dataset or the path of a file"
        raise SpecError(f"data.source: {rule}, got a {type(source).__name__}: search.save_data writes data to a file")
    return str(source)


def require_spec(spec: object) -> None:
    """Checks that a study was given by its specification.

    Raises:
        InputError: It was not, but by its name, say.
    """
    if not isinstance(spec, StudySpec):
        raise InputError(
            f"spec: must be a StudySpec, got {spec!r}: search.default_spec makes that of a dataset, search.resumed_spec"
            " that of a study, search.read_spec that of a file"
        )


def _moved(starts: Sequence[Hyperparameters], space: SearchSpace) -> tuple[Hyperparameters, ...]:
    """Starts that the user did not give, in a changed space; those that it has no room for are left out."""
    adapted = [space.adapted(start.to_json()) for start in starts]
    return tuple(Hyperparameters(**values) for values, problems in adapted if not problems)


def override(spec: StudySpec, **options: object) -> StudySpec:
    """A copy of a study with some values replaced.

    A preset replaces the space and the starts. A timeout alone takes the place of the default number of trials.

    Args:
        spec: The study.
        **options: Values by their key in the study file, such as ``trials`` or ``slots``; None leaves the study's.

    Raises:
        InputError: A name was given instead of a specification.
        SpecError: An option breaks a rule.
    """
    require_spec(spec)
    document, named = spec.to_json(), {key for key, value in options.items() if value is not None}
    if spec.has_default_trials:
        del document["study"]["trials"]
    moves_starts = spec.has_default_starts and bool(named & TABLES["space"].keys())
    if "preset" in named or moves_starts:
        del document["start"]
    found = _with(document, options)
    if "preset" in named:
        return found
    return replace(
        found,
        start=_moved(spec.start, found.space) if moves_starts else found.start,
        of_preset=spec.of_preset - named,
        has_default_starts=spec.has_default_starts,
        has_default_space=spec.has_default_space,
    )


def spec_from_dict(document: Mapping[str, Any], place: str = "spec") -> StudySpec:
    """Checks a study given as the tables of its file.

    Args:
        document: The tables ``study``, ``data``, ``space``, ``search``, ``workers`` and ``start``.
        place: The document's name in error messages: the file's path.

    Raises:
        SpecError: Every problem of the document, a line each.
    """
    tables, problems = parse(document)
    if "source" in tables.get("data", {}):
        about_name = _fill_study(tables["study"], tables["data"]["source"])
        problems += [] if any(line.startswith("study.name:") for line in problems) else about_name
        problems += _fill_task(tables["data"], tables["search"].get("objective"))
    problems += _check_clock(tables.get("search", {}))
    if "space" in tables:
        space = SearchSpace(tables["space"])
        problems += _check_space(space, tables["space"], tables["search"].get("sampler"))
        starts = [(i, space.complete(given)) for i, given in enumerate(tables["start"]) if given is not None]
        problems += [f"start[{i}].{line}" for i, (_, lines) in starts for line in lines]
    if problems:
        raise SpecError([printable(f"{place}, {problem}") for problem in problems])
    preset = None if "start" in document else document.get("space", {}).get("preset")
    if preset:
        adapted = [space.adapted(start) for start in preset_starts(preset, tables["data"]["source"])]
        starts = [(i, found) for i, found in enumerate(adapted) if not found[1]]
    return StudySpec(
        of_preset=_of_preset(document.get("space", {})),
        has_default_starts=preset is not None,
        has_default_trials="trials" not in tables["study"],
        data=DataConfig(**tables["data"]),
        space=space,
        start=tuple(Hyperparameters(**values) for _, (values, _) in starts),
        workers=WorkerSettings(**tables["workers"]),
        **tables["study"],
        **tables["search"],
    )


def _with(document: dict[str, Any], options: Mapping[str, object]) -> StudySpec:
    """Puts options at their place in the study file, so that one set of rules serves both."""
    # A preset replaces the space, in which other options fix dimensions.
    for key, value in sorted(options.items(), key=lambda item: item[0] != "preset"):
        if value is not None:
            table = next((name for name, rules in TABLES.items() if key in rules), None)
            before = {} if key == "preset" or table is None else document.get(table, {})
            document |= {key: value} if table is None else {table: before | {key: value}}
    return spec_from_dict(document, "options")


def _of_preset(given: Mapping[str, Any]) -> frozenset[str]:
    """The dimensions of a space that its preset brought."""
    preset = PRESETS.get(str(given.get("preset")), {"space": {}})
    return frozenset(preset["space"]) - frozenset(given)


def _fill_study(study: Table, source: str) -> list[str]:
    """Fills in the name and the budget.

    Returns:
        The problem, if the source's name cannot be the study's.
    """
    if "timeout_s" in study:
        study.setdefault("trials", None)
    name = study.setdefault("name", stem_of(source))
    rule = f"must be given, because the source's name breaks the rule: {NAME_RULE}"
    return [] if is_name(name) else [f"study.name: {rule}, got {show(name)}"]


def _fill_task(data: Table, name: str | None) -> list[str]:
    """Fills in the task of an objective.

    Returns:
        The problem, if the study asks for another task.
    """
    task = OBJECTIVES[name].task if name else None
    if task is None:
        return []
    if data.get("task", "auto") == "auto":
        data["task"] = task
    return [] if data["task"] == task else [f"data.task: must be {task} for {name}, got {show(data['task'])}"]


def _check_clock(search: Table) -> Iterator[str]:
    if search.get("deterministic") is False and "virtual_slots" in search:
        yield "search.virtual_slots: must be left out with deterministic = false, which has no virtual clock"


def _check_space(space: SearchSpace, given: Table, sampler: str | None) -> Iterator[str]:
    """The problems of a space whose dimensions are each right."""
    if given == {}:
        yield "space: must name a dimension, got {}; leave [space] out for the classic preset"
    width, depth = space.highest("width"), space.highest("depth")
    weights = (depth - 1) * width**2 + 3 * width  # with one input and two classes, the fewest there can be
    if weights > MAX_WEIGHTS:
        got = f"{weights:,} with width {width} and depth {depth}, {weights * 4 / 1e9:,.0f} GB of memory"
        yield f"space.width: must keep a network at {MAX_WEIGHTS:,} weights or fewer, got {got}; lower one"
    searches_numbers = any(isinstance(d, Range) and count(d) != 1 for d in space.searched.values())
    if "momentum" in given and "sgd" not in values(space.dimensions["optimizer"]):
        yield "space.momentum: must be left out where the optimizer is never sgd"
    if sampler == "cmaes" and not searches_numbers:
        yield 'search.sampler: must not be "cmaes" without a range in the space, got "cmaes"; use "tpe"'
    if sampler == "grid":
        try:
            space.grid()
        except SpecError as error:
            yield from error.problems
