"""From a study file to its tables, each checked by itself; one line for each thing that is wrong."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails

from pipelines.config import Scaling
from pipelines.errors import SpecError
from search.spec.rules import (
    AUDIT,
    COUNT,
    GPUS,
    NAME,
    SECONDS,
    SEED,
    SHARE,
    TRIALS_PER_GPU,
    VALUES,
    RangeTable,
    Table,
    dimension,
    one_of,
    string,
)

Objective = Literal["val_accuracy"]
Sampler = Literal["tpe", "random", "grid", "gp", "cmaes"]
Pruner = Literal["hyperband", "asha", "median", "none"]


def _is_filled(text: str) -> bool:
    return text != "" and text.isprintable()


def _table(*required: str, **types: Any) -> type[Table]:
    """A table whose optional keys default to None: the dataclass that is built from it has the defaults."""
    keys: dict[str, Any] = {k: (t, ...) if k in required else (t | None, None) for k, t in types.items()}
    return create_model("Table", __base__=Table, **keys)


_SOURCE = string("must be digits, mnist, fashion_mnist or the path of a .npz, .csv or .parquet file", _is_filled)
TABLES: dict[str, type[Table]] = {
    "study": _table(name=NAME, seed=SEED, trials=COUNT, timeout_s=SECONDS),
    "data": _table(
        "source",
        source=_SOURCE,
        target=string("must be the name of a column", _is_filled),
        validation_fraction=SHARE,
        test_fraction=SHARE,
        scaling=one_of(get_args(Scaling)),
        split_seed=SEED,
    ),
    "space": _table(**{name: dimension(name) for name in VALUES}),
    "search": _table(
        objective=one_of(get_args(Objective)),
        sampler=one_of(get_args(Sampler)),
        pruner=one_of(get_args(Pruner)),
        audit=AUDIT,
    ),
    "workers": _table(slots=COUNT, trial_timeout_s=SECONDS, memory_mb=COUNT, gpus=GPUS, trials_per_gpu=TRIALS_PER_GPU),
    "start": _table(**VALUES),
}


def load(path: str | Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        SpecError: The file cannot be read, or is not TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem = f"{path}: no such file; mlp-search init writes one"
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        problem = f"{path}: must be UTF-8 text, got {got}"
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        problem = f"{path}: cannot be read: {getattr(error, 'strerror', error)}"
    else:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            problem = f"{path}, {_syntax(str(error), text)}"
        except (ValueError, RecursionError):
            problem = f"{path}: must be TOML, got a number or a nesting beyond what Python reads"
    raise SpecError(printable(problem))


def parse(document: Any) -> tuple[dict[str, Any], list[str]]:
    """Checks each table by itself.

    Args:
        document: What ``load`` returned, or a dict of the same form.

    Returns:
        The tables without a problem, each a dict of the keys that were given, ``start`` a list of such and
        ``space`` None where there is none; and the problems, each "KEY: RULE, got VALUE".
    """
    if not isinstance(document, Mapping):
        return {}, [f"document: must be a table of tables, got {show(document)}"]
    tables: dict[str, Any] = {}
    problems = [f"{key}: {_unknown(str(key), TABLES)}" for key in document if key not in TABLES]
    for name, table in TABLES.items():
        try:
            if name == "start":
                starts = TypeAdapter(list[table])  # type: ignore[valid-type]
                tables[name] = [_given(start) for start in starts.validate_python(document.get(name, []))]
            elif name == "space" and document.get(name) is None:
                tables[name] = None
            else:
                tables[name] = _given(table.model_validate(document.get(name, {})))
        except ValidationError as error:
            problems += [_line(name, details) for details in error.errors(include_url=False)]
    return tables, problems


def show(value: Any) -> str:
    """A value as the study file would write it, in 60 characters at most."""
    try:
        text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def printable(line: str) -> str:
    """The line without what would break it up or move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _syntax(message: str, text: str) -> str:
    """The parser's "What (at line 1, column 2)" as "line 1, column 2: what"."""
    what, _, at = message.rpartition(" (at ")
    if at.startswith("end"):
        at = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
    return f"{at.rstrip(')')}: {what[:1].lower()}{what[1:]}"


def _given(table: Table) -> dict[str, Any]:
    return {key: value for key, value in table if value is not None}


def _line(table: str, details: ErrorDetails) -> str:
    """One of pydantic's errors as "KEY: RULE, got VALUE; hint"."""
    loc = details["loc"]
    place = table + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in loc)
    if details["type"] in ("extra_forbidden", "invalid_key"):  # invalid: not even a string
        valid = RangeTable if table == "space" and len(loc) > 1 else TABLES[table]
        return f"{place}: {_unknown(str(loc[-1]), valid.model_fields)}"
    if details["type"] == "missing":
        return f"{place}: must be given"
    rules = {"rule": details["msg"], "list_type": "must be a list of tables, each headed [[start]]"}
    near = details.get("ctx", {}).get("near")
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{place}: {rules.get(details['type'], 'must be a table')}, got {show(details['input'])}{hint}"


def _unknown(key: str, valid: Mapping[str, Any]) -> str:
    """What to say of an unknown key: the nearest one here, else the table that has it, else all."""
    near = get_close_matches(key.lower(), valid, 1)
    near += [f"{name}.{key}" for name, table in TABLES.items() if key in table.model_fields]
    return "unknown key; " + (f"did you mean {near[0]}?" if near else f"valid are {', '.join(valid)}")
