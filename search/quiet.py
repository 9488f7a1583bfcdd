"""TensorFlow in a process that only asks models for answers."""

from __future__ import annotations

import os
from contextlib import suppress

from pipelines.quiet import quiet

__all__ = ["prepare_inference", "quiet"]


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
