"""Random streams: no two uses of a training's seed share random numbers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import example, given, settings, strategies as st
from keras_counterpart import plain_weights

from pipelines.network.layers import Dropout, Seeds
from pipelines.network.streams import dropout_seed, order_generator, weights_generator
from pipelines.training.pack import row_order

SEEDS = st.integers(0, 2**32 - 1)
EPOCHS = st.integers(0, 2**31 - 1)
PLACES = st.tuples(SEEDS, EPOCHS, st.integers(0, 2**32 - 1))
"""Seed, epoch and step of masks."""


def state(generator: np.random.Generator) -> tuple[int, int]:
    """State and increment of the generator, which decide all that it draws."""
    inner = generator.bit_generator.state["state"]
    return inner["state"], inner["inc"]


@given(drawn=st.lists(st.tuples(SEEDS, EPOCHS), min_size=1, max_size=20, unique=True))
@example(drawn=[(5, 0), (5, 1), (0, 0), (0, 5), (1, 0), (0, 1)])
@settings(max_examples=50)
def test_weights_and_row_orders_of_all_seeds_and_epochs_have_streams_of_their_own(drawn: list[tuple[int, int]]) -> None:
    seeds = {seed for seed, _ in drawn}
    states = [state(weights_generator(seed)) for seed in seeds] + [state(order_generator(*pair)) for pair in drawn]
    assert len(set(states)) == len(seeds) + len(drawn)


@given(seed=SEEDS, epoch=st.integers(0, 3))
@example(seed=5, epoch=0)
@settings(max_examples=20)
def test_training_draws_from_these_streams(seed: int, epoch: int) -> None:
    order = order_generator(seed, epoch).permutation(30)
    np.testing.assert_array_equal(row_order(30, seed, epoch), order)
    limit = np.sqrt(6 / 11)
    uniform = weights_generator(seed).uniform(-limit, limit, (7, 4)).astype(np.float32)
    np.testing.assert_array_equal(plain_weights((7, 4), seed)[0], uniform)
    assert not np.array_equal(np.random.default_rng(seed).permutation(30), order), "that is the stream of [seed, 0]"


@given(places=st.lists(PLACES, min_size=2, max_size=20, unique=True))
@example(places=[(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)])
@settings(max_examples=200)
def test_no_two_steps_have_one_seed(places: list[tuple[int, int, int]]) -> None:
    seeds = [dropout_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert all(0 <= number < 2**63 for seed in seeds for number in seed), "int64 holds them"


@given(places=st.lists(PLACES.filter(lambda place: place[2] < 2**31), min_size=1, max_size=3))
@settings(max_examples=10)
def test_the_masks_of_a_step_are_tensorflows_philox_with_its_seed(places: list[tuple[int, int, int]]) -> None:
    """The first number is the key, the second stands above a counter that starts at 0: no two streams overlap."""
    for seed, epoch, step in places:
        seeds = Seeds.of(tf.constant(dropout_seed(seed, epoch), tf.int64))
        drawn = Dropout.draw(tf.constant(0.5), seeds, tf.constant(step), 2, tf.constant(8), tf.constant(4))
        key, above = dropout_seed(seed, epoch, step)
        generator = tf.random.Generator.from_state(tf.constant([0, above, key], tf.int64), alg="philox")
        bits = generator.uniform_full_int([16], tf.int32).numpy().view(np.uint8)
        np.testing.assert_array_equal(tf.stack(drawn.factors) > 0, (bits >= 1 << 7).reshape(2, 8, 4))
