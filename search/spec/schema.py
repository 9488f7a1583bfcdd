"""From a study file to its tables, each checked by itself, with one line for each problem."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from numbers import Number
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from pipelines.errors import SpecError
from search.home.text import printable
from search.spec.defaults import DEFAULT_STUDY, preset_space
from search.spec.dimensions import Choice, Dimension, Fixed, Range
from search.spec.rules import BOOL, COUNT, POSITIVE, TABLES, Rule

Table: TypeAlias = dict[str, Any]
"""The values of a table by key; its rules say their types."""

_LEFT_OUT: Table = {"space": DEFAULT_STUDY["space"], "start": []}
"""The default of a table that is left out, where that is not an empty one."""


def load(path: str | Path) -> Table:
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


def _syntax(message: str, text: str) -> str:
    """The parser's "What (at line 1, column 2)" as "line 1, column 2: what"."""
    what, _, at = message.rpartition(" (at ")
    if at.startswith("end"):
        at = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
    return f"{at.rstrip(')')}: {what[:1].lower()}{what[1:]}"


def parse(document: object) -> tuple[dict[str, Any], list[str]]:
    """Checks each table by itself.

    Args:
        document: The result of ``load``, or a dict of the same form.

    Returns:
        The tables, each a dict of the given keys without a problem, and ``start`` a list of such with None in place of
        a wrong one; ``space`` is left out if it has a problem. And the problems, each "KEY: RULE, got VALUE".
    """
    if not isinstance(document, Mapping):
        return {}, [f"document: must be a table of tables, got {show(document)}"]
    tables: dict[str, Any] = {}
    problems = [f"{key}: {_unknown(str(key), TABLES)}" for key in document if key not in TABLES]
    for name, rules in TABLES.items():
        check = _Check()
        given = _renamed(name, document.get(name, _LEFT_OUT.get(name, {})))
        if name == "space" and isinstance(given, Mapping) and "preset" in given:
            given = check.expanded(given, _source(document.get("data")))
        if name == "start":
            tables[name] = check.starts(given, rules)
        else:
            tables[name] = check.table(name, given, rules, check.dimension if name == "space" else check.value)
        problems += check.problems
        if check.problems and name == "space":
            del tables[name]
        elif check.problems and name != "start":
            tables[name] = {key: value for key, value in tables[name].items() if value is not None}
    return tables, problems


def _source(data: object) -> str:
    """The source that the table of data names, even where another of its keys is wrong."""
    return str(data.get("source", "")) if isinstance(data, Mapping) else ""


def _renamed(name: str, given: object) -> object:
    """A table with today's names of keys."""
    if name != "data" or not isinstance(given, Mapping) or "groups" not in given or "group" in given:
        return given
    return {"group" if key == "groups" else key: value for key, value in given.items()}


class _Check:
    """Reads values and collects a line for each that breaks its rule."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def starts(self, given: object, rules: Mapping[str, Rule]) -> list[Table | None]:
        """Reads the list of ``[[start]]`` tables."""
        if not isinstance(given, list | tuple):
            self.problems.append(f"start: must be a list of tables, each headed [[start]], got {show(given)}")
            return []
        found: list[Table | None] = []
        for i, start in enumerate(given):
            n_problems = len(self.problems)
            table = self.table(f"start[{i}]", start, rules, self.value)
            found.append(table if len(self.problems) == n_problems else None)
        return found

    def expanded(self, given: Mapping[str, object], source: str) -> Mapping[str, object]:
        """Puts the dimensions of a preset that fit the source in place of its name; given ones go before them."""
        name = self.value("space.preset", TABLES["space"]["preset"], given["preset"])
        rest = {key: value for key, value in given.items() if key != "preset"}
        return rest if name is None else preset_space(name, source) | rest

    def table(
        self, place: str, given: object, rules: Mapping[str, Rule], read: Callable[[str, Rule, object], Any]
    ) -> Table:
        """Reads the keys of a table that are given."""
        if not isinstance(given, Mapping):
            self.problems.append(f"{place}: must be a table, got {show(given)}")
            return {}
        found = {}
        for key, rule in rules.items():
            if given.get(key) is not None:
                found[key] = read(f"{place}.{key}", rule, given[key])
            elif rule.required:
                self.problems.append(f"{place}.{key}: must be given")
        self.problems += [f"{place}.{key}: {_unknown(str(key), rules)}" for key in given if key not in rules]
        return found

    def value(self, place: str, rule: Rule, given: object) -> Any:
        """Reads a value; None if it breaks its rule."""
        given = _plain(given)
        if rule.allows(given):
            return float(given) if float in rule.types else given  # type: ignore[arg-type]  # a number
        near = get_close_matches(given.lower(), rule.names, 1) if isinstance(given, str) else []
        hint = f"; did you mean {near[0]}?" if near else ""
        self.problems.append(f"{place}: {rule.text}, got {show(given)}{hint}")
        return None

    def dimension(self, place: str, rule: Rule, given: object) -> Dimension | None:
        """Reads what ``[space]`` has for a hyperparameter: a value, a list or, for numbers, a range."""
        if isinstance(given, Mapping) and not rule.names and bool not in rule.types:
            return self._range(place, rule, given)
        if not isinstance(given, list | tuple):
            return Fixed(self.value(place, rule, given))
        n_problems = len(self.problems)
        values = [self.value(f"{place}[{i}]", rule, value) for i, value in enumerate(given)]
        is_right = len(self.problems) == n_problems
        if is_right and (not values or len(set(values)) < len(values)):
            self.problems.append(f"{place}: must hold at least one value and none twice, got {show(given)}")
        return Choice(tuple(values))

    def _range(self, place: str, rule: Rule, given: Mapping[str, object]) -> Range | None:
        end, step = replace(rule, required=True), POSITIVE if float in rule.types else COUNT
        n_problems = len(self.problems)
        values = self.table(place, given, {"log": BOOL, "low": end, "high": end, "step": step}, self.value)
        if len(self.problems) > n_problems:
            return None
        found = Range(**values)
        self.problems += [f"{place}.{key}: {text}, got {show(given[key])}" for key, text in found.broken_rules()]
        return found


def _plain(value: object) -> object:
    """A path, a tuple or a number of NumPy, which code may give, as a file holds it."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return value.item() if isinstance(value, Number) and hasattr(value, "item") else value


def show(value: object) -> str:
    """A value as the study file would write it, in 60 characters at most."""
    try:
        text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown(key: str, valid: Mapping[str, object]) -> str:
    """The problem of an unknown key: the nearest one here or in another table, else all that are valid here."""
    tables = reversed(TABLES.items())  # of a dimension's two tables, space and start, the space is named
    places = {other: f"{name}.{other}" for name, table in tables for other in table}
    places |= {name: name for name in valid}
    near = get_close_matches(key.lower(), places, 1)
    return "unknown key; " + (f"did you mean {places[near[0]]}?" if near else f"valid are {', '.join(valid)}")
