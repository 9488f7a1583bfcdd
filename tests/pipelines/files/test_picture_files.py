"""A picture file of a row is read as that row, whatever scale the rows have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.files.pictures import read_picture, value_range

RNG = np.random.default_rng(0)
WHOLE = {
    "all of 8 bits": (255, np.uint8),
    "the dark ones of 8 bits": (98, np.uint8),
    "masks": (1, np.uint8),
    "digits": (16, np.uint8),
    "12 of 16 bits": (3999, np.uint16),
    "all of 16 bits": (65535, np.uint16),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_of_whole_numbers_has_the_values_of_its_row(case: str, tmp_path: Path) -> None:
    high, dtype = WHOLE[case]
    rows = RNG.integers(0, high, (40, 6, 6), endpoint=True).astype(dtype)
    rows[0, 0, 0], rows[1] = high, rows[1] // 3
    held = rows if dtype is np.uint8 else rows.astype(np.float32)
    for row in rows[:2]:  # a dark one too
        Image.fromarray(row).save(tmp_path / "row.png")
        assert np.array_equal(read_picture(tmp_path / "row.png", (6, 6), value_range(held))[0], row)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 0.4)])
def test_fractions_are_shares_of_white(low: float, high: float, tmp_path: Path) -> None:
    shades = RNG.integers(0, 255, (40, 6, 6, 3), endpoint=True).astype(np.uint8)
    shades[0, 0, 0] = 0
    rows = (low + (high - low) * shades / 255).astype(np.float32)
    written = rows[0] * 255 if low == 0 else (rows[0] + 1) * 127.5
    Image.fromarray(written.round().astype(np.uint8)).save(tmp_path / "row.png")
    assert read_picture(tmp_path / "row.png", (6, 6, 3), value_range(rows))[0] == pytest.approx(rows[0], abs=0.005)


def test_a_drawn_picture_of_a_mask_or_a_digit_has_its_shades_scaled(tmp_path: Path) -> None:
    drawn = RNG.integers(0, 255, (6, 6), endpoint=True).astype(np.uint8)
    drawn[0, 0] = 255
    Image.fromarray(drawn).save(tmp_path / "drawn.png")
    for high in (1, 16):
        assert read_picture(tmp_path / "drawn.png", (6, 6), (0.0, high))[0] == pytest.approx(drawn / 255 * high)
    assert read_picture(tmp_path / "drawn.png", (6, 6), (0.0, 16.0), invert=True)[0, 0, 0] == 0


def test_the_scale_of_16_bits_does_not_depend_on_the_brightest_pixel(tmp_path: Path) -> None:
    dark = RNG.integers(0, 255, (6, 6)).astype(np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    assert np.array_equal(read_picture(tmp_path / "dark.png", (6, 6), (0.0, 65535.0))[0], dark)
    assert read_picture(tmp_path / "dark.png", (6, 6, 3), (0.0, 255.0)).max() <= 1
    larger = Image.fromarray(dark).resize((12, 12), Image.Resampling.NEAREST)
    larger.save(tmp_path / "larger.png")
    assert np.array_equal(read_picture(tmp_path / "larger.png", (6, 6), (0.0, 65535.0))[0], dark)
