"""Learning curves as an SVG from a template of our own: every trial has them, and none is to wait for a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

# From Okabe and Ito's palette, which colour-blind readers tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
_SIZE, _PANEL = (800, 300), (320, 190)  # pixels
_LEFT, _TOP, _PITCH = 52, 62, 400
_FEW = 6  # a curve of fewer epochs is drawn with its points

History = Sequence[tuple[int, Mapping[str, float]]]
"""(epoch, its metrics by name) in order: ``loss``, ``accuracy``, and ``val_loss``, ``val_accuracy`` where there are."""


def learning_curves(history: History, best_epoch: int | None = None) -> str:
    """Loss and accuracy over the epochs, of training and validation rows, the best epoch marked.

    Args:
        history: One entry an epoch; a value that is not finite leaves a gap.
        best_epoch: The epoch whose weights were kept; one that is not in the history is not marked.

    Returns:
        An SVG document. A page that takes it in sets the colours by its classes: ``paper``, ``training``,
        ``validation``; lines and text are drawn in the current colour.
    """
    panels = [_panel(history, best_epoch, name, _LEFT + i * _PITCH) for i, name in enumerate(("loss", "accuracy"))]
    keys = [("training", BLUE, "training"), ("validation", VERMILION, "validation")]
    legend = [
        f'<path class="{kind}" stroke="{colour}" stroke-width="2" d="M{x} 20h22"/>'
        f'<text x="{x + 28}" y="24">{text}</text>'
        for x, (kind, colour, text) in zip((_LEFT, _LEFT + 110), keys, strict=True)
    ]
    if any(epoch == best_epoch for epoch, _ in history):
        x = _LEFT + 232
        legend.append(f'<path stroke="currentColor" stroke-dasharray="4 3" d="M{x} 20h22"/>')
        legend.append(f'<text x="{x + 28}" y="24">best epoch</text>')
    width, height = _SIZE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" color="#333"'
        ' font-family="system-ui, sans-serif" font-size="12" fill="none" stroke-linecap="round">'
        "<title>Learning curves</title><style>text{fill:currentColor}</style>"
        f'<rect class="paper" width="{width}" height="{height}" fill="#fff"/>{"".join(legend)}{"".join(panels)}</svg>\n'
    )


def _panel(history: History, best_epoch: int | None, name: str, left: float) -> str:
    """One pair of curves in its axes; the title says what validation reached at the best epoch."""
    width, height = _PANEL
    epochs = [epoch for epoch, _ in history]
    pairs = [(kind, [metrics.get(key, math.nan) for _, metrics in history]) for kind, key in _kinds(name)]
    finite = [value for _, values in pairs for value in values if math.isfinite(value)]
    low, high = _limits(finite)
    first, last = (epochs[0], epochs[-1]) if epochs else (1, 1)
    margin = 0.03 * (last - first) or 0.5

    def at(epoch: float, value: float) -> tuple[float, float]:
        x = left + width * (epoch - first + margin) / (last - first + 2 * margin)
        return round(x, 1), round(_TOP + height * (high - value) / (high - low), 1)

    title, marks = name.capitalize(), []
    reached = dict(zip(epochs, pairs[1][1], strict=True)).get(best_epoch or 0)
    if reached is not None:
        x, _ = at(best_epoch or 0, low)
        marks.append(f'<path stroke="currentColor" stroke-dasharray="4 3" d="M{x} {_TOP}v{height}"/>')
        title += f", {reached:.4f} at epoch {best_epoch}" if math.isfinite(reached) else ""
    for tick in _ticks(low, high):
        y = at(first, tick)[1]
        marks.append(f'<path stroke="currentColor" opacity=".2" d="M{left} {y}h{width}"/>')
        marks.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{tick:.5g}</text>')
    step = max(1, math.ceil(_step(last - first)))
    for epoch in range(-(-first // step) * step, last + 1, step):
        x = at(epoch, low)[0]
        marks.append(f'<text x="{x}" y="{_TOP + height + 18}" text-anchor="middle">{epoch}</text>')
    marks.append(f'<text x="{left + width / 2}" y="{_TOP + height + 36}" text-anchor="middle">epoch</text>')
    marks.append(f'<text x="{left}" y="{_TOP - 12}" font-size="14" font-weight="600">{title}</text>')
    for (kind, values), colour in zip(pairs, (BLUE, VERMILION), strict=True):
        points = [at(*pair) if math.isfinite(pair[1]) else None for pair in zip(epochs, values, strict=True)]
        marks.append(f'<path class="{kind}" stroke="{colour}" stroke-width="2" d="{_line(points)}"/>')
        if len(points) < _FEW:
            marks += [f'<circle class="{kind}" stroke="{colour}" cx="{p[0]}" cy="{p[1]}" r="3"/>' for p in points if p]
    return "".join(marks)


def _kinds(name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("training", name), ("validation", f"val_{name}")


def _line(points: Sequence[tuple[float, float] | None]) -> str:
    """A path through the points, with a gap at each None; a point between two gaps is a dot."""
    parts, broken = [], True
    for point in points:
        if point:
            parts.append(f"{'M' if broken else 'L'}{point[0]} {point[1]}" + ("h0" if broken else ""))
        broken = point is None
    return "".join(parts)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value with a little room; they are never the same."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def _step(span: float) -> float:
    """The step of four marks or so over a span: 1, 2 or 5 times a power of ten."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / 4 * 0.999)


def _ticks(low: float, high: float) -> Iterator[float]:
    step = _step(high - low)
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield i * step
