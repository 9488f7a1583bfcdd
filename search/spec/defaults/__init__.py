"""The study file that ``mlp-search init`` writes: every key with its default and its alternatives.

A study without a file takes its space and its starts from there; docs/adr/0012 has how the starts were measured.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

STUDY_TEMPLATE = files("search.spec.defaults").joinpath("template.toml").read_text(encoding="utf-8")
DEFAULT_STUDY: dict[str, Any] = tomllib.loads(STUDY_TEMPLATE)
