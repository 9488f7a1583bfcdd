"""The study file that ``mlp-search init`` writes: every key with its default and its alternatives."""

from __future__ import annotations

from importlib.resources import files

STUDY_TEMPLATE = files("search.spec").joinpath("template.toml").read_text(encoding="utf-8")
