from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig, Hyperparameters
from pipelines.errors import SpecError
from search.spec.defaults import STARTS, STUDY_TEMPLATE
from search.spec.dimensions import Choice, Fixed, Range
from search.spec.reading import default_spec, override, read_spec, spec_from_dict
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec, WorkerSettings, default_space
from search.training.configuration import default_training

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


SYNTAX = {
    "unclosed": ("[study\n", "line 1, column 7: expected ']' at the end of a table declaration"),
    "no-value": ("[study]\ntrials =", "line 2, column 9: invalid value"),
    "twice": ("[study]\nseed = 1\nseed = 2\n", "line 3, column 9: cannot overwrite a value"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(call) -> list[str]:
    with pytest.raises(SpecError) as caught:
        call()
    return list(caught.value.problems)


DATA_ITSELF = "data.source: must be the name of a dataset or the path of a file, got a DataFrame"


@pytest.mark.parametrize("function", [default_spec, default_training])
def test_a_source_in_python_is_a_name_or_a_path(function, tmp_path):
    path = tmp_path / "rows.csv"
    assert function(path, target="y").data == function(str(path), target="y").data
    [line] = problems(lambda: function(pd.DataFrame({"y": [1.0, 2.0]}), target="y"))
    assert line.startswith(DATA_ITSELF)
    assert "search.save_data" in line


def test_a_misspelled_option_in_python_names_the_key_of_any_table():
    assert problems(lambda: default_spec("digits", targett="y", sampelr="random")) == [
        "options, targett: unknown key; did you mean data.target?",
        "options, sampelr: unknown key; did you mean search.sampler?",
    ]
    assert problems(lambda: default_training("digits", widht=8)) == [
        "options, data.widht: unknown key; did you mean space.width?"
    ]


@pytest.mark.parametrize(("text", "line"), SYNTAX.values(), ids=SYNTAX)
def test_a_syntax_error_has_its_line_and_column(folder, text, line):
    Path("study.toml").write_text(text, encoding="utf-8")
    assert problems(lambda: read_spec("study.toml")) == [f"study.toml, {line}"]


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000])
def test_toml_beyond_pythons_limits(folder, value):
    Path("study.toml").write_text(f"a = {value}", encoding="utf-8")
    limits = "study.toml: must be TOML, got a number or a nesting beyond what Python reads"
    assert problems(lambda: read_spec("study.toml")) == [limits]


def test_files_that_cannot_be_read(folder):
    Path("binary.toml").write_bytes(b"# caf\xe9\n")
    Path("folder.toml").mkdir()
    for path, line in {
        "binary.toml": "binary.toml: must be UTF-8 text, got byte 0xe9 at offset 5",
        "folder.toml": "folder.toml: cannot be read: Is a directory",
        "none.toml": "none.toml: no such file; mlp-search init writes one",
        "a\0b.toml": r"a\x00b.toml: cannot be read: embedded null byte",
    }.items():
        assert problems(lambda path=path: read_spec(path)) == [line]


def test_a_byte_order_mark_does_no_harm(folder):
    Path("study.toml").write_text('[data]\nsource = "mnist"\n', encoding="utf-8-sig")
    assert read_spec("study.toml").data.source == "mnist"


def test_a_number_too_long_to_print():
    huge = 1 << 20_000
    lines = problems(lambda: spec_from_dict({"data": {"source": "mnist"}, "study": {"seed": huge}}, "x"))
    assert lines == ["x, study.seed: must be a whole number from 0 to 4294967295, got a value of type int"]


def test_keys_and_documents_that_no_file_can_hold():
    assert problems(lambda: spec_from_dict([])) == ["spec, document: must be a table of tables, got []"]
    lines = problems(lambda: spec_from_dict({"data": {"source": "mnist"}, "workers": {1: 2}, 3: 4}))
    assert lines == [
        "spec, 3: unknown key; valid are study, data, space, search, workers, start",
        "spec, workers.1: unknown key; valid are slots, trial_timeout_s, memory_mb, gpus, trials_per_gpu, precision",
    ]


def test_a_full_file(folder):
    Path("study.toml").write_text(
        """
        [study]
        name = "mnist-mlp"
        seed = 7
        trials = 10
        timeout_s = 1800
        [data]
        source = "some/iris.csv"
        target = "species"
        validation_fraction = 0.25
        scaling = "standard"
        [space]
        width = { low = 32, high = 1024, log = true }
        depth = 3
        dropout = [0, 0.5]
        optimizer = ["sgd", "adam"]
        learning_rate = { low = 1e-4, high = 1, log = true }
        epochs = { low = 5, high = 30, step = 5 }
        [search]
        sampler = "random"
        pruner = "hyperband"
        [workers]
        slots = 2
        memory_mb = 900
        gpus = "0, GPU-1a"
        trials_per_gpu = "auto"
        [[start]]
        width = 64
        dropout = 0.5
        optimizer = "sgd"
        epochs = 15
        """,
        encoding="utf-8",
    )
    assert read_spec(Path("study.toml")) == StudySpec(
        name="mnist-mlp",
        seed=7,
        trials=10,
        timeout_s=1800.0,
        data=DataConfig("some/iris.csv", target="species", validation_fraction=0.25, scaling="standard"),
        space=SearchSpace(
            {
                "width": Range(32, 1024, log=True),
                "depth": Fixed(3),
                "dropout": Choice((0.0, 0.5)),
                "optimizer": Choice(("sgd", "adam")),
                "learning_rate": Range(1e-4, 1.0, log=True),
                "epochs": Range(5, 30, step=5),
            }
        ),
        sampler="random",
        pruner="hyperband",
        workers=WorkerSettings(slots=2, memory_mb=900, gpus="0, GPU-1a", trials_per_gpu="auto"),
        start=(Hyperparameters(64, 3, 0.5, "sgd", 0.01, "constant", 15, 128),),
    )


def test_what_a_file_leaves_out():
    spec = spec_from_dict({"data": {"source": "some/iris.csv"}})
    assert spec == StudySpec(name="iris", data=DataConfig("some/iris.csv"), space=default_space())
    assert (spec.trials, spec.timeout_s) == (64, None)
    timed = spec_from_dict({"data": {"source": "mnist"}, "study": {"timeout_s": 60}})
    assert (timed.trials, timed.timeout_s) == (None, 60.0)


def test_a_dimension_left_out_of_the_space_is_not_searched():
    spec = spec_from_dict({"data": {"source": "mnist"}, "space": {"width": [8, 16]}, "search": {"sampler": "grid"}})
    assert spec.space.grid() == {"width": [8, 16]}
    assert spec.space.hyperparameters({"width": 8}) == Hyperparameters(width=8)


def test_the_study_without_a_file():
    spec = default_spec("mnist", timeout_s=240, seed=None, preset="classic")
    assert spec.start == (
        Hyperparameters(512, 2, 0.3, "adam", 0.001, "cosine", 20, 128),
        Hyperparameters(768, 2, 0.4, "rmsprop", 0.0015, "cosine", 40, 256),
    )
    assert (spec.name, spec.space, spec.trials, spec.timeout_s) == ("mnist", default_space(), None, 240.0)
    first, *others = default_spec("iris.CSV.gz", preset="classic").start
    assert (first.width, first.batch_size, tuple(others)) == (256, 32, spec.start)
    assert default_spec("iris.npz").start == default_spec("mnist").start
    assert default_spec("iris.csv", name="a", target="t", slots=3).workers == WorkerSettings(slots=3)
    lines = problems(lambda: default_spec("mnist", name="a/b", trials=0))
    assert [line.partition(" must")[0] for line in lines] == ["options, study.name:", "options, study.trials:"]


def test_options_replace_what_the_file_says_and_nothing_else():
    spec = read_spec(EXAMPLES[0])
    changed = override(spec, trials=3, timeout_s=9.5, name="other", target=None)
    assert changed == dataclasses.replace(spec, trials=3, timeout_s=9.5, name="other")
    assert override(spec) == spec


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_study(path):
    spec = read_spec(path)
    assert spec.data.source == path.stem
    assert spec.start
    assert spec_from_dict(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_template_is_the_default_study():
    assert EXAMPLES
    assert spec_from_dict(tomllib.loads(STUDY_TEMPLATE)) == default_spec("digits", preset="classic")


def test_every_comment_of_the_template_that_is_a_key_is_valid():
    lines = (line.removeprefix("# ") if " = " in line else line for line in STUDY_TEMPLATE.splitlines())
    kept = [line for line in lines if "keep" not in line and "deterministic = false" not in line]  # no virtual slots
    spec = spec_from_dict(tomllib.loads("\n".join(kept)))
    assert (spec.timeout_s, spec.data.target, spec.workers.slots) == (1800, "species", 2)


def test_reading_a_study_needs_neither_tensorflow_nor_mlflow():
    code = "import sys, search.spec; print(sorted({'tensorflow', 'keras', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", STARTS)
def test_learned_starts_lie_in_the_default_space(kind: str) -> None:
    assert 1 <= len(STARTS[kind]) <= 8
    assert [default_space().complete(start)[1] for start in STARTS[kind]] == [[]] * len(STARTS[kind])


def test_code_may_give_paths_tuples_and_numbers_of_numpy(tmp_path):
    given = {
        "study": {"name": "s", "trials": np.int64(3), "timeout_s": np.float32(60)},
        "data": {"source": tmp_path / "own.csv", "target": "price\n(EUR)", "ignore": ("id", "a\u00a0b")},
        "space": {"width": [np.int32(8), 16], "dropout": {"low": np.float64(0), "high": np.float32(0.5)}},
    }
    spec = spec_from_dict(given)
    assert (spec.trials, spec.timeout_s, spec.data.source) == (3, 60.0, str(tmp_path / "own.csv"))
    assert (spec.data.target, spec.data.ignore) == ("price\n(EUR)", ["id", "a\u00a0b"]), "headers may hold such names"
    assert spec_from_dict(json.loads(json.dumps(spec.to_json()))) == spec
