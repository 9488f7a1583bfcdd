"""A fast start: imports without what they do not need, and a garbage collector that runs less often."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from pipelines.keras_settings import tensorflow_backend
from pipelines.native_output import quiet


class _Hidden(MetaPathFinder):
    """Reports packages as missing; Python asks it before its own finders."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self._packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@contextmanager
def importing_without(*packages: str) -> Iterator[None]:
    """Hides packages from the imports inside the block; a package that is loaded already stays.

    Keras imports pandas, scikit-learn, SciPy and Matplotlib where they are installed, for adapters and plots that a
    training process never uses. They make up half of the time and a quarter of the memory of its import. Modules are
    never freed, so the collector skips those that were imported, and forked processes share their memory.
    """
    hidden = _Hidden(packages)
    sys.meta_path.insert(0, hidden)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        sys.meta_path.remove(hidden)


def collect_seldom() -> None:
    """Tunes the garbage collector for a program that begins with large imports.

    At Python's own threshold it runs again and again while they are loaded, which is a quarter of the start-up, and
    once more at the end, which takes a second.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def send_no_usage() -> None:
    """Turns off MLflow's usage statistics, which threads would send to its makers, unless the user turned them on."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def prepare_inference() -> None:
    """Imports TensorFlow for predictions on the CPU: without its messages, and without taking memory of GPUs.

    In a program that has used TensorFlow before, its devices stay as they are.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet(), tensorflow_backend():
        import keras  # noqa: F401  (here, or a later import would choose the user's backend)
        import tensorflow as tf
        from absl import logging

        logging.set_verbosity(logging.ERROR)
        tf.get_logger().setLevel("ERROR")
        with suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        tf.zeros(())  # TensorFlow sets up its devices now, and prints that
