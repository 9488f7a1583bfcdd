"""Keeps native libraries from writing to the terminal while they are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def quiet() -> Iterator[None]:
    """Sends what is written to the file descriptor of stderr nowhere.

    TensorFlow reports on its start past every setting of its log level. Exceptions pass as they are.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


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
