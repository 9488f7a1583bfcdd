"""Random shifts and mirrored pictures, drawn anew in each step of a training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.config import Hyperparameters
from pipelines.network.layers import random_bits
from pipelines.network.optimizers import Tensor


class Pictures(NamedTuple):
    """How the pictures of a step are moved: a line of ``rows`` and one of ``columns`` is drawn for each.

    Attributes:
        rows: (n_ways, height) int32, the row of the picture that goes to each row, times its width; the number of
            pixels stands for the background.
        columns: (n_ways, width) int32, the column that goes to each column, or the number of pixels.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, hp: Hyperparameters, input_shape: tuple[int, ...]) -> Pictures | None:
        """Returns those of a configuration; None where pictures stay as they are.

        Args:
            hp: ``shift`` and ``flip``.
            input_shape: Height, width and any channels.
        """
        if not hp.shift and not hp.flip:
            return None
        height, width = input_shape[:2]
        rows, columns = (_shifted(size, hp.shift or 0) for size in (height, width))
        n_pixels = height * width
        rows = np.where(rows < 0, n_pixels, rows * width)
        columns = np.where(columns < 0, n_pixels, columns)
        if hp.flip:
            columns = np.concatenate([columns, columns[:, ::-1]])
        return cls(*(tf.Variable(table.astype(np.int32), shape=(None, None)) for table in (rows, columns)))

    def move(self, values: Tensor, seed: Tensor, step: Tensor) -> Tensor:
        """Moves each picture by whole pixels at random; what comes in from outside is raw 0.

        Args:
            values: (..., n_pictures, n_values) as the source holds them.
            seed: As for ``Dropout.draw``.
            step: As for ``Dropout.draw``.
        """
        n_pictures = tf.shape(values)[-2]
        bits = tf.reshape(random_bits(seed, step, 2 * n_pictures, USE), (-1, 2, n_pictures))
        down, across = (tf.reshape(bits[:, axis], (-1,)) for axis in (0, 1))
        rows = tf.gather(self.rows, tf.math.floormod(down, tf.shape(self.rows)[0]))
        columns = tf.gather(self.columns, tf.math.floormod(across, tf.shape(self.columns)[0]))
        n_pixels = tf.shape(rows)[1] * tf.shape(columns)[1]
        source = tf.minimum(rows[:, :, None] + columns[:, None, :], n_pixels)
        source = tf.reshape(source, (-1, n_pixels)) + tf.range(tf.shape(rows)[0])[:, None] * (n_pixels + 1)
        flat = tf.reshape(values, (-1, n_pixels, tf.shape(values)[-1] // n_pixels))
        padded = tf.pad(flat, ((0, 0), (0, 1), (0, 0)))
        moved = tf.gather(tf.reshape(padded, (-1, tf.shape(flat)[2])), source)
        return tf.ensure_shape(tf.reshape(moved, tf.shape(values)), values.shape)


USE = 15
"""Of the random numbers of a step."""


def _shifted(size: int, shift: int) -> np.ndarray:
    """Returns the (2 * shift + 1, size) places that come to each place; -1 for those outside."""
    places = np.arange(size) - np.arange(-shift, shift + 1)[:, None]
    return np.where((places < 0) | (places >= size), -1, places)
