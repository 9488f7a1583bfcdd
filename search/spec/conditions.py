"""Hyperparameters that change a network only beside certain values of others."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.config import UNNAMED, Hyperparameters, layers

if TYPE_CHECKING:
    from search.spec.space import SearchSpace

Sizes: TypeAlias = tuple[int, int, int]
"""Those of ``pipelines.config.layers``: values of a row, outputs, and values that an embedding adds."""


def without_effect(values: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameters that change nothing beside the other values of a configuration, by name, each with the reason."""
    found = {}
    if values.get("optimizer", "sgd") != "sgd":
        found["momentum"] = f"only sgd has it, and the optimizer is {values['optimizer']}"
    if values.get("depth") == 1:
        found["shape"] = "it narrows the hidden layers, and there is one"
    return found


def effective(configuration: Hyperparameters) -> Hyperparameters:
    """The configuration with the default in place of each value that has no effect: equal ones train equal networks."""
    unused = without_effect(configuration.to_json())
    return replace(configuration.filled(), **{name: UNNAMED[name] for name in unused})


def adds_inputs(configuration: Hyperparameters, sizes: Sizes) -> bool:
    """Whether ``residual = true`` adds something in a network: a hidden layer has as many inputs as outputs."""
    return any(layer.name.startswith("residual") for layer in layers(configuration, *sizes))


def broken_conditions(
    space: SearchSpace, configuration: Hyperparameters, sizes: Sizes | None, given: Container[str] = UNNAMED
) -> list[str]:
    """The problems of a configuration that a user gave.

    A value is no problem where it is the one that the configuration has without it.

    Args:
        space: Of the study.
        configuration: In full.
        sizes: Of the study's data; None where they are not known.
        given: Names of the values that the user gave; others were drawn, and may have no effect.

    Returns:
        "NAME: must be left out, got VALUE: REASON" for each value without an effect.
    """
    values = configuration.to_json()
    reasons = without_effect(values)
    if sizes and configuration.residual and not adds_inputs(configuration, sizes):
        reasons["residual"] = (
            "it adds a layer's input to its output where both have one width, and no hidden layer has that"
        )
    return [
        f"{name}: must be left out, got {json.dumps(values[name])}: {reason}"
        for name, reason in reasons.items()
        if name in given and values.get(name) not in (None, UNNAMED[name], space.value_without_effect(name))
    ]
