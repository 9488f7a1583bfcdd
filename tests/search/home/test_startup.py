"""A worker imports only what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from search.home.startup import importing_without


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh process has after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{n.split('.')[0] for n, m in sys.modules.items() if m}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_a_worker_imports_tensorflow_and_keras_without_their_optional_packages() -> None:
    loaded = loaded_by("import search.workers.trainer, search.workers.local_pool")
    assert {"tensorflow", "keras", "h5py"} <= loaded
    assert not loaded & {"matplotlib", "mlflow", "optuna", "pandas", "pyarrow", "scipy", "sklearn"}


def test_a_package_that_was_hidden_can_be_imported_afterwards() -> None:
    assert "sklearn" in loaded_by("import search.workers.trainer\nimport sklearn")


def test_a_hidden_package_looks_missing_and_a_loaded_one_stays() -> None:
    with importing_without("json", "this"):
        import json

        with pytest.raises(ModuleNotFoundError):
            import this  # noqa: F401
    assert json is sys.modules["json"]
