"""Large kernels that are updated in one pass have the weights that TensorFlow's kernels and Keras give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from keras_counterpart import batches, keras_model, tiny_dataset

from pipelines.config import Hyperparameters
from pipelines.network.architecture import Architecture, Program
from pipelines.network.epoch import fused_epoch
from pipelines.network.layers import variable
from pipelines.network.steps.one_pass import adam_in_one_pass
from pipelines.network.steps.updates import Extras, Update, apply_fused, update_averages
from pipelines.training.pack import Network, Pack
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

SHAPES = [(7, 5), (5,), (5, 3), (3,)]
KERNELS = (0, 2)
SEED = 3
WIDE = Hyperparameters(
    1024, 2, dropout=0.0, optimizer="adamw", learning_rate=0.001, epochs=2, batch_size=64, weight_decay=0.5
)
"""Of which a kernel alone is large."""


def extras(**values: float) -> Extras:
    return Extras(**{name: tf.constant(value) for name, value in values.items()})


def arrays(seed: int, count: int = 1) -> list[tf.Variable]:
    """As many arrays for each weight as an optimizer's state has."""
    rng = np.random.default_rng(seed)
    return [variable(rng.random(shape).astype(np.float32)) for shape in SHAPES for _ in range(count)]


def after_steps(of_configuration: Extras, dtype: str, *, in_one_pass: bool) -> list[np.ndarray]:
    """Weights, state and averages after three steps with the same gradients."""
    weights, state = arrays(0), arrays(1, 2)
    averages = arrays(2) if of_configuration.ema is not None else []
    for number in (1, 2, 3):
        gradients = [tf.cast(array - 0.5, dtype) for array in arrays(10 + number)]
        gradients = [g if place in KERNELS else tf.cast(g, tf.float32) for place, g in enumerate(gradients)]
        step = tf.constant(0.01), tf.constant(float(number))
        update = Update(weights, state, gradients, averages, *step, of_configuration)
        if in_one_pass:
            adam_in_one_pass(KERNELS, update)
        else:
            update = update._replace(gradients=[tf.cast(gradient, tf.float32) for gradient in gradients])
            apply_fused("adam", update)
            update_averages(update)
    return [array.numpy() for array in (*weights, *state, *averages)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "of_configuration",
    [
        extras(weight_decay=0.3),
        extras(ema=0.6),
        extras(weight_decay=0.3, ema=0.6),
        extras(weight_decay=0.3, ema=0.6, gradient_clip=0.1),
    ],
    ids=["decay", "average", "both", "and clip"],
)
def test_one_pass_gives_what_the_kernels_give(of_configuration: Extras, dtype: str) -> None:
    ours = after_steps(of_configuration, dtype, in_one_pass=True)
    theirs = after_steps(of_configuration, dtype, in_one_pass=False)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-6, atol=1e-7)


def traces() -> int:
    """Of the epoch function that updates two plain layers in one pass."""
    program = Program(Architecture(2), "cross_entropy", one_pass=True)
    return int(fused_epoch("adam", program, 1).experimental_get_tracing_count())


def test_a_wide_network_takes_it_and_has_keras_weights() -> None:
    dataset, before = tiny_dataset(n_rows=80), traces()
    training = Training(TrainingRows.of(dataset), WIDE, SEED)
    model = keras_model(dataset, WIDE, training.checkpoint().weights)
    list(training)
    assert traces() == before + 1
    for epoch in range(WIDE.epochs):
        for x, y in batches(dataset, WIDE, SEED, epoch):
            model.train_on_batch(x, y)
    for mine, kerass in zip(training.checkpoint().weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, kerass, rtol=0, atol=1e-5)


def test_a_wide_network_resumes_with_the_same_weights() -> None:
    rows, hp = TrainingRows.of(tiny_dataset()), replace(WIDE, ema=0.9, normalization="batch")
    whole = Training(rows, hp, SEED)
    list(whole)
    start = Training(rows, hp, SEED)
    next(iter(start))
    rest = Training(rows, hp, SEED, start.checkpoint())
    list(rest)
    for mine, other in zip(rest.checkpoint().weights, whole.checkpoint().weights, strict=True):
        np.testing.assert_array_equal(mine, other)


def takes_one_pass(hp: Hyperparameters) -> bool:
    pack = Pack(TrainingRows.of(tiny_dataset()), hp, [Network(SEED)], "cross_entropy", "float32")
    return pack._program.one_pass


def test_large_kernels_that_decay_or_average_take_one_pass() -> None:
    average = {"optimizer": "adam", "weight_decay": None, "ema": 0.9}
    assert takes_one_pass(WIDE)
    assert takes_one_pass(replace(WIDE, **average))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"width": 512}, {"optimizer": "adam", "weight_decay": None}, {"optimizer": "nadam"}, {"max_norm": 3.0}]
)
def test_others_keep_the_kernels(changes: dict[str, object]) -> None:
    """Narrow ones, those that neither decay nor average, Keras's own optimizers, and norms, limited before averages."""
    assert not takes_one_pass(replace(WIDE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"normalization": "batch"}], ids=["by hand", "by tape"])
def test_gradients_in_bfloat16_give_the_same_step(changes: dict[str, object]) -> None:
    """Between both ways lies rounding alone: the gradients of a product in bfloat16 are cast without loss."""
    rows, hp = TrainingRows.of(tiny_dataset(n_rows=80)), replace(WIDE, epochs=1, ema=0.9, **changes)  # type: ignore[arg-type]
    found = []
    for in_one_pass in (True, False):
        pack = Pack(rows, hp, [Network(SEED)], "cross_entropy", "bfloat16")
        pack._train = fused_epoch("adam", pack._program._replace(one_pass=in_one_pass), 1)
        pack.train(0, np.full(1, hp.learning_rate, np.float32), 1)
        found.append(pack.checkpoint(1, 1))
    for one, several in zip(*((*each.weights, *each.state) for each in found), strict=True):
        np.testing.assert_allclose(one, several, rtol=1e-5, atol=1e-7)
