"""The search space: hyperparameters as dimensions, and as Optuna's distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.config import UNNAMED, ClassWeight, Hyperparameters, default_decay
from pipelines.errors import SpecError
from search.spec.conditions import without_effect
from search.spec.dimensions import (
    Choice,
    Fixed,
    Range,
    Value,
    contains,
    count,
    distribution,
    fitting,
    near,
    nearest,
    position_of,
    suggest,
    to_json,
    value_at,
    values,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Params: TypeAlias = dict[str, Any]
"""Values by the hyperparameter's name: int, float or str, as the hyperparameter asks."""

_PARTS = ("activation", "normalization", "input_dropout", "noise", "residual", "embedding", "ema")
"""Dimensions that take memory of their own."""
NAMES = tuple(field.name for field in fields(Hyperparameters) if field.default is not None)
GRID_LIMIT = 100_000  # Optuna's GridSampler holds every configuration in memory

# Keras's default learning rate of each optimizer that a study may name; Keras finds no lamb by name.
_OTHERS = ("rmsprop", "adam", "adamw", "adagrad", "adadelta", "adamax", "nadam", "ftrl", "lion")
KERAS_LEARNING_RATES = {"sgd": 0.01} | dict.fromkeys(_OTHERS, 0.001)


def default_values(optimizer: str | None) -> Params:
    """The values of a configuration with an optimizer that does not name them: those of all tasks together."""
    others = {"schedule": "constant", "loss": "mse", "class_weight": "none"}
    return UNNAMED | others | {"weight_decay": default_decay(optimizer)}


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The search space of a study.

    A dimension left out is not searched: it stays at its value in ``Hyperparameters()``, the learning rate
    at Keras's default for the optimizer of the trial.

    Attributes:
        dimensions: The eight hyperparameters that every network has, by name in the order of ``Hyperparameters``, then
            those further ones that the study names.
    """

    dimensions: Mapping[str, Fixed | Choice | Range]

    def __post_init__(self) -> None:
        defaults = asdict(Hyperparameters()) | {"learning_rate": None}
        fixed = {name: Fixed(defaults[name]) for name in NAMES}
        object.__setattr__(self, "dimensions", fixed | dict(self.dimensions))

    @property
    def searched(self) -> dict[str, Choice | Range]:
        """The dimensions that are not fixed."""
        return {name: d for name, d in self.dimensions.items() if not isinstance(d, Fixed)}

    @property
    def named(self) -> list[str]:
        """The dimensions but those that are fixed to what a network has without them."""
        return [name for name, d in self.dimensions.items() if name not in UNNAMED or d != Fixed(UNNAMED[name])]

    @property
    def _fixed(self) -> Params:
        fixed = {name: d.value for name, d in self.dimensions.items() if isinstance(d, Fixed)}
        return {name: value for name, value in fixed.items() if value is not None}

    @property
    def class_weight(self) -> ClassWeight | None:
        """The weights of the classes of every configuration; None where they differ, or the task decides."""
        return self._fixed.get("class_weight")

    def without(self, names: Collection[str]) -> SearchSpace:
        """The space without some of the dimensions that a network need not name."""
        return SearchSpace({name: d for name, d in self.dimensions.items() if name not in names})

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each searched dimension, as ``study.ask`` takes them."""
        return {name: distribution(dimension) for name, dimension in self.searched.items()}

    def near(self, configurations: Sequence[Hyperparameters]) -> dict[str, BaseDistribution]:
        """Optuna's distribution of the part of each searched dimension around some configurations."""
        found = [configuration.filled() for configuration in configurations]
        return {name: near(d, [getattr(hp, name) for hp in found]) for name, d in self.searched.items()}

    def suggest(self, trial: BaseTrial) -> Hyperparameters:
        """Asks ``trial`` for each searched dimension and fills in the fixed ones."""
        return self.hyperparameters({name: suggest(trial, name, d) for name, d in self.searched.items()})

    def hyperparameters(self, params: Mapping[str, Any]) -> Hyperparameters:
        """The configuration of a trial's params.

        Args:
            params: A value for each searched dimension, as Optuna keeps them.

        Raises:
            SpecError: ``params`` are those of another space.
        """
        if params.keys() != self.searched.keys():
            names, got = (", ".join(keys) or "none" for keys in (self.searched, params))
            raise SpecError(f"space: the trial's params must be {names}, got {got}")
        point = self._fixed | dict(params)
        point.setdefault("learning_rate", KERAS_LEARNING_RATES[point["optimizer"]])
        return Hyperparameters(**point)

    def params(self, configuration: Hyperparameters) -> Params:
        """The searched values of a configuration, as ``study.enqueue_trial`` takes them."""
        return {name: getattr(configuration, name) for name in self.searched}

    def complete(self, given: Mapping[str, Any]) -> tuple[Params, list[str]]:
        """Adds to a configuration what is fixed, Keras's learning rate and a constant schedule.

        Args:
            given: Values of the right types by name.

        Returns:
            All values, and the problems: "NAME: RULE, got VALUE" for each that is missing or outside.
        """
        named = self._fixed | dict(given)
        defaults = {n: v for n, v in default_values(named.get("optimizer")).items() if n in self.dimensions}
        point = defaults | named
        rate = KERAS_LEARNING_RATES.get(point.get("optimizer", ""))
        if rate is not None:
            point.setdefault("learning_rate", rate)
        point |= {n: self.value_without_effect(n) for n in without_effect(point) if n in self.dimensions.keys() - given}
        problems = []
        for name, dimension in self.dimensions.items():
            allowed = Fixed(rate) if dimension == Fixed(None) else dimension
            if name not in point:
                problems.append(f"{name}: must be given, because the space does not fix it")
            elif not contains(allowed, point[name]):
                got = json.dumps(point[name]) + ("" if name in given else ", the default")
                problems.append(f"{name}: must be {allowed}, as in the space, got {got}")
        problems += [f"{name}: must be a dimension of the space too" for name in given if name not in self.dimensions]
        return point, problems

    def value_without_effect(self, name: str) -> Value | None:
        """The value of a dimension in a configuration in which it has no effect: that of a network without it."""
        dimension = self.dimensions.get(name, Fixed(UNNAMED[name]))
        default: Value = UNNAMED[name]
        if isinstance(dimension, Range):
            default = nearest(dimension, default)
        return default if contains(dimension, default) else values(dimension)[0]

    def moved_into(self, given: Mapping[str, Any]) -> tuple[Params, list[str]]:
        """As ``complete``, with the nearest number of each dimension in place of one outside of it."""
        filled, _ = self.complete(given)
        inside = filled | {n: nearest(d, filled[n]) for n, d in self.dimensions.items() if n in filled}
        if self.dimensions["learning_rate"] == Fixed(None):
            inside.pop("learning_rate", None)
        return self.complete(inside)

    def adapted(self, given: Mapping[str, Any]) -> tuple[Params, list[str]]:
        """As ``moved_into``, of a configuration that the user did not give: what the space fixes replaces its values.

        Of a list that does not have its value it gets the first one.
        """
        point = {name: value for name, value in given.items() if name in self.searched}
        idle = without_effect(self._fixed | point)
        filled, _ = self.complete({name: value for name, value in point.items() if name not in idle})
        return self.complete({n: fitting(d, filled[n]) for n, d in self.searched.items() if n in filled})

    def key(self, params: Mapping[str, Any]) -> tuple[Value, ...]:
        """Identifies a configuration by its params, however a sampler or a file rounds the steps of floats."""
        return tuple(position_of(dimension, params[name]) for name, dimension in self.searched.items())

    def following(self, params: Mapping[str, Any]) -> Iterator[Params]:
        """All other configurations of a space without a continuous dimension.

        Args:
            params: Those at which the counting begins; the last dimension counts fastest.
        """
        counts = {name: count(dimension) or 1 for name, dimension in self.searched.items()}
        first = 0
        for n_values, position in zip(counts.values(), self.key(params), strict=True):
            first = first * n_values + int(position)
        for number in range(first + 1, first + math.prod(counts.values())):
            point, rest = dict(params), number
            for name, dimension in reversed(self.searched.items()):
                rest, position = divmod(rest, counts[name])
                point[name] = value_at(dimension, position)
            yield point

    def size(self) -> int | None:
        """Number of distinct configurations, None if a dimension is continuous."""
        counts = [count(dimension) for dimension in self.dimensions.values()]
        return None if None in counts else math.prod(n for n in counts if n is not None)

    def grid(self) -> dict[str, list[Any]]:
        """The values of each searched dimension, for Optuna's GridSampler.

        Raises:
            SpecError: A continuous range, or more than ``GRID_LIMIT`` configurations.
        """
        rule = "must be a value, a list or a range with a step for the grid sampler, got a range without a step"
        problems = [f"space.{name}: {rule}" for name, d in self.searched.items() if count(d) is None]
        size = self.size() or 0
        if size > GRID_LIMIT:
            rule = f"must hold at most {GRID_LIMIT} configurations for the grid sampler"
            problems.append(f"space: {rule}, got {size}; give the ranges a step")
        if problems:
            raise SpecError(problems)
        return {name: values(dimension) for name, dimension in self.searched.items()}

    def highest(self, name: str) -> int:
        """The largest value of a dimension of whole numbers."""
        dimension = self.dimensions[name]
        if isinstance(dimension, Range):
            return int(distribution(dimension).high)
        return max(int(value or 0) for value in values(dimension))

    def largest_network(self) -> Hyperparameters:
        """The widest and deepest network in the space, with all parts that one of its networks has."""
        parts: Params = {name: self._beyond_default(name) for name in _PARTS if name in self.dimensions}
        return Hyperparameters(width=self.highest("width"), depth=self.highest("depth"), **parts)

    def _beyond_default(self, name: str) -> Value | None:
        """A value of a dimension that is not what a network has without it; None if there is none."""
        dimension = self.dimensions[name]
        found = [dimension.high] if isinstance(dimension, Range) else values(dimension)
        return next((value for value in found if value != UNNAMED[name]), None)

    def to_json(self) -> dict[str, object]:
        """The ``[space]`` table in full; equal spaces give equal JSON."""
        return {name: to_json(d) for name, d in self.dimensions.items() if d != Fixed(None)}
