"""The correction of a forecast by the earlier studies of a home: their times beside the same forecast of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipelines.errors import MlpSearchError
from search.devices.work import Shape
from search.home.settings import Settings
from search.optimization.provenance import machine
from search.optimization.studies import load_study, precision_rule, study_names
from search.spec import spec_from_dict
from search.storage import StoredStudy
from search.storage.attributes import ELAPSED, FACTS, SPEC
from search.training.cost import Cost
from search.training.simulation import Timetable, simulate

_N_STUDIES = 3
"""The newest studies count: their code and their load are most like today's."""
_N_TRIALS = 4
_REPETITIONS = 3


def slowness(settings: Settings, devices: Sequence[str], cost: Cost, startup_s: float, n_folds: int = 1) -> list[float]:
    """The times of earlier studies of this machine, as multiples of this forecast of them.

    Args:
        settings: Has the home; on a shared database the time of a study is not that of one process.
        devices: Of each slot; studies on others do not count.
        cost: Of a trial, as measured now.
        startup_s: Seconds before the first trial begins.
        n_folds: The networks of a trial that were measured; studies with others do not count.
    """
    found: list[float] = []
    if settings.is_shared:
        return found
    for name in reversed(study_names(settings)):
        study = load_study(settings, name)
        facts = study.user_attrs.get(FACTS, {})
        if facts.get("machine") == machine(devices) and facts.get("dataset", {}).get("folds", 1) == n_folds:
            found += _slowness(study, len(devices), cost, startup_s)
        if len(found) == _N_STUDIES:
            break
    return found


def _slowness(study: StoredStudy, n_slots: int, cost: Cost, startup_s: float) -> Iterator[float]:
    """The factor of one study; none where it is too short, or of a version that recorded less."""
    attributes: dict[str, Any] = study.user_attrs
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    n_trials = states.count("COMPLETE") + states.count("PRUNED")
    data = attributes[FACTS].get("dataset", {})
    if (
        n_trials < _N_TRIALS
        or states.count("FAIL") > n_trials // 4  # which may have ended at once, or after many attempts
        or not data.keys() >= {"training_rows", "features", "classes"}
        or not attributes.get(ELAPSED)
    ):
        return
    try:
        spec = replace(spec_from_dict(attributes[SPEC]), trials=n_trials, timeout_s=None)
    except MlpSearchError:  # a rule of this version refuses it
        return
    shape = Shape(data["training_rows"], data["features"], data["classes"] or 1, precision_rule(attributes))
    expected = []
    for repetition in range(_REPETITIONS):
        durations_s = [cost.trial_s(hp, epochs, shape) for hp, epochs in simulate(spec, repetition)]
        expected.append(startup_s + Timetable.of(durations_s, n_slots).until(n_trials))
    yield attributes[ELAPSED] / statistics.median(expected)
