"""The search space: the eight hyperparameters as dimensions, and what they are to an Optuna trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from pipelines.config import Hyperparameters
from pipelines.errors import SpecError
from search.spec.dimensions import (
    Choice,
    Dimension,
    Fixed,
    Range,
    as_floats,
    contains,
    count,
    distribution,
    from_json,
    suggest,
    to_json,
    values,
)

__all__ = ["Choice", "Dimension", "Fixed", "Range", "SearchSpace", "default_space"]

NAMES = tuple(field.name for field in fields(Hyperparameters))
FLOATS = ("dropout", "learning_rate")
GRID_LIMIT = 100_000  # Optuna's GridSampler holds every configuration in memory

# Keras's default learning rate of each optimizer that a study may name; Keras finds no lamb by name.
_OTHERS = ("rmsprop", "adam", "adamw", "adagrad", "adadelta", "adamax", "nadam", "ftrl", "lion")
KERAS_LEARNING_RATES = {"sgd": 0.01} | dict.fromkeys(_OTHERS, 0.001)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What a study searches.

    A dimension left out is not searched: it stays at its value in ``Hyperparameters()``, the learning rate
    at Keras's default for the optimizer of the trial.

    Attributes:
        dimensions: All eight hyperparameters by name, always in the order of ``Hyperparameters``.
    """

    dimensions: Mapping[str, Dimension]

    def __post_init__(self) -> None:
        unknown = [name for name in self.dimensions if name not in NAMES]
        if unknown:
            raise SpecError(f"space: must name only {', '.join(NAMES)}, got {', '.join(unknown)}")
        rest: dict[str, Dimension] = {name: Fixed(value) for name, value in asdict(Hyperparameters()).items()}
        given = rest | {"learning_rate": Fixed(None)} | dict(self.dimensions)
        ordered = {name: as_floats(given[name]) if name in FLOATS else given[name] for name in NAMES}
        object.__setattr__(self, "dimensions", ordered)

    @property
    def searched(self) -> dict[str, Choice | Range]:
        """The dimensions that are not fixed."""
        return {name: d for name, d in self.dimensions.items() if not isinstance(d, Fixed)}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each searched dimension, as ``study.ask`` takes them."""
        return {name: distribution(dimension) for name, dimension in self.searched.items()}

    def suggest(self, trial: BaseTrial) -> Hyperparameters:
        """Asks ``trial`` for each searched dimension and fills in the fixed ones."""
        return self.hyperparameters({name: suggest(trial, name, d) for name, d in self.searched.items()})

    def hyperparameters(self, params: Mapping[str, Any]) -> Hyperparameters:
        """The configuration that a trial's params stand for.

        Args:
            params: A value for each searched dimension, as Optuna keeps them.

        Raises:
            SpecError: ``params`` are those of another space.
        """
        if params.keys() != self.searched.keys():
            names, got = (", ".join(keys) or "none" for keys in (self.searched, params))
            raise SpecError(f"space: the trial's params must be {names}, got {got}")
        fixed = {name: d.value for name, d in self.dimensions.items() if isinstance(d, Fixed)}
        point: dict[str, Any] = {**fixed, **params}
        if point["learning_rate"] is None:
            point["learning_rate"] = KERAS_LEARNING_RATES[point["optimizer"]]
        return Hyperparameters(**point)

    def params(self, configuration: Hyperparameters) -> dict[str, Any]:
        """The searched values of a configuration, as ``study.enqueue_trial`` takes them."""
        return {name: getattr(configuration, name) for name in self.searched}

    def complete(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Fills a configuration in: what is fixed, Keras's learning rate, a constant schedule.

        Args:
            given: Values of the right types by name.

        Returns:
            All values, and the problems: "NAME: RULE, got VALUE" for each that is missing or outside.
        """
        fixed = {name: d.value for name, d in self.dimensions.items() if isinstance(d, Fixed) and d != Fixed(None)}
        point: dict[str, Any] = {"schedule": "constant"} | fixed | dict(given)
        rate = KERAS_LEARNING_RATES.get(point.get("optimizer", ""))
        point = {"learning_rate": rate} | point if rate else point
        problems = []
        for name, dimension in self.dimensions.items():
            allowed = Fixed(rate) if dimension == Fixed(None) else dimension
            if name not in point:
                problems.append(f"{name}: must be given, because the space does not fix it")
            elif not contains(allowed, point[name]):
                got = json.dumps(point[name]) + ("" if name in given else ", the default")
                problems.append(f"{name}: must be {allowed}, as in the space, got {got}")
        return point, problems

    def size(self) -> int | None:
        """Number of distinct configurations, None where a dimension is continuous."""
        counts = [n for dimension in self.dimensions.values() if (n := count(dimension)) is not None]
        return math.prod(counts) if len(counts) == len(NAMES) else None

    def grid(self) -> dict[str, list[Any]]:
        """The values of each searched dimension, for Optuna's GridSampler.

        Raises:
            SpecError: A continuous range, or more than ``GRID_LIMIT`` configurations.
        """
        rule = "must be a value, a list or a range with a step for the grid sampler, got a range without a step"
        problems = [f"space.{name}: {rule}" for name, d in self.searched.items() if count(d) is None]
        if (self.size() or 0) > GRID_LIMIT:
            rule = f"must hold at most {GRID_LIMIT} configurations for the grid sampler"
            problems.append(f"space: {rule}, got {self.size()}; give the ranges a step")
        if problems:
            raise SpecError(problems)
        return {name: values(dimension) or [] for name, dimension in self.searched.items()}

    @property
    def max_epochs(self) -> int:
        """The longest training, in epochs: the resource of Hyperband."""
        return int(self.highest("epochs"))

    def highest(self, name: str) -> Any:
        """The largest value of a dimension of numbers."""
        d = self.dimensions[name]
        return distribution(d).high if isinstance(d, Range) else max(values(d) or ())

    def largest_network(self) -> Hyperparameters:
        """The widest and deepest that it holds."""
        return Hyperparameters(width=self.highest("width"), depth=self.highest("depth"))

    def to_json(self) -> dict[str, Any]:
        """The ``[space]`` table in full; equal spaces give equal JSON."""
        return {name: to_json(d) for name, d in self.dimensions.items() if d != Fixed(None)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SearchSpace:
        """Reads what ``to_json`` wrote; the study file's rules are not checked again."""
        return cls({name: from_json(value) for name, value in document.items()})


def default_space() -> SearchSpace:
    """The space of a study that names none."""
    return SearchSpace(
        {
            "width": Range(32, 1024, log=True),
            "depth": Range(1, 4),
            "dropout": Range(0.0, 0.5),
            "optimizer": Choice(("sgd", "rmsprop", "adam")),
            "learning_rate": Range(1e-4, 1e-1, log=True),
            "schedule": Choice(("constant", "cosine")),
            "epochs": Range(5, 40),
            "batch_size": Choice((32, 64, 128, 256)),
        }
    )
