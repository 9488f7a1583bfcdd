"""A promoted model's code lies under a name of its own, so that it hides no package of the program that loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from search.home.settings import read_settings
from search.registry.package.card import _shown_names
from search.registry.predict import predict
from search.registry.promotion import promote

ROWS = load_digits().images[:3].astype(np.uint8)

PROGRAM = """
import json, sys
import numpy as np
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
rows = np.load("rows.npy")
card = mlflow.MlflowClient().get_model_version_by_alias("packaged", "champion").description
code = card.split("```python")[1].split("```")[0]
assert len(code.strip().splitlines()) == 3
exec(code)
answer = probabilities
from pipelines import mine
import search
print(json.dumps([answer.tolist(), mine, search.name]))
"""


def test_a_program_with_packages_of_the_same_names_loads_a_promoted_model(contenders: Path, tmp_path: Path):
    promote("weak", model="packaged", home=contenders)
    for package, line in (("pipelines", "mine = 1"), ("search", "name = 'own'")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(line)
    (tmp_path / "program.py").write_text(PROGRAM)
    np.save(tmp_path / "rows.npy", ROWS)

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "program.py", read_settings(contenders).tracking_uri]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr[-2000:]
    answer, mine, name = json.loads(said.stdout.splitlines()[-1])
    assert (mine, name) == (1, "own")
    assert np.allclose(answer, predict("packaged", ROWS, home=contenders).probabilities, atol=1e-6)


def test_a_card_names_as_many_classes_as_it_has_room_for():
    """On PostgreSQL MLflow's descriptions have 5,000 characters, and each special one of a name takes several."""
    short, long = [f"class {n}" for n in range(30)], ["<&" * 20] * 30
    assert _shown_names(short) == short[:20]
    assert 1 <= len(_shown_names(long)) < 10
