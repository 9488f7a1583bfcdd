"""Charts of a search over time: its history, what was pruned when, and what each slot trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from search.reporting.charts.axes import escaped
from search.reporting.charts.points import Point, Points, StudyPoints, TooFewTrialsError
from search.reporting.charts.style import BLUE, GRAY, LEGEND, ORANGE, VERMILION, add_marked, beyond, new_figure
from search.reporting.display import seconds
from search.storage.attributes import RESULT

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Span: TypeAlias = tuple[float, float]
"""Begin and end, in seconds."""

_MAX_LANES = 64
_LANE_PX, _BESIDE_PX = 28, 170
_SHORTEST_PAUSE_S = 5.0
_OVERLAP_S = 0.3
"""A result is recorded a moment after its slot is free again."""
_STATES = {"complete": BLUE, "pruned": ORANGE, "fail": VERMILION}


def history(study: StudyPoints) -> Figure:
    """Each trial's best value, and the best of the complete ones so far as steps."""
    points = study.measured
    if not points:
        raise TooFewTrialsError(f"The history needs a trial with a value; study {study.name} has none so far.")
    note = "Rings are trials that were pruned: the best value that they reached." if study.n_pruned else ""
    note += study.beyond_note
    axes = {"xaxis_title": "trial", "yaxis_title": study.objective.label}
    figure = new_figure("History", note, **axes, legend=LEGEND)
    values = [study.shown(point.value) for point in points]
    add_marked(figure, points, [point.row.number for point in points], values, beyond=beyond(study, points))
    complete = [point for point in points if point.is_complete]
    steps = _best_so_far(study, complete or points)
    name = "best so far" if complete else "best so far, of pruned trials"
    line = {"shape": "hv", "width": 2, "color": VERMILION}
    figure.add_scatter(
        x=[x for x, _ in steps], y=[study.shown(y) for _, y in steps], mode="lines", line=line, name=name
    )
    return figure


def _best_so_far(study: StudyPoints, points: Points) -> list[tuple[int, float]]:
    """The best value after each trial, by its number; the last step reaches to the last trial of all."""
    steps: list[tuple[int, float]] = []
    for point in points:
        is_better = not steps or study.objective.is_better(point.value, steps[-1][1])
        steps.append((point.row.number, point.value if is_better else steps[-1][1]))
    last = study.measured[-1].row.number
    return steps if steps[-1][0] == last else [*steps, (last, steps[-1][1])]


def pruning(study: StudyPoints) -> Figure:
    """The number of trials pruned after each epoch."""
    pruned = [point for point in study.points if point.row.state == "PRUNED" and point.row.stop_reason != "diverged"]
    if not pruned:
        raise TooFewTrialsError(f"The chart of pruned trials needs one; study {study.name} has pruned none so far.")
    counts = Counter(point.row.epochs_trained for point in pruned)
    axes = {"xaxis": {"title": "epoch", "type": "category"}, "yaxis": {"title": "trials pruned", "tickformat": "d"}}
    figure = new_figure("Pruning", "", **axes)
    return figure.add_bar(
        x=sorted(counts), y=[counts[epoch] for epoch in sorted(counts)], marker={"color": BLUE},
        hovertemplate="%{y} after epoch %{x}<extra></extra>",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Job:
    """A trial in its slot, with its begin and end in seconds since the search began."""

    point: Point
    lane: str
    begin_s: float
    end_s: float


def timeline(study: StudyPoints) -> Figure:
    """The trials of each slot over time, and its waits; pauses between two runs of the study are cut out."""
    spans = [(point, span) for point in study.points if (span := _span(point))]
    if not spans:
        raise TooFewTrialsError(f"The timeline needs a trial that trained; study {study.name} has none so far.")
    pauses = _pauses([span for _, span in spans], study.elapsed_s)
    jobs = _jobs(spans, pauses)
    every = list(dict.fromkeys(job.lane for job in jobs))
    lanes = sorted(every, key=_natural)[:_MAX_LANES]
    jobs = [job for job in jobs if job.lane in lanes]
    end_s = max(job.end_s for job in jobs)
    unit, divisor = ("s", 1.0) if end_s < 300 else ("min", 60.0) if end_s < 4 * 3600 else ("h", 3600.0)
    busy = sum(job.end_s - job.begin_s for job in jobs) / (len(lanes) * end_s) if end_s else 1.0
    note = f"{len(every)} slot{'s' if len(every) > 1 else ''}, in training {busy:.0%} of the time."
    note += " Dotted lines are pauses between two runs of the study." if pauses else ""
    note += f" The first {_MAX_LANES} slots are drawn." if len(every) > _MAX_LANES else ""
    axes = {
        "xaxis": {"title": f"time of the search in {unit}", "range": [0, end_s / divisor]},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": lanes[::-1], "tickvals": lanes},
    }
    height = _LANE_PX * len(lanes) + _BESIDE_PX
    layout = {"barmode": "overlay", "height": height, "legend": LEGEND, "meta": {"lanes": len(lanes)}}
    figure = new_figure("Slots", note, **axes, **layout)
    _add_jobs(figure, jobs, divisor)
    _add_waits(figure, jobs, end_s, divisor)
    first_s = min(begin for _, (begin, _) in spans)
    for begin, _ in pauses:
        figure.add_vline(
            x=(_moved(begin, pauses) - _moved(first_s, pauses)) / divisor, line={"dash": "dot", "color": GRAY}
        )
    return figure


def _span(point: Point) -> Span | None:
    """The time span of a trial's training; None where it did not train, or a duplicate's result was copied."""
    trial, row = point.trial, point.row
    if not (trial.datetime_start and trial.datetime_complete and row.device):
        return None
    if "copied_from" in trial.user_attrs.get(RESULT, {}):
        return None
    begin, end = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
    if row.state == "FAIL":  # its result has no duration
        return begin, end
    return (max(begin, end - row.duration_s), end) if row.duration_s else None


def _pauses(spans: Sequence[Span], elapsed_s: float) -> list[Span]:
    """The longest times in which nothing trained, as far as the study's runs do not account for them."""
    ordered = sorted(spans)
    gaps, end = [], ordered[0][1]
    for begin, until in ordered:
        if begin - end > _SHORTEST_PAUSE_S:
            gaps.append((end, begin))
        end = max(end, until)
    left_s = end - ordered[0][0] - elapsed_s if elapsed_s else 0.0
    pauses = []
    for gap in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        length_s = gap[1] - gap[0]
        if left_s > length_s / 2:
            pauses.append(gap)
            left_s -= length_s
    return sorted(pauses)


def _moved(moment: float, pauses: Sequence[Span]) -> float:
    """A moment, earlier by the pauses before it."""
    return moment - sum(min(moment, end) - begin for begin, end in pauses if moment > begin)


def _jobs(spans: Sequence[tuple[Point, Span]], pauses: Sequence[Span]) -> list[_Job]:
    """Gives each trial a lane of its device, the first that is free; two slots of a device have two lanes."""
    first_s = min(begin for _, (begin, _) in spans)
    lanes: dict[str, list[float]] = {}
    jobs = []
    for point, (begin, end) in sorted(spans, key=lambda item: item[1]):
        device = escaped(point.row.device or "")
        ends = lanes.setdefault(device, [])
        index = next((index for index, free in enumerate(ends) if free <= begin + _OVERLAP_S), len(ends))
        ends[index : index + 1] = [end]
        begin_s, end_s = (_moved(moment, pauses) - _moved(first_s, pauses) for moment in (begin, end))
        jobs.append(_Job(point, device if index == 0 else f"{device} ({index + 1})", begin_s, end_s))
    return jobs


def _natural(lane: str) -> list[str | int]:
    """The order of people: ``cpu:2`` before ``cpu:10``; each second part is a number."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", lane)]


def _add_jobs(figure: Figure, jobs: Sequence[_Job], divisor: float) -> None:
    for state, color in _STATES.items():
        name = "failed" if state == "fail" else state
        kept = [job for job in jobs if job.point.row.state.lower() == state]
        if kept:
            lengths_s = [job.end_s - job.begin_s for job in kept]
            texts = [f"{job.point.words}<br>{seconds(job.end_s - job.begin_s)}" for job in kept]
            figure.add_bar(
                y=[job.lane for job in kept], x=[length / divisor for length in lengths_s],
                base=[job.begin_s / divisor for job in kept], orientation="h", name=name,
                text=texts, textposition="none", hovertemplate="%{text}<extra></extra>", width=0.7,
                marker={"color": color, "line": {"width": 0.5, "color": "rgba(255,255,255,0.8)"}},
            )  # fmt: skip


def _add_waits(figure: Figure, jobs: Sequence[_Job], end_s: float, divisor: float) -> None:
    """The times between two trials of a slot, before its first and after its last."""
    waits: list[tuple[str, Span]] = []
    for lane in dict.fromkeys(job.lane for job in jobs):
        own = sorted((job.begin_s, job.end_s) for job in jobs if job.lane == lane)
        edges = [(0.0, 0.0), *own, (end_s, end_s)]
        waits += [
            (lane, (before, begin)) for (_, before), (begin, _) in pairwise(edges) if begin - before > end_s / 500
        ]
    if not waits:
        return
    figure.add_bar(
        y=[lane for lane, _ in waits], x=[(end - begin) / divisor for _, (begin, end) in waits],
        base=[begin / divisor for _, (begin, _) in waits], orientation="h", name="waiting", width=0.7,
        text=[f"waited {seconds(end - begin)}" for _, (begin, end) in waits], textposition="none",
        hovertemplate="%{text}<extra></extra>", marker={"color": GRAY, "opacity": 0.35},
    )  # fmt: skip
