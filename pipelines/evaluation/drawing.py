"""What comes from data, made fit for a figure: labels and examples.

A label may hold dollar signs, line breaks, HTML or a novel, in any script. Text drawn with ``style()`` is
never read as mathematics or TeX, and ``shown`` cuts it by the width that it will have.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

# The first comes with Matplotlib; the others draw what it lacks, where they are installed.
FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "Hiragino Sans",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Nirmala UI",
    "Noto Sans Thai",
)
ELLIPSIS, UNKNOWN = "…", "\ufffd"
# A label of megabytes is not measured to its end.
MEASURED = 400
MAX_MARKS = 2
GREY = "#999999"
# From Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
# A longer row of numbers is drawn as a line.
MAX_VALUE_BARS = 32


def shown(names: Iterable[object], ems: float) -> list[str]:
    """The names as they are drawn; where they cannot be told apart, each gets its number in front.

    Args:
        names: Class names in the order of the classes.
        ems: Room for each, in multiples of the font size.
    """
    texts = [str(name) for name in names]
    short = [shortened(text, ems) for text in texts]
    if len(set(short)) == len(short) and not any(UNKNOWN in name for name in short):
        return short
    return [f"{i}: {shortened(text, ems - 2)}" for i, text in enumerate(texts)]


def shortened(text: str, ems: float) -> str:
    """One line at most ``ems`` wide, cut with an ellipsis; what no installed font can draw becomes a mark."""
    visible = "".join(character if character.isprintable() else " " for character in text[:MEASURED])
    line, width, marks = "", 0.0, 0
    for character in " ".join(visible.split()):
        # Accents take no width, but a tower of them grows out of its line.
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks > MAX_MARKS:
            continue
        drawn = character if _ems(character) is not None else UNKNOWN
        width += _ems(drawn) or 0.0
        if width > ems:
            return line.rstrip() + ELLIPSIS
        line += drawn
    return line + ELLIPSIS if len(text) > MEASURED else line or "(blank)"


def style() -> dict[str, Any]:
    """Keywords of a Matplotlib text that is drawn as it stands."""
    return {"parse_math": False, "usetex": False, "fontfamily": list(_families())}


def draw_example(axes: Axes, example: npt.NDArray[Any], span: tuple[float, float]) -> None:
    """Draws a picture, or a row of numbers as bars or a line, or a row of a table as text."""
    axes.set_xticks([])
    if example.dtype.kind not in "buif":
        lines = "\n".join(shortened(str(value), 14) for value in example.ravel()[:9])
        axes.text(0.05, 0.95, lines, va="top", fontsize=8, transform=axes.transAxes, **style())
        axes.set_yticks([])
        return
    low, high = span
    if example.ndim == 3 and example.shape[-1] == 1:
        example = example[..., 0]
    if example.ndim == 2 or (example.ndim == 3 and example.shape[-1] == 3):
        scaled = np.clip((example.astype(float) - low) / ((high - low) or 1), 0, 1)
        axes.imshow(scaled, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        return
    values = example.ravel().astype(float)
    axes.tick_params(labelsize=6, pad=1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter("{x:.3g}")
    if len(values) <= MAX_VALUE_BARS:
        axes.bar(range(len(values)), values, color=GREY)
    else:
        axes.plot(values, color=GREY, linewidth=0.8)


def value_range(x: npt.NDArray[Any]) -> tuple[float, float]:
    """The lowest and highest value, the black and the white of all pictures together."""
    numbers = x[np.isfinite(x)] if x.dtype.kind in "buif" else np.zeros(0)
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)


@lru_cache
def _families() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return tuple(family for family in FAMILIES if family in installed)


@lru_cache(maxsize=4096)
def _ems(character: str) -> float | None:
    """Width of a character in multiples of the font size; None where no installed family has it."""
    for family in _families():
        font = font_manager.get_font(font_manager.findfont(family))
        if font.get_char_index(ord(character)):
            font.set_size(72, 72)  # one em is 72 pixels
            return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 72
    return None
