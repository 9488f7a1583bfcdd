"""Random shifts and mirrored pictures, drawn anew in each step of a training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.config import Hyperparameters
from pipelines.network.layers import Seeds, random_bits, variable
from pipelines.network.optimizers import Tensor


class Pictures(NamedTuple):
    """The moves of the pictures of a step: a line of ``rows`` and one of ``columns`` is drawn for each.

    Rows move by copies of whole lines. Columns of small pictures move by a product with a matrix of zeros and ones,
    which is exact, takes a third of the time of single copies, and mirrors too; those of large pictures by copies.

    Attributes:
        rows: (n_ways, height) int32, the row that goes to each row; the height stands for background. None for rows
            that stay.
        columns: (n_ways, line, line) float32 matrices of the values of a row; or (n_ways, width) int32, the column that
            goes to each column, the width for background.
        channels: Scalar int32.
    """

    rows: Tensor | None
    columns: Tensor
    channels: Tensor

    @classmethod
    def of(cls, hp: Hyperparameters, input_shape: tuple[int, ...]) -> Pictures | None:
        """Returns those of a configuration; None where pictures stay as they are.

        Args:
            hp: ``shift`` and ``flip``.
            input_shape: Height, width and any channels.
        """
        if not hp.shift and not hp.flip:
            return None
        height, width, channels = (*input_shape, 1)[:3]
        columns = _shifted(width, hp.shift or 0)
        if hp.flip:
            columns = np.concatenate([columns, columns[:, ::-1]])
        rows = variable(_shifted(height, hp.shift)) if hp.shift else None
        if width * channels <= _LONGEST_LINE:
            columns = _matrices(columns, channels)
        return cls(rows, variable(columns), tf.constant(channels))

    def move(self, values: Tensor, seeds: Seeds, step: Tensor) -> Tensor:
        """Moves each picture by whole pixels at random; what comes in from outside is raw 0.

        Args:
            values: (..., n_pictures, n_values) as the source holds them.
            seeds: Of the epoch.
            step: As for ``Dropout.draw``.
        """
        n_pictures = tf.shape(values)[-2]
        bits = tf.reshape(random_bits(seeds, step, 2 * n_pictures, USE), (-1, 2, n_pictures))
        down, across = (tf.reshape(bits[:, axis], (-1,)) for axis in (0, 1))
        is_product = self.columns.shape.rank == 3
        line = tf.shape(self.columns)[1] * (1 if is_product else self.channels)
        moved = tf.reshape(values, (tf.size(down), -1, line))
        if self.rows is not None:
            moved = _copied(moved, _drawn(self.rows, down))
        if is_product:
            moved = tf.matmul(tf.cast(moved, tf.float32), _drawn(self.columns, across))
        else:
            height = tf.shape(moved)[1]
            pixels = tf.reshape(moved, (tf.size(down) * height, -1, self.channels))
            moved = _copied(pixels, tf.repeat(_drawn(self.columns, across), height, axis=0))
        return tf.ensure_shape(tf.reshape(moved, tf.shape(values)), values.shape)


def _drawn(ways: Tensor, bits: Tensor) -> Tensor:
    """Returns one of the ways for each of (n,) int32 random numbers."""
    return tf.gather(ways, tf.math.floormod(bits, tf.shape(ways)[0]))


def _copied(parts: Tensor, places: Tensor) -> Tensor:
    """Returns (n, n_places, size) parts: at each place that which (n, n_places) names; 0 stands behind the last."""
    n_parts = tf.shape(parts)[1] + 1
    padded = tf.reshape(tf.pad(parts, ((0, 0), (0, 1), (0, 0))), (-1, tf.shape(parts)[2]))
    return tf.gather(padded, places + tf.range(tf.shape(parts)[0])[:, None] * n_parts)


USE = 15
"""Of the random numbers of a step."""
_LONGEST_LINE = 64
"""Values of a row of pictures that a product moves faster than single copies."""


def _shifted(size: int, shift: int) -> np.ndarray:
    """Returns the (2 * shift + 1, size) int32 places that come to each place; ``size`` for those outside."""
    places = np.arange(size) - np.arange(-shift, shift + 1)[:, None]
    return np.where((places < 0) | (places >= size), size, places).astype(np.int32)


def _matrices(columns: np.ndarray, channels: int) -> np.ndarray:
    """Returns the matrices that move the values of a row as (n_ways, width) places say."""
    places = np.arange(columns.shape[1])
    pixels = (columns[:, None, :] == places[:, None]).astype(np.float32)
    return np.kron(pixels, np.eye(channels, dtype=np.float32))
