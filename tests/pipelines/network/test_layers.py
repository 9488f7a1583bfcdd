"""Parts of an epoch: the masks of dropout, and the handwritten gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras_counterpart import plain_weights

from pipelines.network.layers import Dropout, Seeds, backward, forward

SHAPE = (2, 501, 401)


def masks(rate: float, seed: Any = (0, 0), step: int = 0) -> np.ndarray:
    """The factors of two layers."""
    seeds, sizes = Seeds.of(tf.constant(seed, tf.int64)), map(tf.constant, SHAPE[1:])
    return tf.stack(Dropout.draw(tf.constant(rate), seeds, tf.constant(step), SHAPE[0], *sizes).factors).numpy()


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_dropout_drops_its_share_over_the_steps_and_keeps_the_expected_sum(rate: float) -> None:
    shares = []
    for step in range(64):
        out = masks(rate, step=step)
        share = np.mean(out == 0)
        shares.append(share)
        deviation = np.sqrt(rate * (1 - rate) / out.size)
        assert abs(share - rate) < 1 / 256 + 5 * deviation
        assert out.mean() == pytest.approx(1, abs=5 * np.std(out) / np.sqrt(out.size) + 1e-6)
        assert len(np.unique(out)) == 2 or share in (0, 1)
    assert np.mean(shares) == pytest.approx(rate, abs=1 / 256 / 32 + 4 * deviation / 8)


def test_its_mask_differs_by_seed_epoch_step_and_layer() -> None:
    drawn = [
        layer
        for factors in (masks(0.5), masks(0.5, seed=(1, 0)), masks(0.5, seed=(0, 1 << 32)), masks(0.5, step=1))
        for layer in factors
    ]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert np.mean(one == other) == pytest.approx(0.5, abs=0.01), "masks must be independent"
    np.testing.assert_array_equal(drawn[0], masks(0.5)[0])


def test_networks_side_by_side_draw_the_masks_that_each_would_draw_alone() -> None:
    seeds = [(3, 1 << 32), (4, 0), (2**32 - 1, 5 << 32)]
    together = masks(0.3, seeds, 9)
    for place, seed in enumerate(seeds):
        np.testing.assert_array_equal(together[:, place], masks(0.3, seed, 9))


def test_the_handwritten_gradient_equals_that_of_a_tape() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 7)).astype(np.float32), rng.integers(0, 3, 40).astype(np.int32)
    weights = [tf.Variable(weight) for weight in plain_weights((7, 11, 11, 3), 0)]
    seeds = Seeds.of(tf.constant([3, 1], tf.int64))
    dropout = Dropout.draw(tf.constant(0.4), seeds, tf.constant(2), 2, tf.constant(40), tf.constant(11))
    with tf.GradientTape() as tape:
        passed, logits = forward(x, weights, dropout)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    error = (tf.nn.softmax(logits) - tf.one_hot(y, 3)) / 40.0
    for ours, tapes in zip(backward(error, passed, dropout), tape.gradient(loss, weights), strict=True):
        np.testing.assert_allclose(ours, tapes, rtol=0, atol=1e-6)
