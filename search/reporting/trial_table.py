"""The leaderboard on a screen, a trial a line, and configurations in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from search.reporting.display import score, seconds
from search.reporting.screen import Table, left_out_line, wrapped

if TYPE_CHECKING:
    from search.optimization.leaderboard import TrialRow

Phrases: TypeAlias = dict[str, str]
"""Words for the values of a configuration, by hyperparameter; ``network`` stands for width and depth."""

_FORMS = {
    "dropout": "dropout {}",
    "optimizer": "{}",
    "learning_rate": "lr {}",
    "schedule": "{}",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "activation": "{}",
    "normalization": "{} norm",
    "input_dropout": "input dropout {}",
    "noise": "noise {}",
    "weight_decay": "weight decay {}",
    "max_norm": "max norm {}",
    "label_smoothing": "smoothing {}",
    "shape": "{} width",
    "residual": "{} residual",
    "ema": "ema {}",
    "warmup": "warmup {}",
    "momentum": "momentum {}",
    "gradient_clip": "clip {}",
    "shift": "shift {}",
    "flip": "{} flip",
    "embedding": "{} embedding",
}
_WORDS = {
    "normalization": {"none": "no norm"},
    "shape": {"funnel": "funnel"},
    "residual": {"True": "residual", "False": "not residual"},
    "flip": {"True": "flip", "False": "no flip"},
    "embedding": {"none": "no embedding"},
}
"""Phrases of values that the form above does not suit."""
_LAST_OF_HEAD = 4
"""So many of the phrases above stand after the network without a comma."""
_IMPORTANCE = ("network", "learning_rate", "optimizer", "dropout", "batch_size")
"""Of the phrases that a narrow screen shows, the first one longest; the others go before them."""
_DROP = ("device", "time", "best", "epochs")
_START, _ENQUEUED, _TIMEOUT = "*", "e", "t"
_MARKS = {_START: "* a [[start]] configuration", _ENQUEUED: "e enqueued", _TIMEOUT: "t ended by the timeout"}


def phrases(params: Mapping[str, object]) -> Phrases:
    """The values of a configuration in words, each with its name where the value alone does not tell."""
    values = {
        name: f"{value:.3g}" if isinstance(value, float) else str(value)
        for name, value in params.items()
        if value is not None
    }
    if values.get("optimizer", "sgd") != "sgd":
        values.pop("momentum", None)  # it has no effect
    made = {}
    if "width" in values and "depth" in values:
        made["network"] = f"{values.pop('width')}x{values.pop('depth')}"
    ordered = [*(name for name in _FORMS if name in values), *(name for name in values if name not in _FORMS)]
    return made | {name: _phrase(name, values[name]) for name in ordered}


def _phrase(name: str, value: str) -> str:
    return _WORDS.get(name, {}).get(value) or _FORMS.get(name, f"{name} {{}}").format(value)


def short(params: Mapping[str, object]) -> str:
    """A configuration in one line: ``512x2 dropout 0.3 adam lr 0.001 cosine, 20 epochs, batch 128``."""
    return _joined(phrases(params))


def fitting(params: Mapping[str, object], room: int) -> str:
    """As much of a configuration as has room, the most telling values first; an ellipsis stands for the others."""
    whole = phrases(params)
    by_importance = sorted(whole, key=_importance)
    for n_kept in range(len(whole), 0, -1):
        kept = by_importance[:n_kept]
        text = _joined({name: whole[name] for name in whole if name in kept}) + (" …" if n_kept < len(whole) else "")
        if len(text) <= room:
            return text
    return "…" if whole else ""


def _importance(name: str) -> int:
    return _IMPORTANCE.index(name) if name in _IMPORTANCE else len(_IMPORTANCE)


def _joined(made: Phrases) -> str:
    line, head = "", ("network", *list(_FORMS)[:_LAST_OF_HEAD])
    for name, phrase in made.items():
        is_apart = name not in head
        line += (", " if is_apart else " ") + phrase if line else phrase
    return line


def mark(row: TrialRow) -> str:
    """Marks of a trial: whether its configuration was given or enqueued, and whether the timeout ended it."""
    return (_START if row.is_start else _ENQUEUED if row.is_enqueued else "") + (
        _TIMEOUT if row.stop_reason == "timeout" else ""
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a leaderboard shows: names of phrases of the configuration, and names of the columns that it leaves out."""

    phrases: Sequence[str]
    dropped: Sequence[str]


class ConfigurationTable:
    """A table whose last column is a configuration, each in one line.

    On a narrow screen, values that all configurations share stand beneath the table, then columns are left out, then
    values of the configurations; the lines beneath say which.

    Args:
        columns: The cells of each column by its name; see ``search.reporting.screen.Table``.
        params: The configurations.
        title: A line above the table.
        drop: Names of the columns to leave out, the first one first.
        remarks: Lines beneath the table.
        elsewhere: Hyperparameters that another column shows.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[object]],
        params: Sequence[Mapping[str, object]],
        title: str,
        *,
        drop: Sequence[str] = (),
        remarks: Sequence[str] = (),
        elsewhere: Collection[str] = (),
    ) -> None:
        self._columns = columns
        self._title = title
        self._drop = drop
        self._remarks = remarks
        self._phrases = [phrases({n: v for n, v in given.items() if n not in elsewhere}) for given in params]
        self._names = list(dict.fromkeys(name for made in self._phrases for name in made))
        self._shared = _shared(self._phrases) if len(params) > 1 else {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the table and the lines beneath it."""
        width = options.max_width
        layouts = list(self._layouts())
        layout = next((layout for layout in layouts if self._table(layout).fits(width)), layouts[-1])
        yield self._table(layout)
        for line in self._lines(layout):
            yield Text("\n".join(wrapped(line, width)), overflow="ignore")

    def _layouts(self) -> Iterator[_Layout]:
        """From the widest to the narrowest."""
        varied = [name for name in self._names if name not in self._shared]
        for n_dropped in range(len(self._drop) + 1):
            for chosen in (self._names, varied):
                yield _Layout(chosen, self._drop[:n_dropped])
        kept = sorted(varied, key=_importance)
        for n_kept in range(len(kept) - 1, -1, -1):
            yield _Layout(kept[:n_kept], self._drop)

    def _table(self, layout: _Layout) -> Table:
        columns = {name: cells for name, cells in self._columns.items() if name.strip(">") not in layout.dropped}
        if layout.phrases:
            chosen = [{name: made[name] for name in made if name in layout.phrases} for made in self._phrases]
            columns["network" if list(layout.phrases) == ["network"] else "configuration"] = list(map(_joined, chosen))
        return Table(list(columns), zip(*columns.values(), strict=True), self._title)

    def _lines(self, layout: _Layout) -> Iterator[str]:
        """What the table does not say."""
        yield from self._remarks
        beneath = {name: phrase for name, phrase in self._shared.items() if name not in layout.phrases}
        if beneath:
            yield f"in every configuration: {', '.join(beneath.values())}"
        missing = [name for name in self._names if name not in layout.phrases and name not in beneath]
        hidden = [*layout.dropped, *(name.replace("_", " ") for name in missing)]
        if hidden:
            yield left_out_line(hidden)


def leaderboard_table(rows: Sequence[TrialRow], title: str, n_trials: int | None = None) -> ConfigurationTable:
    """Trials in the order given, a trial a line.

    Args:
        rows: The trials.
        title: A line above the table.
        n_trials: Of the study; None where all of them are given.
    """
    columns: dict[str, Sequence[object]] = {
        ">trial": [row.number for row in rows],
        f">{rows[0].objective if rows else 'val_accuracy'}": [score(row.value) for row in rows],
        "state": [row.state for row in rows],
        "": [mark(row) for row in rows],
        ">epochs": [_epochs(row) for row in rows],
        ">best": [row.best_epoch for row in rows],
        ">time": [seconds(row.duration_s).removesuffix(" min") for row in rows],
        "device": [row.device for row in rows],
    }
    n_more = 0 if n_trials is None else n_trials - len(rows)
    signs = {sign for row in rows for sign in mark(row)}
    marks = "   ".join(text for sign, text in _MARKS.items() if sign in signs)
    remarks = [line for line in (f"and {n_more:,} more trials" if n_more > 0 else "", marks) if line]
    params = [row.params for row in rows]
    return ConfigurationTable(columns, params, title, drop=_DROP, remarks=remarks, elsewhere=("epochs",))


def _shared(made: Sequence[Phrases]) -> Phrases:
    """The phrases that are the same in every configuration that has them."""
    found: dict[str, set[str]] = {}
    for row in made:
        for name, phrase in row.items():
            found.setdefault(name, set()).add(phrase)
    return {name: next(iter(texts)) for name, texts in found.items() if len(texts) == 1}


def _epochs(row: TrialRow) -> str:
    planned = row.params.get("epochs")
    return str(row.epochs_trained) if planned is None else f"{row.epochs_trained}/{planned}"
