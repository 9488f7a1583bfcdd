"""Pictures that are shifted and mirrored while a network trains."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines.config import Hyperparameters, are_pictures
from pipelines.network.layers import Seeds
from pipelines.network.steps.pictures import Pictures
from pipelines.network.streams import dropout_seed

SHAPE = (5, 7, 3)


def rows(n: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Pictures whose values are all different and not 0."""
    size = int(np.prod(shape))
    return (np.arange(n * size).reshape(n, size) % 255 + 1).astype(np.uint8)


def moved(
    x: np.ndarray, *, shift: int, flip: bool, seed: object = (0, 0), step: int = 0, shape: tuple[int, ...] = SHAPE
) -> np.ndarray:
    pictures = Pictures.of(Hyperparameters(shift=shift, flip=flip), shape)
    assert pictures is not None
    return pictures.move(tf.constant(x), Seeds.of(tf.constant(seed, tf.int64)), tf.constant(step)).numpy()


def by_hand(picture: np.ndarray, down: int, across: int, *, mirrored: bool) -> np.ndarray:
    """What one way of moving makes of a picture."""
    height, width = picture.shape[:2]
    out = np.zeros_like(picture)
    for i in range(max(0, down), min(height, height + down)):
        for j in range(max(0, across), min(width, width + across)):
            out[i, j] = picture[i - down, j - across]
    return out[:, ::-1] if mirrored else out


@pytest.mark.parametrize(("shift", "flip"), [(0, True), (1, False), (2, True)])
@pytest.mark.parametrize("shape", [SHAPE, (6, 4), (4, 30, 3)])
def test_every_way_comes_equally_often_and_what_comes_in_is_0(shift: int, flip: bool, shape: tuple[int, ...]) -> None:
    offsets = range(-shift, shift + 1)
    n = 40 * len(offsets) ** 2 * (1 + flip)
    x = rows(1, shape)
    ways = {
        by_hand(x.reshape(shape), down, across, mirrored=mirrored).tobytes()
        for down in offsets
        for across in offsets
        for mirrored in ([False, True] if flip else [False])
    }
    out = moved(np.repeat(x, n, 0), shift=shift, flip=flip, shape=shape)
    found, counts = np.unique(out.astype(np.uint8), axis=0, return_counts=True)
    assert {picture.tobytes() for picture in found} == ways
    assert 10 < counts.min() <= counts.max() < 80


def test_each_picture_is_moved_by_itself() -> None:
    x = rows(30)
    out = moved(x, shift=1, flip=False)
    for before, after in zip(x.reshape(-1, *SHAPE), out.reshape(-1, *SHAPE), strict=True):
        assert any(
            np.array_equal(after, by_hand(before, down, across, mirrored=False))
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
        )


def test_the_draw_differs_by_seed_epoch_and_step_and_can_be_repeated() -> None:
    x = rows(50)
    places = [((0, 0), 0), ((1, 0), 0), (dropout_seed(0, 1), 0), ((0, 0), 1)]
    drawn = [moved(x, shift=2, flip=True, seed=seed, step=step) for seed, step in places]
    assert len({out.tobytes() for out in drawn}) == 4
    np.testing.assert_array_equal(drawn[0], moved(x, shift=2, flip=True))


def test_networks_side_by_side_see_what_each_would_see_alone() -> None:
    x, seeds = np.stack([rows(9), rows(9)[::-1]]).astype(np.float32), [(3, 1 << 32), (4, 0)]
    together = moved(x, shift=2, flip=True, seed=seeds, step=5)
    for place, seed in enumerate(seeds):
        np.testing.assert_array_equal(together[place], moved(x[place], shift=2, flip=True, seed=seed, step=5))


def test_nothing_is_drawn_without_shift_and_flip() -> None:
    assert Pictures.of(Hyperparameters(), SHAPE) is None
    assert Pictures.of(Hyperparameters(shift=0, flip=False), (12,)) is None


def test_what_counts_as_pictures() -> None:
    assert are_pictures((28, 28))
    assert are_pictures((32, 32, 3))
    assert not any(map(are_pictures, [(12,), (3, 32, 32), (2, 2, 2, 2)]))
