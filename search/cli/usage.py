"""Errors of usage in the words of this program: the option, the rule and the value."""

from __future__ import annotations

import difflib
import re
from typing import Any

import typer

_RULES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
"""The rule of each error that Typer's parser finds, by Pydantic's name for it."""
_PHRASES = (
    (re.compile(r"No such command '(.*?)'\.(?: Did you mean '(.*?)'\?)?.*"), r"\1: there is no such command"),
    (re.compile(r"Option '(.*?)' requires an argument\."), r"\1: must have a value"),
    (re.compile(r"Option '(.*?)' does not take a value\."), r"\1: must have no value"),
    (
        re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)"),
        r"\1: unexpected argument; the command takes no more",
    ),
)


def usage_line(error: typer.TyperException) -> str:
    """The line that reports an error of usage."""
    name = type(error).__name__
    if name == "NoSuchOption":
        return _unknown_option(error)
    if name == "MissingParameter":
        return f"{_parameter(error)}: must be given"
    if isinstance(error, typer.BadParameter):
        return _bad_value(error)
    text = error.format_message()
    for pattern, phrase in _PHRASES:
        if found := pattern.fullmatch(text):
            near = (found[2] or "").split("', '")[0] if pattern.groups > 1 else ""  # the nearest comes first
            hint = f"; did you mean {near}?" if near else ""
            return pattern.sub(phrase, text) + (hint or _list_of_commands(phrase))
    return text


def _list_of_commands(phrase: str) -> str:
    return "; mlp-search --help lists them" if "no such command" in phrase else ""


def _unknown_option(error: Any) -> str:
    names = {name.lstrip("-"): name for name in error.possibilities or ()}
    near = difflib.get_close_matches(error.option_name.lstrip("-"), names, 1)
    hint = f"did you mean {names[near[0]]}?" if near else "the command's --help lists them"
    return f"{error.option_name}: there is no such option; {hint}"


def _bad_value(error: typer.BadParameter) -> str:
    if error.param is None and error.param_hint is None:
        return str(error.message)
    cause: Any = error.__cause__ or error.__context__
    problems = cause.errors() if hasattr(cause, "errors") else []
    if not problems or problems[0]["type"] not in _RULES:
        return f"{_parameter(error)}: {error.message}"
    problem = problems[0]
    rule = _RULES[problem["type"]].format(**problem.get("ctx", {}))
    given = str(problem["input"])
    is_number = problem["type"] in ("greater_than_equal", "less_than_equal")
    return f"{_parameter(error)}: {rule}, got {given if is_number else repr(given)}"


def _parameter(error: Any) -> str:
    """The name of an option or an argument as it is typed: ``--top``, ``NUMBER``."""
    hint = error.param_hint or (error.param.get_error_hint() if error.param is not None else "argument")
    return str(hint if isinstance(hint, str) else " / ".join(hint)).replace("'", "").strip("[]")
