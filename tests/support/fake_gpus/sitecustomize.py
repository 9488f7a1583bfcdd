"""Python runs this when a process starts: it installs the fake driver in NVML and TensorFlow's device list."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).parents[1]))

from fake_driver import VARIABLE, FakeDriver


class _TensorFlow(MetaPathFinder):
    """Installs the fake at the end of TensorFlow's import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.loader
        execute = spec.loader.exec_module

        def execute_and_fake(module: Any) -> None:
            execute(module)
            driver.into_tensorflow(module)

        spec.loader.exec_module = execute_and_fake  # type: ignore[method-assign]
        return spec


driver = FakeDriver(Path(os.environ[VARIABLE]))
driver.into_nvml(setattr)
sys.meta_path.insert(0, _TensorFlow())
