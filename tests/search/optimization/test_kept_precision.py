"""A study settles the precision of its products once, and keeps it wherever it resumes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from databases import ask, opened

from pipelines.config import AskedPrecision
from pipelines.errors import SpecError
from search.devices.precision import PrecisionRule
from search.home.settings import Settings
from search.optimization.leaderboard import leaderboard
from search.optimization.studies import load_study, open_study, precision_rule
from search.spec.study_spec import StudySpec, WorkerSettings
from search.storage import CachedStorage, StoredStudy, open_storage
from search.storage.attributes import FINGERPRINT, RESULT, SPEC


def start(places: Settings, spec: StudySpec, rule: PrecisionRule) -> None:
    open_study(places, spec, "f00d", lambda: rule)


def asking(spec: StudySpec, asked: AskedPrecision) -> StudySpec:
    return replace(spec, workers=WorkerSettings(precision=asked))


def kept(places: Settings, spec: StudySpec) -> PrecisionRule:
    return precision_rule(load_study(places, spec.name).user_attrs)


@pytest.mark.parametrize("rule", ["float32", "by_size", "bfloat16"])
def test_it_resumes_with_what_it_settled_on_another_machine(
    places: Settings, spec: StudySpec, rule: PrecisionRule
) -> None:
    spec = replace(spec, name=f"{spec.name}-{rule}")
    start(places, spec, rule)
    for other in (spec, asking(spec, "auto"), replace(spec, trials=99)):
        study = open_study(places, other, "f00d", lambda: pytest.fail("it was settled before"))
        assert precision_rule(study.user_attrs) == kept(places, spec) == rule


def test_a_study_of_an_earlier_version_is_in_float32(places: Settings, spec: StudySpec) -> None:
    database = CachedStorage(open_storage(places), spec.name, shared=places.is_shared)
    study = StoredStudy(spec.name, database)
    study.set_user_attr(SPEC, spec.to_json())
    study.set_user_attr(FINGERPRINT, "f00d")
    start(places, spec, "by_size")
    assert kept(places, spec) == "float32"
    with pytest.raises(SpecError, match=f"of study '{spec.name}', float32, got bfloat16: leave it out, or start"):
        start(places, asking(spec, "bfloat16"), "bfloat16")


def test_a_start_that_was_cut_off_is_made_again(places: Settings, spec: StudySpec) -> None:
    CachedStorage(open_storage(places), spec.name, shared=places.is_shared)
    start(places, spec, "by_size")
    assert kept(places, spec) == "by_size"


@pytest.mark.parametrize(
    ("rule", "asked", "says"),
    [
        ("by_size", "float32", r"auto \(bfloat16 for large networks\), got float32"),
        ("by_size", "bfloat16", r"auto \(bfloat16 for large networks\), got bfloat16"),
        ("float32", "bfloat16", "float32, got bfloat16"),
        ("bfloat16", "float32", "bfloat16, got float32"),
    ],
)
def test_another_one_is_refused(
    places: Settings, spec: StudySpec, rule: PrecisionRule, asked: AskedPrecision, says: str
) -> None:
    spec = replace(spec, name=f"{spec.name}-{rule}-{asked}")
    start(places, spec, rule)
    with pytest.raises(SpecError, match=rf"^workers.precision \(--precision\): must be that of .*, {says}: leave"):
        start(places, asking(spec, asked), "float32")
    assert kept(places, spec) == rule
    if rule != "by_size":
        start(places, asking(spec, "float32" if rule == "float32" else "bfloat16"), "by_size")


def test_a_trial_of_an_earlier_version_is_shown_in_float32(places: Settings, spec: StudySpec) -> None:
    study = opened(places, spec)
    trial, _ = ask(study)
    trial.set_user_attr(
        RESULT, {"params": trial.params, "best_val_accuracy": 0.4, "epochs_trained": 1, "device": "cpu:0"}
    )
    study.tell(trial, 0.4)
    ask(study)
    rows = {row.number: row.precision for row in leaderboard(load_study(places, spec.name))}
    assert rows == {0: "float32", 1: None}, "the second is in training"
