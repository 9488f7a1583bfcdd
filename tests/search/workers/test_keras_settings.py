"""A user's settings of Keras change nothing of what is trained and predicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from finished import run_small

from search.finals.sealed_test import evaluate

PROGRAM = """
import json, sys
from pathlib import Path
from test_keras_settings import trained

print(json.dumps(trained(Path(sys.argv[1]))))
"""


def trained(home: Path) -> list[float | None]:
    """The validation accuracy and the test loss of a small study."""
    best = run_small(home, "s", trials=1, epochs=2).best
    assert best
    return [best.value, evaluate("s", home=home).evaluation.loss]


def _result(folder: Path, keras_json: dict[str, object], backend: str | None) -> list[float | None]:
    """The same in a process with these settings."""
    folder.mkdir()
    (folder / "keras.json").write_text(json.dumps(keras_json))
    folders = (Path(__file__).parent, Path(__file__).parents[2] / "support")
    paths = os.pathsep.join([*map(str, folders), *filter(None, sys.path)])
    environment = os.environ | {"KERAS_HOME": str(folder), "PYTHONPATH": paths}
    environment.pop("KERAS_BACKEND", None)
    if backend:
        environment["KERAS_BACKEND"] = backend
    command = [sys.executable, "-c", PROGRAM, str(folder / "home")]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    return json.loads(said.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[float | None]:
    return trained(tmp_path_factory.mktemp("plain") / "home")


_OTHER = {"floatx": "float64", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}


@pytest.mark.parametrize(("keras_json", "backend"), [(_OTHER, None), ({"floatx": "float16"}, "torch")])
def test_keras_json_and_its_backend_change_nothing(
    plain: list[float | None], tmp_path: Path, keras_json: dict[str, object], backend: str | None
):
    assert _result(tmp_path / "keras", keras_json, backend) == plain
