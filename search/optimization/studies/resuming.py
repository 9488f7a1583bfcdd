"""The rules of resuming: what an existing study keeps, and which settings may differ from those it was started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import SpecError
from pipelines.files.sources import SOURCES
from search.devices.precision import AS_ASKED, PrecisionRule
from search.home.settings import Settings, read_settings
from search.optimization.studies.loading import (
    is_begun,
    load_own_study,
    load_study,
    precision_rule,
    recorded_attributes,
    recorded_spec,
    with_file,
)
from search.spec import StudySpec, default_spec, override
from search.spec.defaults import PRESETS
from search.spec.space import SearchSpace
from search.storage import storage_errors
from search.storage.attributes import CHANGED_OVER, FINGERPRINT, SPEC, VIRTUAL_SLOTS

_FILLED_IN = ("scaling", "folds", "task", "group_draw")
"""Keys of ``[data]`` that a study takes from its record where they are not given."""


def resumed_spec(study: str, /, *, home: Path | None = None, **options: object) -> StudySpec:
    """The specification of an existing study, with which it resumes.

    Args:
        study: The study's name.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        **options: As for ``override``. A budget takes the place of the recorded one, which may have both limits; a
            name makes another study with the same settings.

    Raises:
        NotFoundError: There is no such study, another program made it, or its file is no longer there.
        SpecError: An option breaks a rule, or the budget of an interrupted study is not known.
        UnavailableError: The database cannot be used.
    """
    settings = read_settings(home)
    with storage_errors(settings):
        attributes = load_own_study(settings, study).user_attrs
    spec = with_file(replace(recorded_spec(attributes[SPEC]), name=study), settings)
    has_budget = options.get("trials") is not None or options.get("timeout_s") is not None
    if has_budget:
        spec = replace(spec, trials=None, timeout_s=None)
    elif spec.budget == "auto":
        spec = with_whole_budget(spec, attributes)
    return override(spec, **options)


def with_whole_budget(spec: StudySpec, attributes: Mapping[str, Any]) -> StudySpec:
    """The study with the whole of its recorded budget, where trials and seeds share it.

    Args:
        spec: The study.
        attributes: Of the existing study.

    Raises:
        SpecError: Only the part of it that searches is recorded.
    """
    then = recorded_spec(attributes[SPEC])
    trials, timeout_s = then.trials, then.timeout_s
    if "budget" in attributes.get(CHANGED_OVER, {}):
        trials, timeout_s = attributes[CHANGED_OVER]["budget"]
    elif then.budget == "auto":
        why = "it was interrupted before its finalists, and only the part for trials is recorded"
        raise SpecError(f"study {spec.name!r}: its budget must be given, because {why}: give --trials or --timeout")
    return replace(spec, trials=trials, timeout_s=timeout_s)


def as_recorded(settings: Settings, spec: StudySpec) -> StudySpec:
    """The study as it was recorded, where it exists, in what is not given now.

    That is the budget, the scaling, the folds, the draw of groups, the objective, the task, and how many trials keep
    their model files.

    Raises:
        SpecError: Something else of ``[data]`` is not what it was.
    """
    recorded = recorded_attributes(settings, spec.name).get(SPEC)
    if not recorded:
        return spec
    then = recorded_spec(recorded)
    _require_same_data(spec, then)
    filled_in = {key: getattr(spec.data, key) or getattr(then.data, key) for key in ("scaling", "folds", "group_draw")}
    data = replace(spec.data, **filled_in)
    spec = replace(spec, data=data, keep_models=spec.keep_models or then.keep_models)
    if spec.has_default_budget:
        spec = replace(spec, trials=then.trials, timeout_s=then.timeout_s)
    if spec.deterministic is not False:
        spec = replace(spec, virtual_slots=spec.virtual_slots or then.virtual_slots)
    if spec.data.task == "auto":
        return spec
    task = spec.data.task or then.data.task
    objective = spec.objective or (then.objective if task == then.data.task else None)
    return replace(spec, objective=objective, data=replace(data, task=task))


def keep_recorded_defaults(settings: Settings, spec: StudySpec) -> StudySpec:
    """Takes the space and the starts of an existing study where the user gave none: other versions have others.

    Starts of ``like`` were chosen when the study was started: the earlier studies may have better ones now.
    """
    if not is_begun(settings, spec.name):
        return spec
    then = recorded_spec(load_study(settings, spec.name).user_attrs[SPEC])
    if spec.of_preset and not spec.has_default_space:
        spec = replace(spec, space=_with_recorded_ranges(spec, then))
    own = () if spec.has_default_starts else spec.start
    if spec.like is not None and spec.like == then.like and set(own) <= set(then.start):
        spec = replace(spec, start=then.start)
    if not spec.has_default_starts or spec.like not in (None, then.like):
        return spec
    if not spec.has_default_space:
        return replace(spec, start=then.start, like=then.like)
    space = SearchSpace({**then.space.dimensions, **spec.own_dimensions})
    return replace(spec, start=then.start, like=then.like, space=space, of_preset=frozenset())


def _with_recorded_ranges(spec: StudySpec, then: StudySpec) -> SearchSpace:
    """The space with the recorded ranges of what its preset brought: the preset of another version may have others.

    Another preset of this version is a change by the user, which stays.
    """
    brought = spec.of_preset & spec.space.dimensions.keys()
    recorded = {name: then.space.dimensions.get(name) for name in brought}
    for name in PRESETS:
        preset = default_spec(spec.data.source, preset=name, name=spec.name)
        for begun in (preset, replace(preset, has_default_space=True).narrowed()):
            if recorded == {name: begun.space.dimensions.get(name) for name in brought}:
                return spec.space
    if None in recorded.values() or then.space.dimensions.keys() != spec.space.dimensions.keys():
        return spec.space
    own = spec.space.dimensions
    return SearchSpace({name: then.space.dimensions[name] if name in brought else own[name] for name in own})


def require_resumable(spec: StudySpec, recorded: Mapping[str, Any], fingerprint: str) -> None:
    """Checks that an existing study may continue with these settings.

    Args:
        spec: The study as it would continue.
        recorded: The attributes of the existing study.
        fingerprint: Of the dataset now.

    Raises:
        SpecError: The study searches something else, or on other rows, in another precision or with another clock.
    """
    _require_same(spec, recorded[SPEC], fingerprint, recorded.get(FINGERPRINT, fingerprint))
    _require_same_precision(spec, precision_rule(recorded))
    _require_same_clock(spec, recorded)


def _require_same(spec: StudySpec, recorded: dict[str, Any], fingerprint: str, recorded_fingerprint: str) -> None:
    """A study's budget may change from run to run; what it searches, and on what, may not."""
    before = recorded_spec(recorded)
    now, then = (_fixed(document) for document in (spec.to_json(), _at_new_path(before, spec).to_json()))
    changed = [place for place in now if now[place] != then[place]]
    if fingerprint != recorded_fingerprint and not {"data", "data.folds"} & set(changed):
        changed.append(f"the rows of {spec.data.source} or how this version reads them")
    _require_no_change(spec, changed)


def _require_same_data(spec: StudySpec, then: StudySpec) -> None:
    """Checks what a user always gives, before the rest of ``[data]`` is taken from the record: it may not fit."""
    both = (spec, _at_new_path(then, spec))
    new, old = ({k: v for k, v in each.to_json()["data"].items() if k not in _FILLED_IN} for each in both)
    _require_no_change(spec, [f"data.{key}" for key in {**old, **new} if old.get(key) != new.get(key)])


def _at_new_path(then: StudySpec, now: StudySpec) -> StudySpec:
    """The recorded study with the new path of its file, where that has the same name: its rows are compared later."""
    sources = [spec.data.source for spec in (then, now)]
    if set(sources) & set(SOURCES) or len({Path(source).name for source in sources}) > 1:
        return then
    return replace(then, data=replace(then.data, source=now.data.source))


def _require_no_change(spec: StudySpec, changed: Sequence[str]) -> None:
    if changed:
        is_source = spec.name in SOURCES  # which run takes for the data
        alone = "the command that started it" if is_source else f"run {spec.name!r} alone"
        raise SpecError(
            f"study {spec.name!r}: must be resumed with its own settings, but {' and '.join(changed)} changed:"
            f" undo the change, or start another study with --study NAME; {alone} resumes it"
        )


def _fixed(document: dict[str, Any]) -> dict[str, object]:
    """The settings that no run of a study may change, by their place in the study file."""
    searched = [("search", key) for key in ("objective", "sampler", "pruner", "like")]
    keys = (("study", "seed"), *searched)
    fixed = {f"{table}.{key}": document.get(table, {}).get(key) for table, key in keys}
    data = dict(document["data"])
    fixed["data.folds"], fixed["data.group_draw"] = data.pop("folds", 1), data.pop("group_draw", None)
    return fixed | {"data": data} | {table: document.get(table) for table in ("space", "start")}


def _require_same_precision(spec: StudySpec, kept: PrecisionRule) -> None:
    asked = spec.workers.precision
    if asked not in (None, "auto", kept):
        raise _other_setting("workers.precision (--precision)", spec, AS_ASKED[kept], asked)


def _require_same_clock(spec: StudySpec, recorded: Mapping[str, Any]) -> None:
    was = VIRTUAL_SLOTS in recorded
    if spec.deterministic not in (None, was):
        raise _other_setting("search.deterministic", spec, str(was).lower(), str(spec.deterministic).lower())
    slots = recorded[SPEC].get("search", {}).get("virtual_slots", recorded.get(VIRTUAL_SLOTS))
    if spec.virtual_slots not in (None, slots, recorded.get(VIRTUAL_SLOTS)):  # a larger machine may have added some
        raise _other_setting("search.virtual_slots", spec, slots or "none", spec.virtual_slots)


def _other_setting(place: str, spec: StudySpec, kept: object, given: object) -> SpecError:
    return SpecError(
        f"{place}: must be that of study {spec.name!r}, {kept}, got {given}: leave it out, or start another study with"
        " --study NAME"
    )
