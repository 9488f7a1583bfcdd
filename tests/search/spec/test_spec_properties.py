from __future__ import annotations

import json
import tomllib

from hypothesis import given, settings, strategies as st

from pipelines.errors import SpecError
from search.spec.reading import spec_from_dict
from search.spec.rules import TABLES
from search.spec.space import NAMES
from search.spec.study_spec import StudySpec

NUMBERS = st.integers(1, 2000)
RATES = st.floats(1e-6, 0.9)
RANGES = RATES.map(lambda low: {"low": low, "high": 2 * low, "log": True})  # never one value: cmaes needs some
SPACE = {
    "width": st.one_of(
        NUMBERS,
        st.lists(NUMBERS, min_size=1, unique=True),
        st.tuples(NUMBERS, NUMBERS, st.booleans()).map(lambda v: {"low": min(v[:2]), "high": max(v[:2]), "log": v[2]}),
    ),
    "depth": st.integers(1, 5).map(lambda high: {"low": 1, "high": high * 2, "step": high}),
    "dropout": st.one_of(RATES, st.just(0), st.lists(RATES, min_size=1, unique=True)),
    "optimizer": st.sampled_from(["sgd", ["lion", "nadam"], ["adam"]]),
    "schedule": st.sampled_from(["cosine", ["cosine", "constant"]]),
    "epochs": NUMBERS.map(lambda high: {"low": 1, "high": high}),
    "batch_size": st.lists(NUMBERS, min_size=1, unique=True),
}
PRINTABLE = st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.isalnum())
DOCUMENTS = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries({"source": PRINTABLE}, optional={"target": PRINTABLE, "scaling": st.just("none")})},
    optional={
        "study": st.fixed_dictionaries({}, optional={"name": PRINTABLE, "trials": NUMBERS, "timeout_s": RATES}),
        "space": st.fixed_dictionaries({"learning_rate": RANGES}, optional=SPACE),
        "search": st.fixed_dictionaries({}, optional={"sampler": st.sampled_from(["tpe", "random", "cmaes"])}),
        "workers": st.fixed_dictionaries({}, optional={"slots": NUMBERS, "memory_mb": NUMBERS}),
    },
)


def to_toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {to_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=150)
@given(DOCUMENTS)
def test_a_valid_study_survives_toml_and_json(document):
    spec = spec_from_dict(document)
    text = "\n".join(f"{key} = {to_toml(table)}" for key, table in document.items())
    assert spec_from_dict(tomllib.loads(text)) == spec
    recorded = json.dumps(spec.to_json(), allow_nan=False)
    again = spec_from_dict(json.loads(recorded))
    assert again == spec
    assert json.dumps(again.to_json()) == recorded
    full = "\n".join(f"{key} = {to_toml(table)}" for key, table in spec.to_json().items())
    assert spec_from_dict(tomllib.loads(full)) == spec


KEYS = sorted({key for table in TABLES.values() for key in table} | {"low", "high", "log", "step"})
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates())
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from(KEYS) | st.text() | st.integers(), inner, max_size=4),
    ),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {"data": st.just({"source": "a"})},
    optional={
        name: st.fixed_dictionaries({}, optional=dict.fromkeys(table, JUNK))
        for name, table in TABLES.items()
        if name not in ("data", "start")
    }
    | {"start": st.lists(st.dictionaries(st.sampled_from(NAMES), SCALARS))},
)


@settings(max_examples=300)
@given(st.one_of(JUNK, NEARLY))
def test_junk_gives_a_study_or_a_spec_error(document):
    try:
        found = spec_from_dict(document)
    except SpecError as error:
        found = error
    lines = found.problems if isinstance(found, SpecError) else ["spec, "]
    assert isinstance(found, StudySpec | SpecError)
    assert lines
    assert all(line.isprintable() and line.startswith("spec, ") for line in lines)
