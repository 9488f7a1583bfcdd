"""Start-up without waste: what an import takes along unasked, and the collector that looks through it."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipelines.native_output import quiet


@contextmanager
def importing_without(*packages: str) -> Iterator[None]:
    """Lets imports inside the block find these packages missing; one that is loaded already stays.

    Keras imports pandas, scikit-learn, SciPy and Matplotlib where they are installed, for adapters and plots that a
    training process never uses: half of the time and a quarter of the memory of its import. What was imported stays
    for good, so the collector leaves it alone, and forked processes go on sharing its memory.
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None marks a module as missing
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for package in hidden:
            del sys.modules[package]


def collect_seldom() -> None:
    """Settles the collector for a program that begins with large imports and ends with all of them still there.

    At Python's own threshold it looks through them again and again while they grow, a quarter of the start-up, and
    once more at the end, a second.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def prepare_inference() -> None:
    """Imports TensorFlow for answers on the CPU: quietly, and without taking the memory of GPUs that train.

    Where a program has used TensorFlow before, its devices stay as they are.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import tensorflow as tf
        from absl import logging

        logging.set_verbosity(logging.ERROR)
        tf.get_logger().setLevel("ERROR")
        with suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        tf.zeros(())  # TensorFlow sets its devices up now, and says so
