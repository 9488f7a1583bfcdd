"""Charts of a model's predictions for rows whose targets are known: a confusion matrix, or a regression's residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipelines.files.archives import Array
from search.reporting.charts.axes import escaped
from search.reporting.charts.style import BLUE, GRAY, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_POINTS = 2000  # of a figure over rows; more of them hide each other
_MAX_COUNTS = 25
"""Classes of a matrix whose cells have room for their counts."""
_NAME_LENGTH = 18


def confusion(matrix: npt.ArrayLike, class_names: Sequence[str], rows: str = "validation rows") -> Figure:
    """Counts of true against predicted classes, shaded by the square root of the share of the true class.

    Args:
        matrix: (n_classes, n_classes) counts, one row for each true class.
        class_names: n_classes names.
        rows: The predictions.
    """
    counts = np.asarray(matrix)
    n = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…" for name in class_names]
    labels = [escaped(name) for name in names]
    n_right, n_rows = int(np.trace(counts)), int(counts.sum())
    note = f"{n_right:,} of {n_rows:,} {rows} are classified correctly. Darker: a larger share of the true class."
    step = -(-n // 50)
    ticks = {"tickvals": list(range(0, n, step)), "ticktext": labels[::step]}
    plain = {"showgrid": False, "zeroline": False, "automargin": True}
    axes = {
        "xaxis": {"title": "predicted", **plain, **ticks},
        "yaxis": {"title": "true", "autorange": "reversed", **plain, **ticks},
    }
    figure = new_figure("Confusion matrix", note, **axes, height=max(340, min(820, 150 + 36 * n)))
    hover = [[f"{labels[i]} as {labels[j]}: {counts[i, j]:,}, {shares[i, j]:.1%}" for j in range(n)] for i in range(n)]
    figure.add_heatmap(
        z=np.sqrt(shares).round(4).tolist(), zmin=0, zmax=1, colorscale=[[0, "rgba(0,114,178,0.04)"], [1, BLUE]],
        showscale=False, hoverinfo="text", hovertext=hover, xgap=1, ygap=1,
    )  # fmt: skip
    if n <= _MAX_COUNTS:
        texts = [[f"{count:,}" if count else "" for count in row] for row in counts.tolist()]
        figure.update_traces(text=texts, texttemplate="%{text}")
    return figure


def residuals(predicted: Array, truth: Array) -> dict[str, Figure]:
    """The figures ``predicted`` and ``residuals`` of a regression, by name.

    Args:
        predicted: (n_rows,) predictions, in the target's own unit.
        truth: (n_rows,) values.
    """
    kept = np.sort(np.random.default_rng(0).permutation(len(truth))[:MAX_POINTS])
    x, y = truth[kept].tolist(), predicted[kept].tolist()
    ends = [min(x + y), max(x + y)]
    points = {"mode": "markers", "marker": {"opacity": 0.5, "size": 5, "color": BLUE}, "showlegend": False}
    line = {"mode": "lines", "line": {"dash": "dot", "color": GRAY}, "showlegend": False, "hoverinfo": "skip"}
    note = f"{MAX_POINTS:,} of {len(truth):,} rows, chosen at random." if len(truth) > MAX_POINTS else ""
    agreement = new_figure("Predicted against true values", note, xaxis_title="true", yaxis_title="predicted")
    agreement.add_scatter(x=x, y=y, **points).add_scatter(x=ends, y=ends, **line)
    errors = new_figure("Residuals", note, xaxis_title="predicted", yaxis_title="true minus predicted")
    errors.add_scatter(x=y, y=(truth - predicted)[kept].tolist(), **points)
    errors.add_scatter(x=[min(y), max(y)], y=[0, 0], **line)
    return {"predicted": agreement, "residuals": errors}
