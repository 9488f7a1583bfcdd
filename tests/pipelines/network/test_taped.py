"""Parts of richer networks: normalization's gradients, noise and dropped inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.network.architecture import Architecture
from pipelines.network.layers import Seeds
from pipelines.network.normalization import batch_normalized, layer_normalized, move_moments
from pipelines.network.taped import ACTIVATIONS, Amounts, Draws, draw, forward

RNG = np.random.default_rng(0)


def plain_batch(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = tf.nn.moments(x, -2, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta[..., None, :], gamma[..., None, :], 1e-3)


def plain_layer(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, beta[..., None, :], gamma[..., None, :], 1e-3)


@pytest.mark.parametrize("lead", [(), (3,)], ids=["one network", "several"])
@pytest.mark.parametrize(
    ("ours", "reference"), [(lambda *a: batch_normalized(*a)[0], plain_batch), (layer_normalized, plain_layer)]
)
def test_the_gradient_of_a_normalization_is_that_of_its_formula(
    lead: tuple[int, ...], ours: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    x = tf.constant(RNG.normal(size=(*lead, 9, 5)), tf.float32)
    gamma, beta = (tf.constant(RNG.normal(size=(*lead, 5)), tf.float32) for _ in range(2))
    error = tf.constant(RNG.normal(size=x.shape), tf.float32)
    found = []
    for function in (ours, reference):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            values = function(x, gamma, beta)
        found.append([values, *tape.gradient(values, (x, gamma, beta), error)])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def assert_same(function: Any, reference: Any, x: tf.Tensor, *, atol: float) -> None:
    """Two functions have the same values and gradients."""
    found = []
    for each in (function, reference):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = each(x)
        found.append((values, tape.gradient(values, x)))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=atol)


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "tanh", "selu"])
def test_an_activation_and_its_gradient_are_keras_own(name: str) -> None:
    x = tf.constant(np.linspace(-4, 4, 81), tf.float32)
    assert_same(ACTIVATIONS[name], keras.activations.get(name), x, atol=1e-6)


def test_a_moving_mean_is_a_mean_of_the_batches_from_the_first_one_on() -> None:
    held, values = tf.Variable([0.0]), RNG.normal(5, 1, 1200).astype(np.float32)
    found = []
    for number, value in enumerate(values, 1):
        move_moments([held], [tf.constant([value])], tf.constant(float(number)), tf.constant(1.0))
        found.append(float(held[0]))
    assert found[0] == pytest.approx(values[0])
    assert found[19] == pytest.approx(values[:20].mean(), abs=0.5)
    assert found[-1] == pytest.approx(found[-2] * 0.99 + values[-1] * 0.01, abs=1e-5)


def test_a_small_last_batch_counts_by_its_rows_in_a_moving_mean() -> None:
    """Rows of 129 in batches of 128: the variance of a single row is 0, and it is the last one before an evaluation."""
    held = tf.Variable([0.0])
    for number in range(1, 11):
        of_batch, share = (1.0, 1.0) if number % 2 else (0.0, 1 / 128)
        move_moments([held], [tf.constant([of_batch])], tf.constant(float(number)), tf.constant(share))
    assert float(held[0]) > 0.97


def test_the_random_parts_stand_where_keras_has_them() -> None:
    """Dropped inputs, dense layer, normalization, noise, activation, dropped units, the layer's input, the output."""
    network = Architecture(1, True, "gelu", "batch", input_dropout=True, noise=True, residual=(True,))
    x, mask, noise, kept = (tf.constant(RNG.normal(size=(20, 6)), tf.float32) for _ in range(4))
    shapes = [(6, 6), (6,), (6,), (6, 3), (3,), (6,), (6,)]
    weights = [tf.constant(RNG.normal(size=shape), tf.float32) for shape in shapes]
    dense, last = keras.layers.Dense(6, use_bias=False), keras.layers.Dense(3)
    norm, gelu = keras.layers.BatchNormalization(), keras.layers.Activation("gelu")

    def of_keras(x: Any) -> Any:
        x = x * mask
        return last(gelu(norm(dense(x), training=True) + noise) * kept + x)

    of_keras(x)
    layers = [dense, norm, last]
    for variable, array in zip([v for layer in layers for v in layer.trainable_variables], weights, strict=False):
        variable.assign(array)
    assert_same(lambda x: forward(network, x, weights, Draws(mask, [kept], [noise]))[0], of_keras, x, atol=2e-5)


class TestDraws:
    NETWORK = Architecture(2, dropout=True, input_dropout=True, noise=True, narrows=True)
    SIZES = (300, 200, 100)

    def drawn(self, seed: Any = (3, 0), step: int = 0) -> Any:
        amounts = Amounts(**{name: tf.constant(0.0) for name in Amounts._fields})
        amounts = amounts._replace(dropout=tf.constant(0.5), input_dropout=tf.constant(0.25), noise=tf.constant(0.1))
        sizes = [tf.constant(size) for size in self.SIZES]
        seeds = Seeds.of(tf.constant(seed, tf.int64))
        return draw(self.NETWORK, amounts, seeds, tf.constant(step), sizes, tf.constant(400))

    def test_have_the_shares_and_the_deviation_that_were_asked_for(self) -> None:
        draws = self.drawn()
        assert draws.inputs.shape == (400, 300)
        assert np.mean(draws.inputs == 0) == pytest.approx(0.25, abs=0.01)
        for units, noise, width in zip(draws.units, draws.noise, self.SIZES[1:], strict=True):
            assert units.shape == noise.shape == (400, width)
            assert np.mean(units == 0) == pytest.approx(0.5, abs=0.01)
            assert np.std(noise) == pytest.approx(0.1, rel=0.02)
            assert np.mean(noise) == pytest.approx(0, abs=0.003)

    def test_differ_by_step_and_by_layer(self) -> None:
        one, other = self.drawn(), self.drawn(step=1)
        assert not np.array_equal(one.noise[0], other.noise[0])
        assert np.corrcoef(one.noise[0][:, :100].numpy().ravel(), one.noise[1].numpy().ravel())[0, 1] < 0.03

    def test_of_networks_side_by_side_are_those_of_each_alone(self) -> None:
        seeds = [(3, 1 << 32), (4, 0)]
        together = self.drawn(seeds)
        for place, seed in enumerate(seeds):
            alone = self.drawn(seed)
            np.testing.assert_array_equal(together.inputs[place], alone.inputs)
            for ours, others in zip([*together.units, *together.noise], [*alone.units, *alone.noise], strict=True):
                np.testing.assert_array_equal(ours[place], others)
