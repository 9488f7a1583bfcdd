"""All charts of a study by name, as documents of plotly.js; the page sets their colors and size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import optuna

from search.reporting.charts.learning import all_curves
from search.reporting.charts.points import StudyPoints, TooFewTrialsError, study_points
from search.reporting.charts.search import history, pruning, timeline
from search.reporting.charts.space import contour, importances, parallel, slices

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Document: TypeAlias = dict[str, Any]
"""A figure in plain values."""

CHARTS: Mapping[str, Callable[[StudyPoints], Figure]] = {
    "history": history,
    "importances": importances,
    "parallel": parallel,
    "slices": slices,
    "contour": contour,
    "all_curves": all_curves,
    "pruning": pruning,
    "timeline": timeline,
}
"""The function of each chart of a study."""


@dataclass(slots=True)
class StudyCharts:
    """The charts of a page.

    Attributes:
        documents: Of those that are drawn, by name.
        notes: A line to each of these.
        missing: Why the others are not drawn, by name.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, draw: Callable[[], Figure]) -> None:
        """Draws a chart, or says why not."""
        try:
            figure = draw()
        except TooFewTrialsError as error:
            self.missing[name] = str(error)
            return
        self.notes[name] = (figure.layout.title.subtitle.text or "").replace("<br>", " ")
        self.documents[name] = document(figure)


def study_charts(study: optuna.Study) -> StudyCharts:
    """Draws every chart of a study that has enough trials for it."""
    points, made = study_points(study), StudyCharts()
    for name, draw in CHARTS.items():
        made.add(name, lambda draw=draw: draw(points))  # type: ignore[misc]
    return made


def document(figure: Figure) -> Document:
    """The figure in plain values, without the theme, title and width that the page sets."""
    made: Document = json.loads(figure.to_json())
    for key in ("template", "title", "width"):
        made["layout"].pop(key, None)
    return made
