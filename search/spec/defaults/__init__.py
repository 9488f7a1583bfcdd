"""The study file that ``mlp-search init`` writes, and the presets of its space.

A study without a file takes its space and its starts from there; docs/adr/0012 has how the starts were measured.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from pipelines.files.sources import is_table


def _text(name: str) -> str:
    return files("search.spec.defaults").joinpath(name).read_text(encoding="utf-8")


_WITHOUT_STARTS = "# Without a [[start]] the study begins with those of its preset for its data, for {} with these:"
_TABLES = """tables (narrower ones where few
# rows of classes are in folds, and without label_smoothing for a regression)"""
_NAME = 'name = "digits"               #'
_SOURCE = 'source = "digits"             #'
_TARGET = '# target = "species"          #'
_LIKE = '# like = ["digits"]           #'
DEFAULT_PRESET = "strong"
"""Of a study without a file; arrays with few rows have the classic space."""
STUDY_TEMPLATE = _text("template.toml")
DEFAULT_STUDY: dict[str, Any] = tomllib.loads(STUDY_TEMPLATE)
PRESETS: dict[str, dict[str, Any]] = tomllib.loads(_text("presets.toml"))
PRESETS["classic"] = {
    "space": DEFAULT_STUDY["space"],
    "start": DEFAULT_STUDY["start"],
    "table_start": [*PRESETS["classic"]["table_start"], *DEFAULT_STUDY["start"]],
}
"""A space and its starts, by the preset's name; a table has starts of its own."""
STARTS: dict[str, list[dict[str, Any]]] = tomllib.loads(_text("starts.toml"))
"""Learned starts of the classic space where the user names none: of sources with few rows."""


def preset_space(name: str, source: str) -> dict[str, Any]:
    """The dimensions of a preset that fit a source."""
    dimensions: dict[str, Any] = PRESETS[name]["space"]
    return {key: value for key, value in dimensions.items() if is_table(source) or key != "embedding"}


def preset_starts(name: str, source: str) -> list[dict[str, Any]]:
    """The starts of a preset for a source."""
    preset = PRESETS[name]
    starts: list[dict[str, Any]] = preset.get("table_start", preset["start"]) if is_table(source) else preset["start"]
    return starts


def study_template(
    preset: str, like: Sequence[str] = (), source: str = "digits", target: str | None = None, name: str = "digits"
) -> str:
    """The study file with a preset, whose starts come with it; of "classic", for arrays, it is ``STUDY_TEMPLATE``.

    Args:
        preset: The preset's name.
        like: Studies whose best configurations come before the starts.
        source: The dataset.
        target: The column to predict; None leaves the line a comment.
        name: The study's name.
    """
    template = STUDY_TEMPLATE
    given = {"name": (_NAME, name), "source": (_SOURCE, source), "target": (_TARGET, target), "like": (_LIKE, like)}
    for key, (line, value) in given.items():
        if value:
            template = template.replace(line, f"{f'{key} = {_toml(value)}':29} #", 1)
    if preset == "classic" and not is_table(source):
        return template
    head, rest = template.split("\n[space]", 1)
    space, rest = rest.split("\n[search]", 1)
    lines = [_of_preset(line, PRESETS[preset]["space"]) for line in space.splitlines()]
    n_comments = next(place for place, line in enumerate(lines) if line.startswith("# "))
    chosen = f'preset = "{preset}"'.ljust(30) + "# its dimensions; a line below replaces one of them or adds one"
    dimensions = "\n".join([*lines[:n_comments], chosen, *lines[n_comments:]])
    dimensions = dimensions.replace("# A line left out is", "# A dimension that neither names is")
    search, start, _ = rest.split("[[start]]")
    remarks = [line.partition("#")[2] for line in f"[[start]]{start}".splitlines()]
    first, *others = preset_starts(preset, source)
    starts = "\n\n".join([_commented(first, remarks), *(_commented(other) for other in others)])
    heading = _WITHOUT_STARTS.format(_TABLES if is_table(source) else "arrays")
    return f"{head}\n[space]{dimensions}\n\n[search]{search}{heading}\n{starts}\n"


def _toml(value: str | Sequence[str]) -> str:
    """A text or a list of texts, which JSON and TOML write alike."""
    return json.dumps(value if isinstance(value, str) else list(value), ensure_ascii=False)


def _of_preset(line: str, dimensions: Mapping[str, Any]) -> str:
    """A line of the template's space as a comment, with the values of a preset's dimension where the line has one."""
    if not (match := re.match(r"(?:# )?(?P<name>[a-z_]+) = [^#]*(?P<remark>#.*)?$", line)):
        return line
    name, remark = match["name"], match["remark"] or ""
    if name not in dimensions:
        return line if line.startswith("#") else f"# {line}"
    return f"{f'# {name} = {toml_value(dimensions[name])}':48} {remark}".rstrip()


def toml_value(value: object) -> str:
    """A number, a text, a list or a range as a study file has it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {json.dumps(part)}" for key, part in value.items()) + " }"
    return json.dumps(value)


def _commented(start: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """A start as comments of a study file, with a remark on each of its first lines."""
    lines = ["[[start]]", *(f"{name} = {json.dumps(value)}" for name, value in start.items())]
    for number, remark in enumerate(filter(None, remarks)):
        lines[number] = f"{lines[number]:29} #{remark}"
    return "\n".join(f"# {line}" for line in lines)
