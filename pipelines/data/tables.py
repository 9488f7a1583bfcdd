"""Reads a table's labels and columns; the type of a column is a property of the whole file, not of a split."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipelines.config import DataConfig
from pipelines.data.targets import labels_of_column, listed, task_note
from pipelines.data.targets.columns import read_target, rows_of_a_class
from pipelines.errors import DataError, collect, placed
from pipelines.files.archives import Array
from pipelines.files.columns import FILE_ROWS, IGNORED, TEXT, merged, read_texts, reread, to_numbers
from pipelines.files.kinds import DATES, holds_text, kind_of, why_no_features
from pipelines.files.roles import LEFT_OUT, ROLES, Roles, read_roles
from pipelines.files.sources import nearest, suffix_of
from pipelines.files.tables import SHORT, LargeTable, Table, open_table
from pipelines.files.text_forms import NUMBER_FORMATS, Series
from pipelines.objectives import Task

_RESET = "save the table with its index as a column (reset_index)"
_INDEX = f"index {{!r}}: not used; to use it, {_RESET}"
_NAMES = "the first line holds numbers alone, {}: it is read as the names of the columns; give them names"
_ZEROS = "column {!r}: texts with leading zeros are read as numbers; to keep them, put it into data.text_columns"
_ROUNDED = (
    "column {!r}: whole numbers above 9,007,199,254,740,992 are rounded to float64, so different ones may be equal; put"
    " it into data.text_columns or data.ignore"
)
_UNLABELLED = "column {!r}: {:,} of {:,} rows hold no label and are left out"
_DATES = "column {!r}: data.numeric is not used, because its values are dates; convert them to numbers"
_LISTS = ("text_columns", "numeric", "ignore")


def read(path: Path, config: DataConfig) -> tuple[Table, Task, Array, dict[str, str], Roles, list[str]]:
    """Reads a table as ``readers.Source`` holds it: its rows, task, labels, formats, roles and notes.

    Raises:
        DataError, UnavailableError: As for ``loading.load``.
    """
    target, texts = config.target or "target", config.text_columns or ()
    frame = open_table(path, texts, (target, *texts, *filter(None, [config.group])))
    facts = dict(frame.attrs)
    _require_columns(path, config, list(frame.columns), facts.get("index", ()))
    notes = [_INDEX.format(name) for name in facts.get("index", ())]
    if suffix_of(path) != ".parquet" and all(re.fullmatch(r"[-+.\d]+", name) for name in frame.columns):
        notes.append(_NAMES.format(listed(list(frame.columns))))
    _require_values(path, config, frame)
    formats = _declared(config)
    has_commas = facts.get("separator") == ";" or facts.get("decimal") == ","
    order = NUMBER_FORMATS[::-1] if has_commas else NUMBER_FORMATS
    values, frame = _labelled(read_target(frame.pop(target), config, order, formats, notes), frame, notes)
    task, labels = labels_of_column(values, config.task, f"{path}, column {target!r}", rows_of_a_class(config))
    notes += task_note(task, labels, f"column {target!r}", config.task)
    codes = {*frame.columns, *([target] if task != "regression" else [])} - {*formats}  # of which no value may merge
    if config.group is not None and config.group not in texts:
        codes.add(config.group)
    zeros = [name for name in facts.get("zeros", ()) if name in codes]
    if short := facts.get("short"):
        notes.append(SHORT.format(len(short), short[0]))
    notes += [_ROUNDED.format(name) for name in facts.get("rounded", ()) if name in codes]
    notes += [_ZEROS.format(name) for name in zeros if name == target or frame[name].dtype.kind in "iuf"]
    numeric = config.numeric or ()
    with placed(path):
        roles = _read_roles(frame, config, order)
        found = collect(lambda name: _read_column(frame, name, formats, order, name in numeric), frame.columns)
    if not isinstance(frame, LargeTable) and frame.index.name == FILE_ROWS:
        frame = frame.reset_index(drop=True)
    return frame, task, labels, formats, roles, [*notes, *roles.notes, *filter(None, found)]


def _read_roles(frame: Table, config: DataConfig, order: tuple[str, ...]) -> Roles:
    """Reads the columns that say how rows are weighted and split; of a table its name is what a fingerprint takes."""
    names = {key: getattr(config, key) for key in ROLES if getattr(config, key) is not None}
    roles = read_roles({key: frame[name] for key, name in names.items()}, "column", order)
    return replace(roles, digests=tuple(item for item in names.items() if item[0] != "group"))


def _require_columns(path: Path, config: DataConfig, names: Sequence[str], index: Sequence[str]) -> None:
    target, problems = config.target or "target", []
    if target in index and target not in names:
        problems = [f"column {target!r}: must be a column to be the target, but is the table's index: {_RESET}"]
    elif target not in names:
        # A default is no slip of the pen: only its other spellings are likely to be meant.
        likely = names if config.target else [name for name in names if name.casefold() == target.casefold()]
        problems = [
            f"must have the label's column {target!r}{nearest(target, likely)}, got {listed(names)}: "
            "name one of them as the target"
        ]
    declared = [(key, name) for key in _LISTS for name in getattr(config, key) or ()]
    declared += [(key, getattr(config, key)) for key in ROLES if getattr(config, key)]
    problems += [
        f"data.{key} must name columns of the table, got {name!r}"
        + (f", its index: {_RESET}" if name in index else f"{nearest(name, names)}: correct it")
        for key, name in declared
        if name not in names
    ]
    problems += [
        f"data.{key} must name another column than the target, got {name!r}: take it out"
        for key, name in declared
        if name == target and key != "text_columns"
    ]
    if problems:
        raise DataError([f"{path}: {problem}" for problem in problems])


def _require_values(path: Path, config: DataConfig, frame: Table) -> None:
    """Refuses a column without a value where the user says what it holds; another one is ignored, with a note."""
    declared = [*(config.text_columns or ()), *(config.numeric or ())]
    declared += [name for key in ROLES if (name := getattr(config, key)) is not None]
    empty = [name for name in dict.fromkeys(declared) if _is_empty(frame, name)]
    if empty:
        raise DataError([f"{path}, column {name!r}: must hold values, got none in any row: drop it" for name in empty])


def _declared(config: DataConfig) -> dict[str, str]:
    """Returns the formats of the columns that the user declares."""
    formats = dict.fromkeys(config.text_columns or (), TEXT)
    formats |= dict.fromkeys(config.ignore or (), f"{IGNORED}: in data.ignore")
    left_out = {getattr(config, key): f"{IGNORED}: {reason}" for key, reason in LEFT_OUT.items()}
    return formats | {name: reason for name, reason in left_out.items() if name is not None}


def _labelled(column: Series, frame: Table, notes: list[str]) -> tuple[Series, Table]:
    """Leaves out rows without a label if most have one; else, and for a large table, ``labels_of_column`` refuses them.

    The part of a large table that is left would have to be copied. The index of another one has the rows' numbers in
    the file, for errors.
    """
    missing = column.isna().to_numpy()
    if isinstance(frame, LargeTable) or not 0 < (n_missing := int(missing.sum())) <= len(column) / 2:
        return column, frame
    notes.append(_UNLABELLED.format(column.name, n_missing, len(column)))
    left = frame[~missing].rename_axis(FILE_ROWS)
    return column[~missing].reset_index(drop=True), left


def _is_empty(frame: Table, name: str) -> bool:
    first = next(frame.parts([name]))[name] if isinstance(frame, LargeTable) else frame[name]
    return bool(first.isna().all() and frame[name].isna().all())


def _read_column(frame: Table, name: str, formats: dict[str, str], order: tuple[str, ...], numeric: bool) -> str:
    """Reads the texts of a column in place and checks its numbers; returns a line about it, or an empty text."""
    declared, note = formats.get(name), ""
    if declared not in {None, TEXT} or name.startswith("Unnamed: "):
        return ""
    values = frame[name]
    if declared == TEXT:
        if holds_text(values):
            _replace(frame, name, values.str.strip(), partial(reread, text_format=TEXT))
        return ""
    kind = kind_of(values)
    if kind == "time":
        values, kind = _replace(frame, name, _as_texts(values), _as_texts), "string"
    elif not numeric and (reason := why_no_features(values, kind)):
        formats[name] = f"{IGNORED}: {reason}"
        return ""
    if kind == "string":
        read, text_format, note = read_texts(values, name, order, numeric=numeric)
        values = _replace(frame, name, read, partial(reread, text_format=text_format))
        formats |= {name: text_format} if text_format else {}
        kind = kind_of(values)
    elif numeric and kind in DATES:
        return _DATES.format(name)
    if kind in {"integer", "decimal"}:
        note = merged(values, name)
    if kind in {"integer", "decimal", "floating", "mixed-integer-float", "timedelta"}:
        to_numbers(values, name)
    return note


def _as_texts(values: Series) -> Series:
    return values.map(str, na_action="ignore")


def _replace(frame: Table, name: str, values: Series, conversion: Callable[[Series], Series]) -> Series:
    """Replaces a column's values; of a large table the conversion is done again whenever they are read."""
    if isinstance(frame, LargeTable):
        frame.convert(name, conversion, values)
    else:
        frame[name] = values
    return values
