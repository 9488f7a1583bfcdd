"""Assertions about the layout of a figure."""

from __future__ import annotations

import warnings

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def laid_out(figure: Figure) -> Figure:
    """Draws a figure with warnings as errors and returns it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return figure


def assert_all_inside(figure: Figure) -> None:
    """Asserts that nothing is drawn outside the figure, but for a rounded pixel or two."""
    box = laid_out(figure).get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02, f"{box.extents} of {width} x {height}"
