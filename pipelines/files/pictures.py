"""Reads a picture file as a row of the model's dataset: its size, channels, black and white."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")  # checked by content: Pillow starts programs for some other formats
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_FEW_SHADES = 31
"""The highest value of rows such as those of digits, 0 to 16, or of masks, 0 to 1: nobody can see a picture of them."""
_N_SAMPLED = 1000
"""Rows, evenly spread, that show whether all are of whole numbers."""


def value_range(x: Array) -> tuple[float, float]:
    """Returns the values of black and white among training rows, as programs write them.

    Those are 0 and 255 or 65,535 of whole numbers, and 0 or -1 and 1 of fractions. Of few shades, and of any other
    scale, they are the lowest and the highest value.

    Args:
        x: (n_rows, *input_shape) uint8 or float32.
    """
    low, high = float(x.min()), float(x.max())
    few = x[:: max(1, len(x) // _N_SAMPLED)]
    are_whole = bool((few == np.floor(few)).all())
    if are_whole and low >= 0 and _FEW_SHADES < high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0
    if not are_whole and low >= -1 and high <= 1:
        return (0.0 if low >= 0 else -1.0), 1.0
    return low, high


def read_picture(
    path: Path, input_shape: tuple[int, ...], value_range: tuple[float, float], *, invert: bool = False
) -> Array:
    """Reads a PNG or JPEG of any size and color.

    The picture is rotated as its EXIF data says, put on white where it is transparent, converted to the model's
    channels, resized, and padded to the model's proportions with the median color of its edge. A row of (n * n) values
    counts as an n x n picture. Where the rows have few shades, a picture without others has the values of a row.

    Args:
        path: The file.
        input_shape: (height, width), (height, width, channels) or (height * width,).
        value_range: Values of black and white in the model's dataset.
        invert: Whether dark and light are swapped: MNIST's digits are light on dark, a scan's dark on light.

    Returns:
        (1, *input_shape) float32.

    Raises:
        DataError: The file is not a picture, or the model does not take pictures.
    """
    height, width, channels = _picture_shape(input_shape)
    image, white = _open(path, _MODES[channels])
    pixels = np.asarray(_fit(image, width, height), dtype=np.float64)
    low, high = value_range
    if low == 0 and high <= _FEW_SHADES and white == 255 and pixels.max() <= high:
        white = high
    shades = pixels / white
    x = low + (1 - shades if invert else shades) * (high - low)
    return x.reshape(1, *input_shape).astype(np.float32)


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    side = math.isqrt(shape[0])
    if len(shape) == 1 and side > 1 and side**2 == shape[0]:
        return side, side, 1
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) == 3 and shape[2] in _MODES:
        return shape[0], shape[1], shape[2]
    raise DataError(f"model: must take pictures to be given one, but its rows are {shape}: give it a file of rows")


def _open(path: Path, mode: str) -> tuple[Image, float]:
    """A picture in a mode of ``_MODES``, or gray in the mode F, and its value of white."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as file:
                image: Image.Image = ImageOps.exif_transpose(file)
                image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: must be a picture of ordinary size ({error}): make it smaller") from error
    except Exception as error:  # Pillow raises many types for damaged files
        raise DataError(f"{path}: must be a complete PNG or JPEG picture ({error}): save it again") from error
    if image.mode.startswith("I"):  # 16 bits per value, which Pillow would clip at 255
        values = np.asarray(image, dtype=np.float32)
        if mode == "L":
            return Image.fromarray(values), 65535.0
        image = Image.fromarray((values / 257).round().astype(np.uint8))
    if mode != "RGBA" and ("A" in image.getbands() or "transparency" in image.info):
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    return image.convert(mode), 255.0


def _fit(image: Image, width: int, height: int) -> Image:
    """Resizes a picture to fit into width x height and pads it with the median color of its edge."""
    from PIL import Image, ImageOps

    if image.size == (width, height):
        return image
    scale = max(image.width / width, image.height / height)
    pixels = np.asarray(image)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    color = tuple(np.atleast_1d(np.median(rim, axis=0)).astype(int).tolist())
    # Resized before it is padded: a line of a million pixels would become a square of them.
    fitting = max(1, round(image.width / scale)), max(1, round(image.height / scale))
    small = image.resize(fitting, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BOX)
    return ImageOps.pad(small, (width, height), color=color if len(color) > 1 else color[0])
