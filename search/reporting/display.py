"""Output of the commands: one line of JSON, or tables and lines for people.

Names and labels come from data: nothing in them is read as markup, and characters that move a terminal's cursor are
escaped.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import RenderableType

from pipelines.errors import UnavailableError
from search.home.settings import read_settings
from search.home.text import counted, printable, value_text, wrapped
from search.reporting.screen import Table, console, is_json, is_quiet, print_all

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.config import Layer
    from pipelines.data.description import Description
    from search.optimization.leaderboard import TrialRow
    from search.reporting.summaries import StudySummary
    from search.spec.study_spec import StudySpec
    from search.training.forecast import Forecast

_MAX_CLASSES = 20
_LARGEST_INDENT = 6


def message(line: str) -> None:
    """Prints one line on stderr, with breaks between words on a narrower terminal."""
    if is_quiet():
        return
    print_all(console(stderr=True), [line])


def suggest(suggested: str, why: str = "", before: str = "next: ") -> None:
    """Prints a command on stderr, ready to be copied, and the reason for it.

    Args:
        suggested: The command.
        why: What it does; "" where the command itself tells.
        before: The words before it.
    """
    if is_quiet():
        return
    out = console(stderr=True)
    line = printable(f"{before}{suggested}   {why}".rstrip())
    if len(line) > out.width:
        line = "\n".join(_suggestion(suggested, why, before, out.width))
    out.print(line, soft_wrap=True)


def _suggestion(suggested: str, why: str, before: str, width: int) -> list[str]:
    """A command on several lines, whose ends tell the shell that it continues, and the reason as a comment."""
    indent = " " * min(len(before), _LARGEST_INDENT)
    first, *others = [printable(shlex.quote(word)) for word in shlex.split(suggested)]
    pieces = _filled([before + first, *others], width - 2, indent)
    reason = wrapped(f"{indent}# {why}", width, f"{indent}# ") if why else []
    return [" \\\n".join(pieces), *reason]


def _filled(words: Iterable[str], width: int, indent: str) -> list[str]:
    """Lines of whole words; one that is longer than a line stays whole."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word if lines else word)
    return lines


def notes(lines: Iterable[str]) -> None:
    """Prints remarks on a dataset on stderr, a line each."""
    for line in lines:
        message(f"note: {line}")


def show(renderables: Iterable[RenderableType], document: object) -> None:
    """Prints a command's result on stdout: the document as one line of JSON, or the tables and lines."""
    if is_json():
        show_text(as_json(document) + "\n")
        return
    with _required():
        print_all(console(), renderables)


def show_text(text: str) -> None:
    """Prints text on stdout unchanged."""
    with _required():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def _required() -> Iterator[None]:
    """A result must be written; a closed pipe ends the command without a message.

    Raises:
        UnavailableError: stdout takes no more, as on a full disk.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (the rest would fail at the exit)
        raise UnavailableError(f"stdout: must take the result, got {error.strerror}") from error


def as_json(document: object) -> str:
    """A document as one line of JSON, which has no infinite numbers and no NaN: they are null."""

    def plain(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: plain(kept) for key, kept in value.items()}
        if isinstance(value, list | tuple):
            return [plain(kept) for kept in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(document), allow_nan=False)


def fields(record: object, *names: str) -> dict[str, object]:
    """The named attributes of a result, for its JSON document."""
    return {name: getattr(record, name) for name in names}


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


def step(what: str, after_s: float) -> str:
    """A step of the start-up, and the seconds until it began."""
    return f"after {seconds(after_s)}: {what}"


def budget_text(trials: int | None, timeout_s: float | None) -> str:
    """``64 trials``, ``64 trials or 5:00 min``."""
    limits = [] if trials is None else [counted(trials, "trial")]
    return " or ".join(limits if timeout_s is None else [*limits, seconds(timeout_s)])


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


def over_folds(rows: Sequence[TrialRow]) -> str:
    """The note that the values of trials are means over folds."""
    n_folds = rows[0].folds if rows else 1
    return f" (mean of {n_folds} folds)" if n_folds > 1 else ""


def baseline(rows: Sequence[TrialRow], what: str = "the best trial") -> list[str]:
    """A line on each baseline beside the best of the rows; none if they are unknown.

    Args:
        rows: Trials, the best first.
        what: The best of them.
    """
    return [sentence for row in rows[:1] for sentence in row.comparison.sentences(what)]


def studies_table(studies: Sequence[StudySummary], home: Path | None) -> RenderableType:
    """The studies of a home."""
    if not studies:
        return f"no studies in {read_settings(home).home} yet; {command('run', 'digits', home=home)} starts one"
    counts = (">complete", ">pruned", ">failed", ">budget")
    columns = ("study", "dataset", *counts, "objective", ">best", ">majority or mean", ">linear model", ">time")
    cells = (
        (study.name, study.source, study.complete, study.pruned, study.failed,
         budget_text(study.budget, study.timeout_s), study.objective,
         score(study.best_value), score(study.constant), score(study.linear), seconds(study.elapsed_s))
        for study in studies
    )  # fmt: skip
    return Table(columns, cells, drop=("time", "linear model", "majority or mean", "objective", "budget", "dataset"))


def description_tables(data: Description) -> list[Table]:
    """The facts of a dataset, its classes and its columns."""
    shape = " x ".join(map(str, data.input_shape))
    counts = dict(data.n_rows)
    if data.folds > 1:
        n_test = counts.pop("test")
        counts = {f"in {data.folds} folds": sum(counts.values()), "test": n_test}
    rows = ", ".join(f"{n:,} {split}" for split, n in counts.items())
    low, high = data.value_range
    facts = {
        "rows": f"{rows} (held out)",
        "input": f"{shape} {data.dtype}, from {low:g} to {high:g}",
        **_target_facts(data),
        "fingerprint": data.fingerprint,
    }
    tables = [Table(("dataset", data.name), facts.items())]
    if data.class_names:
        tables.append(_class_table(data))
    if data.columns:
        columns = ((c.name, c.kind, f"{c.n_missing:,}", c.n_features, c.note) for c in data.columns)
        tables.append(Table(("column", "kind", ">missing", ">features", "note"), columns))
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
    made = Table(("class", *(f">{split} rows" for split in data.class_counts), ">share"), rows[:_MAX_CLASSES])
    if len(rows) > _MAX_CLASSES:
        made.add_row(f"and {len(rows) - _MAX_CLASSES} more")
    return made


def layers_table(layers: Sequence[Layer]) -> Table:
    """The layers of one network."""
    rows = [(layer.name, layer.n_outputs, f"{layer.n_parameters:,}") for layer in layers]
    total = sum(layer.n_parameters for layer in layers)
    return Table(("layer", ">output", ">parameters"), [*rows, ("all", None, f"{total:,}")])


def _precision(forecast: Forecast) -> str:
    if forecast.precision != "by_size" or forecast.bfloat16_share == 1:
        return forecast.precision.replace("by_size", "bfloat16")
    if forecast.bfloat16_share == 0:
        return "float32: the networks are too small for bfloat16"
    return f"bfloat16 for {forecast.bfloat16_share:.0%} of the networks, float32 for small ones"


def forecast_tables(spec: StudySpec, forecast: Forecast) -> list[Table]:
    """The space of a study and the forecast of ``plan``."""
    space = Table(("dimension", "values"), spec.space.dimensions.items(), f"study {spec.name}: the space")
    size = spec.space.size()
    if size is not None:
        space.add_row("all", f"{size:,} configurations")
    hourly = f"{forecast.configurations_per_hour:,.0f}"
    if spec.pruner != "none":
        hourly += f" with {spec.pruner}, {forecast.unpruned_per_hour:,.0f} if each were trained to its last epoch"
    facts = {
        "budget": budget_text(spec.trials, spec.timeout_s),
        **({"folds": f"{forecast.folds}, a network for each in every trial"} if forecast.folds > 1 else {}),
        "slots": f"{forecast.slots}: {', '.join(forecast.devices)}",
        "configurations an hour": hourly,
        "time": f"about {seconds(forecast.forecast_s)} ({_range(forecast.forecast_low_s, forecast.forecast_high_s)})",
        "trials": _trials(forecast.trials_low, forecast.trials_high),
        "memory": f"{forecast.memory_mb:,} MB at most",
        "matrix products": _precision(forecast),
        **({"model files": f"those of the best {spec.keep_models:,} trials"} if spec.keep_models else {}),
    }
    return [space, Table(("forecast", ""), facts.items())]
