"""What the commands show: one line of JSON, or tables and lines for people.

Names and labels come from data: nothing in them is read as markup, and what would move a terminal's cursor is
written out.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from search.home.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.config import Layer
    from pipelines.data.description import Description
    from search.optimization.leaderboard import TrialRow
    from search.reporting.study_summaries import StudySummary
    from search.spec.study_spec import StudySpec
    from search.training.forecast import Forecast

_PIPE_COLUMNS = 200  # a table for another program is not folded to a terminal's width
_MAX_CLASSES = 20


def console(*, stderr: bool = False) -> Console:
    """A console that shows text as it stands; colours only on a terminal, and never where NO_COLOR is set."""
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal else _PIPE_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def message(line: str) -> None:
    """One line on stderr."""
    console(stderr=True).print(printable(line), soft_wrap=True)


def show(renderables: Iterable[RenderableType], document: Any, *, as_json: bool) -> None:
    """Prints a command's result on stdout: the document as one line of JSON, or what is for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
        sys.stdout.flush()
        return
    out = console()
    for renderable in renderables:
        text = printable(renderable) if isinstance(renderable, str) else renderable
        out.print(text, soft_wrap=isinstance(renderable, str))


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table; a column whose name begins with ``>`` is set to the right."""
    heading = None if title is None else printable(title)
    made = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(
            printable(column.removeprefix(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    return made


def add_row(made: Table, *cells: object) -> None:
    """Adds a row; None is an empty cell."""
    made.add_row(*("" if cell is None else printable(str(cell)) for cell in cells))


def short(params: Mapping[str, Any]) -> str:
    """A configuration in one line: ``512x2 dropout 0.3 adam 0.001 cosine, 20 epochs, batch 128``."""
    value = {name: f"{v:.3g}" if isinstance(v, float) else str(v) for name, v in params.items()}
    parts = [
        f"{value.get('width', '?')}x{value.get('depth', '?')}",
        f"dropout {value.get('dropout', '?')}",
        f"{value.get('optimizer', '?')} {value.get('learning_rate', '?')}",
        f"{value.get('schedule', '?')}, {value.get('epochs', '?')} epochs, batch {value.get('batch_size', '?')}",
    ]
    return " ".join(parts)


def quoted(name: str, home: Path | None) -> str:
    """A name and the home, as a shell takes them: the end of a command that can be copied."""
    return shlex.quote(name) + (f" --home {shlex.quote(str(home))}" if home else "")


def seconds(value: float | None) -> str:
    """``0.8 s``, ``2:05 min``, ``3:20 h``."""
    if value is None:
        return ""
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def leaderboard_table(rows: Sequence[TrialRow], title: str) -> list[RenderableType]:
    """Trials, in the order given."""
    columns = (">trial", ">val_accuracy", "state", ">best epoch", ">epochs", ">time", "device", "configuration")
    made = table(*columns, title=title)
    for row in rows:
        value = None if row.value is None else f"{row.value:.4f}"
        add_row(
            made, row.number, value, row.state, row.best_epoch, row.epochs_trained, seconds(row.duration_s),
            row.device, short(row.params),
        )  # fmt: skip
    return [made]


def studies_table(studies: Sequence[StudySummary]) -> list[RenderableType]:
    """What there is."""
    if not studies:
        return ["no studies yet; mlp-search run digits starts one"]
    made = table("study", "dataset", ">complete", ">pruned", ">failed", ">budget", ">best val_accuracy", ">time")
    for study in studies:
        best = None if study.best_value is None else f"{study.best_value:.4f}"
        add_row(
            made, study.name, study.source, study.complete, study.pruned, study.failed, study.budget, best,
            seconds(study.elapsed_s),
        )  # fmt: skip
    return [made]


def sources_table(found: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The built-in datasets."""
    made = table("dataset", "on this machine")
    for source in found:
        add_row(made, source["name"], "yes" if source["available"] else "no: it is downloaded when it is used")
    return [made, "or the path of a .npz, .csv or .parquet file"]


def description_tables(data: Description) -> list[RenderableType]:
    """What is in a dataset."""
    facts = table("dataset", data.name)
    shape = " x ".join(map(str, data.input_shape))
    for name, fact in (
        ("rows", ", ".join(f"{n:,} {split}" for split, n in data.n_rows.items()) + " (sealed)"),
        ("input", f"{shape} {data.dtype}, from {data.value_range[0]:g} to {data.value_range[1]:g}"),
        ("classes", len(data.class_names)),
        ("fingerprint", data.fingerprint),
    ):
        add_row(facts, name, fact)
    return [facts, _class_table(data), *_column_table(data)]


def _class_table(data: Description) -> Table:
    made = table("class", *(f">{split} rows" for split in data.class_counts), ">share")
    total = sum(map(sum, data.class_counts.values()))
    counts = list(zip(data.class_names, *data.class_counts.values(), strict=True))
    for name, *rows in counts[:_MAX_CLASSES]:
        add_row(made, name, *(f"{n:,}" for n in rows), f"{sum(rows) / total:.1%}")
    if len(counts) > _MAX_CLASSES:
        add_row(made, f"and {len(counts) - _MAX_CLASSES} more")
    return made


def _column_table(data: Description) -> Iterable[Table]:
    if data.columns:
        made = table("column", "kind", ">missing", ">features", "note")
        for column in data.columns:
            add_row(made, column.name, column.kind, f"{column.n_missing:,}", column.n_features, column.note)
        yield made


def layers_table(layers: Sequence[Layer]) -> list[RenderableType]:
    """The layers of one network."""
    made = table("layer", ">output", ">parameters")
    for layer in layers:
        add_row(made, layer.name, layer.n_outputs, f"{layer.n_parameters:,}")
    add_row(made, "all", None, f"{sum(layer.n_parameters for layer in layers):,}")
    return [made]


def forecast_tables(spec: StudySpec, forecast: Forecast) -> list[RenderableType]:
    """What ``plan`` found."""
    space = table("dimension", "values", title=f"study {spec.name}: the space")
    for name, dimension in spec.space.dimensions.items():
        add_row(space, name, f"{dimension}{', by orders of magnitude' if getattr(dimension, 'log', False) else ''}")
    size = spec.space.size()
    if size is not None:
        add_row(space, "all", f"{size:,} configurations")
    facts = table("forecast", "")
    limits = [f"{spec.trials} trials"] if spec.trials is not None else []
    limits += [seconds(spec.timeout_s)] if spec.timeout_s is not None else []
    hourly = f"{forecast.configurations_per_hour:,.0f}"
    if spec.pruner != "none":
        hourly += f" with {spec.pruner}, {forecast.unpruned_per_hour:,.0f} if each were trained to its last epoch"
    for name, fact in (
        ("budget", " or ".join(limits)),
        ("slots", f"{forecast.slots}: {', '.join(forecast.devices)}"),
        ("configurations an hour", hourly),
        ("time", f"{seconds(forecast.forecast_s)}; longer where the best networks are large ones"),
        ("memory", f"{forecast.memory_mb:,} MB at most"),
    ):
        add_row(facts, name, fact)
    return [space, facts]
