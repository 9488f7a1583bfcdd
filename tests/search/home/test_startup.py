"""A process imports only what it needs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from search.home.startup import importing_without


def loaded_by(*statements: str) -> list[set[str]]:
    """The top-level packages that a fresh process has after each of its statements."""
    shown = "print(*{n.split('.')[0] for n, m in sys.modules.items() if m})"
    program = "\n".join(["import sys", *(line for statement in statements for line in (statement, shown))])
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return [set(line.split()) for line in said.splitlines()]


def test_a_worker_imports_tensorflow_and_keras_without_their_optional_packages_which_can_be_imported_later() -> None:
    loaded, later = loaded_by("import search.workers.trainer, search.workers.local_pool", "import sklearn")
    assert {"tensorflow", "keras", "h5py"} <= loaded
    assert not loaded & {"matplotlib", "mlflow", "optuna", "pandas", "pyarrow", "scipy", "sklearn"}
    assert "sklearn" in later


def test_a_search_begins_without_the_packages_that_only_its_baselines_and_its_tracking_need() -> None:
    (loaded,) = loaded_by("import search.notebook.results, search.cli.live, search.workers.start")
    assert "optuna" in loaded
    assert not loaded & {"matplotlib", "mlflow", "pandas", "scipy", "sklearn", "tensorflow"}


def test_a_hidden_package_looks_missing_and_a_loaded_one_stays() -> None:
    with importing_without("json", "this"):
        import json

        with pytest.raises(ModuleNotFoundError):
            import this  # noqa: F401
    assert json is sys.modules["json"]


@pytest.mark.parametrize(("given", "kept"), [(None, "true"), ("false", "false")])
def test_a_command_turns_mlflows_usage_statistics_off_unless_the_user_asks_for_them(
    given: str | None, kept: str
) -> None:
    program = (
        "import os, sys; sys.argv = ['mlp-search', '--version']\n"
        "from search.cli.app import main\n"
        "main()\n"
        "assert 'mlflow' not in sys.modules\n"  # it reads the variable when it is imported
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    others = {name: value for name, value in os.environ.items() if name != "MLFLOW_DISABLE_TELEMETRY"}
    environment = others | ({"MLFLOW_DISABLE_TELEMETRY": given} if given else {})
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[-1] == kept
