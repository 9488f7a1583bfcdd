"""The rules that the values of ``[data]`` keep, before a file is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from pipelines.config import DEFAULT_FRACTION, MAX_FOLDS, DataConfig, Scaling
from pipelines.errors import DataError
from pipelines.files.roles import conflicts
from pipelines.files.sources import scaling_of

_QUANTILE = 'data.scaling: "quantile" is for tables, got it for {}: choose "robust", which arrays have too'


def require_valid(config: DataConfig) -> None:
    """Checks the settings by themselves and against each other.

    Raises:
        DataError: A line for each that breaks a rule.
    """
    problems = [
        f"data.{name}: must be above 0 and below 1, got {getattr(config, name)}: 0.2 is a common choice"
        for name in ("validation_fraction", "test_fraction")
        if not 0 < getattr(config, name) < 1
    ]
    scalings = get_args(Scaling)
    if config.scaling is not None and config.scaling not in scalings:
        problems.append(f"data.scaling: must be one of {', '.join(scalings)}, got {config.scaling!r}")
    if config.scaling == "quantile" and scaling_of(replace(config, scaling=None)) != "auto":
        problems.append(_QUANTILE.format(config.source))
    if not 0 <= config.split_seed < 2**32:
        problems.append(f"data.split_seed: must be at least 0 and below 2**32, got {config.split_seed}")
    problems += _folds_problems(config)
    problems += conflicts(config)
    if problems:
        raise DataError(problems)


def _folds_problems(config: DataConfig) -> Iterator[str]:
    """Yields a line where the number of folds is wrong, or contradicts another key of ``[data]``."""
    folds = config.folds
    if folds is None:
        return
    if not isinstance(folds, int) or isinstance(folds, bool) or not 1 <= folds <= MAX_FOLDS:
        yield f"data.folds: must be a whole number from 1 to {MAX_FOLDS}, got {folds!r}: 5 is a common choice"
    elif folds > 1:
        others = {key: getattr(config, key) for key in ("time", "split") if getattr(config, key) is not None}
        if config.validation_fraction != DEFAULT_FRACTION:
            others["validation_fraction"] = config.validation_fraction
        for key, value in others.items():
            yield f"data.folds: must be left out with data.{key}, got {folds} and {value!r}: choose one of the two"
