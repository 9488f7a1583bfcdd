"""Shared by all figures: colors that color-blind readers can tell apart, a heading, and a note beneath it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.reporting.charts.points import Points, StudyPoints

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BLUE, ORANGE, GRAY, VERMILION = "#0072B2", "#E69F00", "#9AA5AF", "#D55E00"
CURVE_COLORS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#56B4E9", ORANGE, "#7A5195", "#8C6D31")
"""Okabe and Ito's, the first ones; readable on light and dark pages."""
BRIGHTNESS = "Viridis"
"""Of values: the brighter, the better."""
LEGEND = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
"""A line above the chart, beneath the note."""
_TOP_PX, _LINE_PX = 104, 16
_NOTE_CHARACTERS = 72
"""Of a line that fits a notebook's page on a site, 570 pixels."""


def new_figure(heading: str, note: str = "", **layout: object) -> Figure:
    """An empty figure; the report sets its own theme and shows the heading and the note as text."""
    from plotly.graph_objects import Figure

    # Plotly writes the legend over the note where the place of the title follows from the margin.
    place = {"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 14}}
    lines = textwrap.wrap(note, _NOTE_CHARACTERS)  # Plotly cuts what is wider than the chart
    title = {"text": heading, "subtitle": {"text": "<br>".join(lines)}, **place}
    more = _LINE_PX * max(0, len(lines) - 1)
    margin = {"l": 64, "r": 32, "t": _TOP_PX + more, "b": 56}
    figure = Figure(layout={"template": "plotly_white", "title": title, "margin": margin, **layout})
    if figure.layout.height:
        figure.layout.height += more
    return figure


def beyond(study: StudyPoints, points: Points) -> list[str]:
    """The symbol of each trial that the axis of the values does not reach; "" for the others."""
    symbol = "triangle-down" if study.objective.maximize else "triangle-up"
    return [symbol if study.is_beyond(point.value) else "" for point in points]


def add_marked(
    figure: Figure,
    points: Points,
    x: Sequence[float],
    y: Sequence[float],
    *,
    is_detailed: bool = True,
    beyond: Sequence[str] = (),
    **options: object,
) -> None:
    """Adds trials as markers: a filled blue circle for a complete one, an orange ring for a pruned one.

    Args:
        figure: Takes the markers.
        points: The trials.
        x: A place for each trial.
        y: A place for each trial.
        beyond: A symbol for each trial that the axis does not reach, "" for the others; none where it reaches all.
        is_detailed: Whether a hover text has the configuration.
        **options: Of both traces, such as their axes.
    """
    kinds: tuple[tuple[str, bool, dict[str, object]], ...] = (
        ("complete", True, {"color": BLUE, "opacity": 0.75}),
        ("pruned", False, {"color": ORANGE, "symbol": "circle-open"}),
    )
    for name, wanted, marker in kinds:
        kept = [index for index, point in enumerate(points) if point.is_complete == wanted]
        if not kept:
            continue
        if any(beyond[index] for index in kept if beyond):
            ending = "" if wanted else "-open"
            marker["symbol"] = [f"{beyond[index] or 'circle'}{ending}" for index in kept]
        figure.add_scatter(
            x=[x[index] for index in kept],
            y=[y[index] for index in kept],
            text=[points[index].words if is_detailed else points[index].brief for index in kept],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            marker={"size": 8, "line": {"width": 1.5}, **marker},
            **{"name": name, "legendgroup": name, **options},
        )
