"""Prepares labels and examples for figures.

A label may hold dollar signs, line breaks, HTML or very long text, in any script. Text drawn with ``style()`` is
never parsed as mathematics or TeX, and ``shown`` cuts it by its width in the figure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipelines.files.archives import Array

# The first comes with Matplotlib; the others supply missing characters, where they are installed.
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
# Characters of a label that are measured; the rest is cut off.
MEASURED = 400
MAX_MARKS = 2
GRAY = "#999999"
# From Okabe and Ito's palette, which color-blind readers tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
# Longer rows of numbers are drawn as a line.
MAX_VALUE_BARS = 32


def shown(names: Iterable[object], ems: float) -> list[str]:
    """Returns the names as they are drawn, each with its number in front where they would look the same.

    Args:
        names: Class names in the order of the classes.
        ems: Width of each, in multiples of the font size.
    """
    texts = [str(name) for name in names]
    short = [shortened(text, ems) for text in texts]
    if len(set(short)) == len(short) and not any(UNKNOWN in name for name in short):
        return short
    return [f"{i}: {shortened(text, ems - 2)}" for i, text in enumerate(texts)]


def shortened(text: str, ems: float) -> str:
    """Returns one line at most ``ems`` wide, cut with an ellipsis; characters without a font become a mark."""
    visible = "".join(character if character.isprintable() else " " for character in text[:MEASURED])
    line, width, marks = "", 0.0, 0
    for character in " ".join(visible.split()):
        # Accents have no width, but a stack of them grows out of its line.
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
    """Returns keywords for a Matplotlib text that is drawn literally."""
    return {"parse_math": False, "usetex": False, "fontfamily": list(_families())}


def draw_example(axes: Axes, example: Array, span: tuple[float, float]) -> None:
    """Draws a picture, or a row of numbers as bars or a line.

    Args:
        axes: Where to draw.
        example: One row of a dataset, of any shape.
        span: Values of black and white.
    """
    low, high = span
    axes.set_xticks([])
    if example.ndim == 3 and example.shape[-1] == 1:
        example = example[..., 0]
    if example.ndim == 2 or (example.ndim == 3 and example.shape[-1] in (3, 4)):
        scaled = np.clip((example.astype(float) - low) / ((high - low) or 1), 0, 1)
        axes.imshow(scaled, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        return
    values = example.ravel().astype(float)
    axes.tick_params(labelsize=6, pad=1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter("{x:.3g}")
    if len(values) <= MAX_VALUE_BARS:
        axes.bar(range(len(values)), values, color=GRAY)
    else:
        axes.plot(values, color=GRAY, linewidth=0.8)


def pick_examples(probabilities: Array, labels: Array, n: int = 9) -> tuple[Array, Array]:
    """Picks rows to look at: random right ones, and the wrong ones with the highest probability.

    Random correct rows show typical successes of the model; confident mistakes often show wrong labels. Rows of
    equal probability keep their order.

    Args:
        probabilities: (n_rows, n_classes) float32.
        labels: (n_rows,) int.
        n: Rows of each kind at most.

    Returns:
        Row numbers of correct rows, ascending, and of wrong rows, the most confident mistake first.
    """
    is_right = probabilities.argmax(axis=1) == labels
    right, wrong = np.flatnonzero(is_right), np.flatnonzero(~is_right)
    drawn = np.random.default_rng(0).choice(right, size=min(n, len(right)), replace=False)
    most_confident = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    return np.sort(drawn), most_confident[:n]


@lru_cache
def _families() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return tuple(family for family in FAMILIES if family in installed)


@lru_cache(maxsize=4096)
def _ems(character: str) -> float | None:
    """Returns a character's width in multiples of the font size; None if no installed family has it."""
    for family in _families():
        font = font_manager.get_font(font_manager.findfont(family))
        if font.get_char_index(ord(character)):
            font.set_size(72, 72)  # one em is 72 pixels
            return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 72
    return None
