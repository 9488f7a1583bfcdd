"""Keeps a user's ``KERAS_BACKEND`` and ``keras.json`` from changing what is trained or predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def fix_keras() -> None:
    """Fixes Keras to TensorFlow and its own defaults, among them float32; for a process of our own, before the import.

    Keras reads ``keras.json`` in its home while it is imported, and refuses invalid values there. A home that cannot
    hold files has no such file, and none is written.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.devnull


@contextmanager
def tensorflow_backend() -> Iterator[None]:
    """Makes an import of Keras inside the block choose TensorFlow; the environment of the program stays as it was.

    A saved model names the type and layout of each layer, so ``keras.json`` does not change its predictions.
    """
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before
