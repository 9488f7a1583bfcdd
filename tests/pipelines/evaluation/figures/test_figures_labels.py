"""Labels that could break a figure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from figure_layout import assert_all_inside, laid_out
from hypothesis import given, settings, strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipelines.evaluation.figures import charts as figures

EVIL = [
    "$\\frac{a$ and $x^2$",
    "line one\nline two\ttab",
    "<script>alert('x')</script>",
    "W" * 500,
    "中文标签",
    "שלום עולם",
    "العربية",
    "a" + "\u0301" * 300,
    "\ud800\x00\x1b[31m",
    "",
]


def every_figure(names: list[str]) -> dict[str, Callable[[], Figure]]:
    n = len(names)
    return {
        "confusion": lambda: figures.confusion_matrix(np.eye(n, dtype=int), names),
        "predictions": lambda: figures.prediction_grid(np.zeros((n, 4, 4)), np.arange(n), np.eye(n), names),
        "examples": lambda: figures.example_grid(np.zeros((n, 4, 4)), np.arange(n), names),
        "probabilities": lambda: figures.class_probabilities(np.zeros((4, 4)), np.eye(n)[n - 1], names),
    }


class TestLabels:
    @pytest.mark.parametrize("kind", ["confusion", "predictions", "examples", "probabilities"])
    @pytest.mark.parametrize("name", EVIL)
    def test_no_label_breaks_a_figure(self, kind: str, name: str) -> None:
        assert_all_inside(every_figure([name, "other"])[kind]())

    @pytest.mark.parametrize("kind", ["confusion", "predictions", "examples", "probabilities"])
    def test_mathematics_stays_as_it_was_typed(self, kind: str) -> None:
        figure = every_figure(["$x^2$", "b"])[kind]()
        texts = [text for text in laid_out(figure).findobj(Text) if isinstance(text, Text)]
        typed = [text for text in texts if "$x^2$" in text.get_text()]
        assert typed
        assert not any(text.get_parse_math() for text in typed)

    @settings(max_examples=15)
    @given(st.lists(st.text(max_size=30), min_size=2, max_size=3))
    def test_any_text_at_all(self, names: list[str]) -> None:
        assert_all_inside(every_figure(names)["probabilities"]())

    def test_titles_of_neighbours_do_not_touch(self) -> None:
        n = len(EVIL)
        figure = figures.prediction_grid(np.zeros((n, 4, 4)), np.arange(n), np.eye(n), EVIL)
        assert_all_inside(figure)
        boxes = [axes.title.get_window_extent() for axes in figure.axes]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
