"""Figures of one model: its confusion matrix, its predictions and its data.

Every function returns a ``Figure`` of its own and none uses pyplot, so they work in threads. The same input gives
the same bytes. Labels come from data: they are never parsed as markup, and are cut to the space they have.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from pipelines.errors import InputError, UnavailableError
from pipelines.evaluation.figures.drawing import BLUE, GRAY, VERMILION, draw_example, shown, style
from pipelines.files.archives import Array

DPI = 100
MAX_EXAMPLES = 25
# Bars of class probabilities; more of them are too small to read.
MAX_BARS = 20
# Classes of a confusion matrix with counts; with more it shows the shading alone.
MAX_NAMED = 50
# Points of a scatter; more of them cover each other.
MAX_POINTS = 4000


def confusion_matrix(matrix: npt.ArrayLike, class_names: Sequence[str]) -> Figure:
    """Draws counts of true against predicted classes, shaded by the share of the true class.

    The shading follows the square root of the share, which makes rare mistakes visible. An empty cell is 0.

    Args:
        matrix: (n_classes, n_classes) counts, one row per true class.
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
    for row, column in np.argwhere(counts) if n <= MAX_NAMED else ():
        color = "white" if shares[row, column] > 0.3 else "black"
        axes.text(column, row, str(counts[row, column]), color=color, ha="center", va="center", fontsize=size)
    text = {"fontsize": min(10.0, max(6.0, cell * 50)), **style()}
    named = range(0, n, math.ceil(n / MAX_NAMED))
    turned = 90 if max(map(len, names)) * 6 > cell * 72 else 0
    axes.set_xticks(named, [names[i] for i in named], rotation=turned, **text)
    axes.set_yticks(named, [names[i] for i in named], **text)
    axes.set_title("Confusion matrix", fontsize=11)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("true", fontsize=10)
    return figure


def prediction_grid(x: Array, labels: Array, probabilities: Array, class_names: Sequence[str]) -> Figure:
    """Draws a grid of examples, each with its predicted class, the probability of that class, and its true class.

    Args:
        x: (n_rows, ...) raw inputs; pictures are drawn as such, other rows as bars or lines.
        labels: (n_rows,) int.
        probabilities: (n_rows, n_classes).
        class_names: n_classes names.
    """
    names = shown(class_names, 7.5)
    titles = []
    for row, label in zip(probabilities, labels, strict=True):
        color = BLUE if row.argmax() == label else VERMILION
        titles.append((f"predicted ({row.max():.1%}) {names[row.argmax()]}\ntrue {names[label]}", color))
    return _grid(x, titles)


def example_grid(x: Array, targets: Array, class_names: Sequence[str]) -> Figure:
    """Draws a grid of a dataset's first examples with their labels, or with the values of a regression's target.

    Args:
        x: (n_rows, ...) raw inputs.
        targets: (n_rows,) int; or the values of a regression, in the target's own unit.
        class_names: n_classes names; none for a regression.
    """
    if not class_names:
        return _grid(x[:MAX_EXAMPLES], [(f"{value:,.6g}", "black") for value in targets[:MAX_EXAMPLES]])
    names = shown(class_names, 10)
    return _grid(x[:MAX_EXAMPLES], [(names[label], "black") for label in targets[:MAX_EXAMPLES]])


def class_probabilities(
    example: Array, probabilities: Array, class_names: Sequence[str], predicted: int | None = None
) -> Figure:
    """Draws one example beside bars of its class probabilities, with the predicted class highlighted.

    Args:
        example: One raw input of any shape.
        probabilities: (n_classes,); where there are many classes, the most probable are shown.
        class_names: n_classes names.
        predicted: Number of the predicted class; None is the most probable one.
    """
    names, winner = shown(class_names, 12), int(probabilities.argmax()) if predicted is None else predicted
    is_cut = len(probabilities) > MAX_BARS
    order = np.argsort(-probabilities, kind="stable")[:MAX_BARS] if is_cut else np.arange(len(probabilities))
    figure = Figure(figsize=(8.0, max(3.2, 0.26 * len(order) + 0.9)), dpi=DPI, layout="constrained")
    picture, axes = figure.subplots(1, 2, width_ratios=(1, 1.4))
    draw_example(picture, example, (example.min(), example.max()))
    picture.set_title(f"predicted ({probabilities[winner]:.1%})\n{names[winner]}", fontsize=11, **style())
    colors = [BLUE if i == winner else GRAY for i in order]
    bars = axes.barh(range(len(order)), probabilities[order], color=colors)
    axes.bar_label(bars, [f"{probabilities[i]:.1%}" for i in order], padding=3, fontsize=9)
    axes.set_yticks(range(len(order)), [names[i] for i in order], fontsize=9, **style())
    middle, half = (len(order) - 1) / 2, max(6.0, len(order)) / 2 + 0.2
    axes.set_ylim(middle + half, middle - half)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    left_out = f", the highest {MAX_BARS} of {len(probabilities)}" if is_cut else ""
    axes.set_title("Probability" + left_out, fontsize=11)
    return figure


def predicted_value(example: Array, value: float, ends: tuple[float, float] | None) -> Figure:
    """Draws one example under its predicted value, with the interval of the value.

    Args:
        example: One raw input of any shape.
        value: The prediction.
        ends: Low and high end of its interval; None without one.
    """
    figure = Figure(figsize=(5.0, 3.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    draw_example(axes, example, (example.min(), example.max()))
    interval = "" if ends is None else f"\n95% interval {ends[0]:,.6g} to {ends[1]:,.6g}"
    axes.set_title(f"predicted {value:,.6g}{interval}", fontsize=11, **style())
    return figure


def residuals(truth: Array, predicted: Array) -> Figure:
    """Draws what a regression's predictions missed, truth minus prediction, over the predictions.

    Args:
        truth: (n_rows,) values in the target's own unit.
        predicted: (n_rows,) predictions of them; of more than ``MAX_POINTS``, every n-th is drawn.
    """
    drawn = slice(None, None, math.ceil(len(truth) / MAX_POINTS) or 1)
    figure = Figure(figsize=(6.4, 4.0), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=GRAY, linewidth=1)
    axes.scatter(predicted[drawn], (truth - predicted)[drawn], s=12, color=BLUE, alpha=0.5, linewidths=0)
    axes.set_xlabel("predicted", fontsize=10)
    axes.set_ylabel("true minus predicted", fontsize=10)
    axes.set_title("Residuals of the held-out test", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def to_png(figure: Figure) -> bytes:
    """Returns the bytes of a PNG file, without a date or a version in them."""
    buffer = io.BytesIO()
    # Light compression takes a third of the time and a third more space.
    compression = {"compress_level": 1}
    figure.savefig(buffer, format="png", dpi="figure", metadata={"Software": None}, pil_kwargs=compression)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file.

    Raises:
        InputError: The file's name does not end in ``.png``.
        UnavailableError: The file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a figure's file must end in .png: choose such a name")
    try:
        path.write_bytes(to_png(figure))
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written ({error.strerror}): choose another place") from error


def _grid(x: Array, titles: Sequence[tuple[str, str]]) -> Figure:
    """Draws examples in a square grid, each under its title and the title's color."""
    columns = max(1, math.ceil(math.sqrt(len(x))))
    rows = max(1, math.ceil(len(x) / columns))
    figure = Figure(figsize=(2.3 * columns, 2.4 * rows), dpi=DPI)
    # Shares of a cell: space for two lines of title above each example, and for numbers at its left.
    figure.subplots_adjust(0.17 / columns, 0.05 / rows, 1 - 0.1 / columns, 1 - 0.2 / rows, 0.3, 0.28)
    if not len(x):
        figure.text(0.5, 0.5, "no examples", ha="center", va="center", fontsize=10)
        return figure
    span = x.min(), x.max()
    for place, (example, (title, color)) in enumerate(zip(x, titles, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        draw_example(axes, example, span)
        axes.set_title(title, fontsize=8.5, color=color, **style())
    return figure
