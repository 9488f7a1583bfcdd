"""Output of the commands: one line of JSON, or tables and lines for people.

Names and labels come from data: nothing in them is read as markup, and characters that move a terminal's cursor are
escaped.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from pipelines.objectives import TASK_DIMENSIONS
from search.home.text import printable, value_text

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.config import Layer
    from pipelines.data.description import Description
    from search.optimization.leaderboard import TrialRow
    from search.reporting.summaries import StudySummary
    from search.spec.study_spec import StudySpec
    from search.training.forecast import Forecast

_PIPE_COLUMNS = 200  # a table for another program is not folded to a terminal's width
_MAX_CLASSES = 20
_CONFIGURATION = (
    "{width}x{depth} dropout {dropout} {optimizer} {learning_rate} {schedule}, {epochs} epochs, batch {batch_size}"
)


def console(*, stderr: bool = False) -> Console:
    """A console that prints text unchanged; colours only on a terminal, and never if NO_COLOR is set."""
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal else _PIPE_COLUMNS
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def message(line: str) -> None:
    """Prints one line on stderr."""
    console(stderr=True).print(printable(line), soft_wrap=True)


def notes(lines: Iterable[str]) -> None:
    """Prints remarks on a dataset on stderr, a line each."""
    for line in lines:
        message(f"note: {line}")


def show(renderables: Iterable[RenderableType], document: object, *, as_json: bool) -> None:
    """Prints a command's result on stdout: the document as one line of JSON, or the tables and lines."""
    if as_json:
        sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")
        sys.stdout.flush()
        return
    out = console()
    for renderable in renderables:
        text = printable(renderable) if isinstance(renderable, str) else renderable
        out.print(text, soft_wrap=isinstance(renderable, str))


def fields(record: object, *names: str) -> dict[str, object]:
    """The named attributes of a result, for its JSON document."""
    return {name: getattr(record, name) for name in names}


def table(columns: Sequence[str], rows: Iterable[Sequence[object]] = (), title: str | None = None) -> Table:
    """A table of ``rows``; a column whose name begins with ``>`` is aligned to the right."""
    heading = None if title is None else printable(title)
    made = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(
            printable(column.removeprefix(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows:
        add_row(made, *row)
    return made


def add_row(made: Table, *cells: object) -> None:
    """Adds a row; None is an empty cell."""
    made.add_row(*("" if cell is None else printable(str(cell)) for cell in cells))


def short(params: Mapping[str, object]) -> str:
    """A configuration in one line: ``512x2 dropout 0.3 adam 0.001 cosine, 20 epochs, batch 128``."""
    values = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in params.items()}
    line = _CONFIGURATION.format_map(defaultdict(lambda: "?", values))
    return line + "".join(f", {name} {values[name]}" for name in TASK_DIMENSIONS if name in values)


def command(*words: object, home: Path | None = None) -> str:
    """A command of this program on a home, quoted for a shell: ``mlp-search ui --home 'my runs'``."""
    options = ["--home", str(home)] if home else []
    return shlex.join(["mlp-search", *map(str, words), *options])


def score(value: float | None) -> str:
    """``0.9876``, ``24,300.5``, ``1.235e-05``; nothing for None."""
    return "" if value is None else value_text(value)


def interval(value: tuple[float, float] | None) -> str:
    """``0.9812 to 0.9876``; ``n/a`` for None."""
    return "n/a" if value is None else f"{score(value[0])} to {score(value[1])}"


def seconds(value: float | None) -> str:
    """``0.8 s``, ``2:05 min``, ``3:20 h``; nothing for None."""
    if value is None:
        return ""
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def _range(low_s: float, high_s: float) -> str:
    """Two durations, with the unit once where it is the same: ``30 to 60 s``."""
    low, high = seconds(low_s), seconds(high_s)
    return f"{low.split()[0] if low.split()[-1] == high.split()[-1] else low} to {high}"


def _trials(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def undelivered(n_runs: int) -> None:
    """Reports runs that MLflow has not received."""
    if n_runs:
        message(f"MLflow has not received {n_runs} runs yet; they are in the spool until the next command sends them")


def leaderboard_table(rows: Sequence[TrialRow], title: str) -> Table:
    """Trials, in the order given."""
    objective = rows[0].objective if rows else "val_accuracy"
    columns = (">trial", f">{objective}", "state", ">best epoch", ">epochs", ">time", "device", "configuration")
    cells = (
        (row.number, score(row.value), row.state, row.best_epoch, row.epochs_trained, seconds(row.duration_s),
         row.device, short(row.params))
        for row in rows
    )  # fmt: skip
    return table(columns, cells, title)


def baseline(rows: Sequence[TrialRow], what: str = "the best trial") -> list[str]:
    """A line on each baseline beside the best of the rows; none if they are unknown.

    Args:
        rows: Trials, the best first.
        what: The best of them.
    """
    return [sentence for row in rows[:1] for sentence in row.comparison.sentences(what)]


def studies_table(studies: Sequence[StudySummary]) -> RenderableType:
    """The studies of a home."""
    if not studies:
        return "no studies yet; mlp-search run digits starts one"
    counts = (">complete", ">pruned", ">failed", ">budget")
    columns = ("study", "dataset", *counts, "objective", ">best", ">majority or mean", ">linear model", ">time")
    cells = (
        (study.name, study.source, study.complete, study.pruned, study.failed, study.budget,
         study.objective,
         score(study.best_value), score(study.constant), score(study.linear), seconds(study.elapsed_s))
        for study in studies
    )  # fmt: skip
    return table(columns, cells)


def description_tables(data: Description) -> list[Table]:
    """The facts of a dataset, its classes and its columns."""
    shape = " x ".join(map(str, data.input_shape))
    rows = ", ".join(f"{n:,} {split}" for split, n in data.n_rows.items())
    low, high = data.value_range
    facts = {
        "rows": f"{rows} (held out)",
        "input": f"{shape} {data.dtype}, from {low:g} to {high:g}",
        **_target_facts(data),
        "fingerprint": data.fingerprint,
    }
    tables = [table(("dataset", data.name), facts.items())]
    if data.class_names:
        tables.append(_class_table(data))
    if data.columns:
        columns = ((c.name, c.kind, f"{c.n_missing:,}", c.n_features, c.note) for c in data.columns)
        tables.append(table(("column", "kind", ">missing", ">features", "note"), columns))
    return tables


def _target_facts(data: Description) -> dict[str, object]:
    if data.target_range is None:
        return {"classes": len(data.class_names)}
    low, mean, high = data.target_range
    return {"target": f"a regression, from {low:g} to {high:g}, mean {mean:g}"}


def _class_table(data: Description) -> Table:
    total = sum(map(sum, data.class_counts.values()))
    counts = list(zip(data.class_names, *data.class_counts.values(), strict=True))
    rows = [(name, *(f"{n:,}" for n in n_rows), f"{sum(n_rows) / total:.1%}") for name, *n_rows in counts]
    made = table(("class", *(f">{split} rows" for split in data.class_counts), ">share"), rows[:_MAX_CLASSES])
    if len(rows) > _MAX_CLASSES:
        add_row(made, f"and {len(rows) - _MAX_CLASSES} more")
    return made


def layers_table(layers: Sequence[Layer]) -> Table:
    """The layers of one network."""
    rows = [(layer.name, layer.n_outputs, f"{layer.n_parameters:,}") for layer in layers]
    total = sum(layer.n_parameters for layer in layers)
    return table(("layer", ">output", ">parameters"), [*rows, ("all", None, f"{total:,}")])


def forecast_tables(spec: StudySpec, forecast: Forecast) -> list[Table]:
    """The space of a study and the forecast of ``plan``."""
    space = table(("dimension", "values"), spec.space.dimensions.items(), f"study {spec.name}: the space")
    size = spec.space.size()
    if size is not None:
        add_row(space, "all", f"{size:,} configurations")
    limits = [f"{spec.trials} trials"] if spec.trials is not None else []
    limits += [seconds(spec.timeout_s)] if spec.timeout_s is not None else []
    hourly = f"{forecast.configurations_per_hour:,.0f}"
    if spec.pruner != "none":
        hourly += f" with {spec.pruner}, {forecast.unpruned_per_hour:,.0f} if each were trained to its last epoch"
    facts = {
        "budget": " or ".join(limits),
        "slots": f"{forecast.slots}: {', '.join(forecast.devices)}",
        "configurations an hour": hourly,
        "time": f"about {seconds(forecast.forecast_s)} ({_range(forecast.forecast_low_s, forecast.forecast_high_s)})",
        "trials": _trials(forecast.trials_low, forecast.trials_high),
        "memory": f"{forecast.memory_mb:,} MB at most",
    }
    return [space, table(("forecast", ""), facts.items())]
