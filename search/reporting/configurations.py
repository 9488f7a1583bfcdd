"""Configurations in words, and as narrow columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

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


def values_of(params: Mapping[str, object], digits: int = 3) -> Phrases:
    """The values of a configuration by hyperparameter, floats with so many digits; ``network`` is ``512x2``."""
    values = {
        name: f"{value:.{digits}g}" if isinstance(value, float) else str(value)
        for name, value in params.items()
        if value is not None
    }
    if values.get("optimizer", "sgd") != "sgd":
        values.pop("momentum", None)  # it has no effect
    made = {}
    if "width" in values and "depth" in values:
        made["network"] = f"{values.pop('width')}x{values.pop('depth')}"
    ordered = [*(name for name in _FORMS if name in values), *(name for name in values if name not in _FORMS)]
    return made | {name: values[name] for name in ordered}


def phrases(params: Mapping[str, object]) -> Phrases:
    """The values of a configuration in words, each with its name where the value alone does not tell."""
    values = values_of(params)
    return {name: value if name == "network" else _phrase(name, value) for name, value in values.items()}


def _phrase(name: str, value: str) -> str:
    return _WORDS.get(name, {}).get(value) or _FORMS.get(name, f"{name} {{}}").format(value)


def short(params: Mapping[str, object]) -> str:
    """A configuration in one line: ``512x2 dropout 0.3 adam lr 0.001 cosine, 20 epochs, batch 128``."""
    return joined(phrases(params))


def fitting(params: Mapping[str, object], room: int) -> str:
    """As much of a configuration as has room, the most telling values first; an ellipsis stands for the others."""
    whole = phrases(params)
    by_importance = sorted(whole, key=importance)
    for n_kept in range(len(whole), 0, -1):
        kept = by_importance[:n_kept]
        text = joined({name: whole[name] for name in whole if name in kept}) + (" …" if n_kept < len(whole) else "")
        if len(text) <= room:
            return text
    return "…" if whole else ""


def importance(name: str) -> int:
    """Rank of a hyperparameter on a narrow screen, which shows the first ones longest."""
    return _IMPORTANCE.index(name) if name in _IMPORTANCE else len(_IMPORTANCE)


def joined(made: Phrases) -> str:
    """Phrases in one line."""
    line, head = "", ("network", *list(_FORMS)[:_LAST_OF_HEAD])
    for name, phrase in made.items():
        is_apart = name not in head
        line += (", " if is_apart else " ") + phrase if line else phrase
    return line


def shared(made: Sequence[Phrases]) -> Phrases:
    """The phrases that are the same in every configuration that has them."""
    found: dict[str, set[str]] = {}
    for row in made:
        for name, phrase in row.items():
            found.setdefault(name, set()).add(phrase)
    return {name: next(iter(texts)) for name, texts in found.items() if len(texts) == 1}


_HEADERS = {
    "network": "net",
    "dropout": "drop",
    "optimizer": "opt",
    "learning_rate": "lr",
    "schedule": "sched",
    "batch_size": "batch",
    "activation": "act",
    "normalization": "norm",
    "input_dropout": "in",
    "weight_decay": "wd",
    "max_norm": "maxn",
    "label_smoothing": "ls",
    "residual": "res",
    "warmup": "warm",
    "momentum": "mom",
    "gradient_clip": "clip",
    "class_weight": "cw",
    "embedding": "emb",
}
"""Short names of hyperparameters above narrow columns."""
_ABBREVIATIONS = {
    "onecycle": "1cycle",
    "constant": "const",
    "piecewise": "pw",
    "balanced": "bal",
    "True": "yes",
    "False": "no",
}
_KNOWN = ("network", "learning_rate", "batch_size")
"""Names that need no explanation when they are short."""


def in_columns(given: Sequence[Mapping[str, object]], names: Sequence[str], digits: int = 3) -> list[str]:
    """Configurations as lines of narrow columns, a blank apart, beneath a line of short names.

    Args:
        given: The configurations.
        names: Of the hyperparameters to show; ``network`` stands for width and depth.
        digits: Of floats.

    Returns:
        The line of names, then a line for each configuration.
    """
    values = [values_of(params, digits) for params in given]
    columns = []
    for name in names:
        texts = [_HEADERS.get(name, name), *(_abbreviated(row.get(name, "-")) for row in values)]
        width = max(map(len, texts))
        columns.append([text.rjust(width) if name == "batch_size" else text.ljust(width) for text in texts])
    return [" ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def explained(given: Sequence[Mapping[str, object]], names: Sequence[str]) -> str:
    """The legend of short names and values of narrow columns; "" where there are none."""
    long = {_HEADERS[name]: name.replace("_", " ") for name in names if name in _HEADERS and name not in _KNOWN}
    values = [values_of(params) for params in given]
    shown = {row[name] for row in values for name in names if name in row}
    long |= {short: text for text, short in _ABBREVIATIONS.items() if text in shown and text not in ("True", "False")}
    return "short for: " + ", ".join(f"{short} {text}" for short, text in long.items()) if long else ""


def _abbreviated(value: str) -> str:
    return _ABBREVIATIONS.get(value, value)
