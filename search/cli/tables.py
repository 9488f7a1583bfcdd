"""Tables of the commands: studies, datasets, layers and forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from search.home.settings import read_settings
from search.reporting.display import budget_text, command, score, seconds
from search.reporting.screen import Table

if TYPE_CHECKING:
    from pipelines.config import Layer
    from pipelines.data.description import Description
    from search.reporting.summaries import StudySummary
    from search.spec.study_spec import StudySpec
    from search.training.forecast import Forecast

_MAX_CLASSES = 20


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
    form = ".15g" if f"{low:g}" == f"{high:g}" else "g"  # all digits where the first ones are alike
    return {"target": f"a regression, from {low:{form}} to {high:{form}}, mean {mean:{form}}"}


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


def _range(low_s: float, high_s: float) -> str:
    """Two durations, with the unit once where it is the same: ``30 to 60 s``."""
    low, high = seconds(low_s), seconds(high_s)
    return f"{low.split()[0] if low.split()[-1] == high.split()[-1] else low} to {high}"


def _trials(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


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
