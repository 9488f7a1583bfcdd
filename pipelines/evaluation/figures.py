"""Pictures of one model: the confusion matrix, its answers, and its data.

Every function returns a ``Figure`` of its own and none touches pyplot, so that they work in threads. The same
input gives the same bytes. Labels come from data: they are never read as markup, and are cut to their room.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from pipelines.errors import InputError, UnavailableError
from pipelines.evaluation.drawing import BLUE, GREY, VERMILION, draw_example, shown, style, value_range

DPI = 100
# More bars than these cannot be read side by side.
MAX_BARS = 20
# Of more classes a confusion matrix shows the shading alone.
MAX_NAMED = 50


def confusion_matrix(matrix: npt.ArrayLike, class_names: Sequence[str]) -> Figure:
    """Counts of true against predicted classes, shaded by the share of the true class.

    The shading follows the square root of the share, or rare mistakes could not be seen. An empty cell is 0.

    Args:
        matrix: (n_classes, n_classes) counts, a row for each true class.
        class_names: n_classes names.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n, names = len(counts), shown(class_names, 9)
    cell = min(0.8, max(0.26, 6.5 / n), 13 / n)  # inches
    side = cell * n + 1.6
    figure = Figure(figsize=(side + 0.7, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=30, pad=0.02, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1%", "10%", "25%", "50%", "100%"], fontsize=8)
    bar.set_label("share of the true class", fontsize=9)
    size = min(10.0, cell * 72 / (0.7 * len(str(counts.max(initial=0))) + 0.6))
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
    for row, column in np.argwhere(counts) if n <= MAX_NAMED else ():
        colour = "white" if shares[row, column] > 0.3 else "black"
        axes.text(column, row, str(counts[row, column]), color=colour, **centred)
    text = {"fontsize": min(10.0, max(6.0, cell * 50)), **style()}
    named = range(0, n, math.ceil(n / MAX_NAMED))
    turned = 90 if max(map(len, names)) * 6 > cell * 72 else 0
    axes.set_xticks(named, [names[i] for i in named], rotation=turned, **text)
    axes.set_yticks(named, [names[i] for i in named], **text)
    axes.set_title("Confusion matrix", fontsize=11)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("true", fontsize=10)
    return figure


def prediction_grid(
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    n: int = 9,
) -> Figure:
    """A grid of examples with what the model said, how sure it was, and what is true.

    Args:
        x: (n_rows, ...) raw inputs; pictures are drawn as such, other rows as bars, lines or text.
        labels: (n_rows,) int.
        probabilities: (n_rows, n_classes).
        class_names: n_classes names.
        n: Examples at most, the first ones.
    """
    given, truth, names = np.asarray(probabilities), np.asarray(labels), shown(class_names, 7.5)
    titles = [
        (
            f"predicted ({row.max():.1%}) {names[row.argmax()]}\ntrue {names[true]}",
            BLUE if row.argmax() == true else VERMILION,
        )
        for row, true in zip(given[:n], truth[:n], strict=True)
    ]
    return _grid(np.asarray(x)[:n], titles, n)


def example_grid(x: npt.ArrayLike, labels: npt.ArrayLike, class_names: Sequence[str], n: int = 25) -> Figure:
    """A grid of a dataset's first examples with their labels.

    Args:
        x: (n_rows, ...) raw inputs.
        labels: (n_rows,) int.
        class_names: n_classes names.
        n: Examples at most.
    """
    names = shown(class_names, 10)
    return _grid(np.asarray(x)[:n], [(names[label], "black") for label in np.asarray(labels)[:n]], n)


def class_probabilities(example: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]) -> Figure:
    """One example beside bars of its class probabilities, the most probable class highlighted.

    Args:
        example: One raw input of any shape.
        probabilities: (n_classes,); where there are many classes, the most probable are shown.
        class_names: n_classes names.
    """
    given, names = np.asarray(probabilities), shown(class_names, 12)
    order = np.arange(len(given)) if len(given) <= MAX_BARS else np.argsort(-given, kind="stable")[:MAX_BARS]
    winner = given.argmax()
    figure = Figure(figsize=(8.0, max(3.2, 0.26 * len(order) + 0.9)), dpi=DPI, layout="constrained")
    picture, axes = figure.subplots(1, 2, width_ratios=(1, 1.4))
    draw_example(picture, np.asarray(example), value_range(np.asarray(example)))
    picture.set_title(f"predicted ({given[winner]:.1%})\n{names[winner]}", fontsize=11, **style())
    colours = [BLUE if i == winner else GREY for i in order]
    bars = axes.barh(range(len(order)), given[order], color=colours)
    axes.bar_label(bars, [f"{given[i]:.1%}" for i in order], padding=3, fontsize=9)
    axes.set_yticks(range(len(order)), [names[i] for i in order], fontsize=9, **style())
    middle, half = (len(order) - 1) / 2, max(6.0, len(order)) / 2 + 0.2
    axes.set_ylim(middle + half, middle - half)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    left_out = f", the highest {MAX_BARS} of {len(given)}" if len(given) > MAX_BARS else ""
    axes.set_title("Probability" + left_out, fontsize=11)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes, without the date or the version of anything."""
    buffer = io.BytesIO()
    # Light compression takes a third of the time and a third more room.
    options: dict[str, Any] = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 1}}
    figure.savefig(buffer, format="png", dpi="figure", **options)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file.

    Raises:
        InputError: The file's name does not end in ``.png``.
        UnavailableError: The file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a figure's file must end in .png")
    try:
        path.write_bytes(to_png(figure))
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _grid(x: npt.NDArray[Any], titles: Sequence[tuple[str, str]], n: int) -> Figure:
    """Examples in a grid, each under its title and colour; places without an example stay empty."""
    columns = max(1, math.ceil(math.sqrt(min(n, len(x)))))
    rows = max(1, math.ceil(len(x) / columns))
    figure = Figure(figsize=(2.3 * columns, 2.4 * rows), dpi=DPI)
    # In shares of a cell: room for two lines of title over each example, and for numbers at its left.
    figure.subplots_adjust(0.17 / columns, 0.05 / rows, 1 - 0.1 / columns, 1 - 0.2 / rows, 0.3, 0.28)
    if not len(x):
        figure.text(0.5, 0.5, "no examples", ha="center", va="center", fontsize=10)
    span = value_range(x)
    for place, (example, (title, colour)) in enumerate(zip(x, titles, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        draw_example(axes, example, span)
        axes.set_title(title, fontsize=8.5, color=colour, **style())
    return figure
