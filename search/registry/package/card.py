"""The model card: the description of a version, in Markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.evaluation.metrics import SHOWN_METRICS
from pipelines.evaluation.predictor import ModelRecord
from search.finals.winner import Winner
from search.home.text import times, value_text
from search.registry.versions import tagged
from search.tracking.experiment_view import plain

_MAX_CARD = 5000
"""Characters of a description in MLflow's tables on PostgreSQL."""
_MAX_CLASSES, _NAMES_LENGTH = 20, 1000


@dataclass(frozen=True, slots=True)
class Usage:
    """The address and the name of a version.

    Attributes:
        uri: The address of this very model.
        alias_uri: The address of the version that the alias points at.
        figure: The path of the figure of its held-out test among the files of its run; None without one.
    """

    uri: str
    alias_uri: str
    figure: str | None = None


def model_card(
    tags: Mapping[str, str], dataset: Dataset, data: DataConfig, winner: Winner, record: ModelRecord, use: Usage
) -> str:
    """The description of a version, in Markdown.

    Args:
        tags: The version's own.
        dataset: The dataset it was trained on.
        data: Where the dataset is from.
        winner: The model.
        record: The record that is saved beside it.
        use: How it is loaded and shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The card is Markdown, not HTML: names that come from data go through the filter "plain".
    loader = PackageLoader("search.registry.package", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined)  # noqa: S701
    environment.filters |= {"plain": plain, "times": times, "value_text": value_text}
    known = {name: tagged(tags, f"test_{name}") for name in dict.fromkeys((winner.objective.metric, *SHOWN_METRICS))}
    card = environment.get_template("model_card.md.j2").render(
        tags=tags,
        dataset=dataset,
        class_names=_shown_names(dataset.class_names),
        source=Path(data.source).name,
        target=data.target,
        params=winner.candidate.hyperparameters.to_json(),
        objective=winner.objective,
        record=record,
        measures=[(name.replace("_", " "), value) for name, value in known.items() if value is not None],
        ends=_ends(record),
        use=use,
        # MLflow's page takes an address without a server from its own.
        figure=use.figure and f"get-artifact?path={quote(use.figure, safe='')}&run_uuid={winner.run_id}",
    )
    return card if len(card) <= _MAX_CARD else f"{card[: _MAX_CARD - 1]}…"


def _shown_names(names: Sequence[str]) -> list[str]:
    """The first names of classes, in Markdown, as far as the card has room for them."""
    shown = list(map(plain, names[:_MAX_CLASSES]))
    ends = itertools.accumulate(len(name) + 2 for name in shown)
    return [name for name, end in zip(shown, ends, strict=True) if end <= _NAMES_LENGTH]


def _ends(record: ModelRecord) -> tuple[float, float] | None:
    """The ends of the interval around a prediction: added to it, or with a logarithm factors of it.

    With another transform they depend on the prediction: None.
    """
    interval, target = record.interval, record.preprocessing.target
    if interval is None or target is None or target.transform not in ("none", "log"):
        return None
    low, high = interval.low * target.scale, interval.high * target.scale
    return (math.exp(low), math.exp(high)) if target.transform == "log" else (low, high)
