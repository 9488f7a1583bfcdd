"""The values that a user gives to a new study must have an effect on its data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.config import UNNAMED, Hyperparameters, layer_sizes
from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from pipelines.objectives import TASK_DIMENSIONS, Task
from search.spec.conditions import adds_inputs, broken_conditions
from search.spec.dimensions import Fixed, Range, contains, values
from search.spec.space import Params, SearchSpace
from search.spec.study_spec import StudySpec


def require_effects(space: SearchSpace, dataset: Dataset) -> None:
    """Checks that ``residual = true`` adds something in a network of the space, and that a funnel can narrow.

    Studies of earlier versions are not checked: they keep what they were started with.

    Raises:
        SpecError: No network of the space has a hidden layer whose input and output have one width, or no funnel of it
            has a second hidden layer.
    """
    if values(space.dimensions.get("shape", Fixed(None))) == ["funnel"] and space.highest("depth") == 1:
        raise SpecError('space.shape: must be left out, got "funnel": it narrows the hidden layers, and there is one')
    if values(space.dimensions.get("residual", Fixed(None))) != [True]:
        return
    largest, width = space.largest_network(), space.dimensions["width"]
    inputs = layer_sizes(largest, *dataset.sizes)[0], dataset.sizes[0]
    lowest = width.low if isinstance(width, Range) else min(n for n in values(width) if isinstance(n, int))
    widths = {largest.width, int(lowest), *(n for n in inputs if contains(width, n))}
    shapes = values(space.dimensions.get("shape", Fixed(None)))
    points: list[Params] = [{"width": n, "shape": shape} for n in widths for shape in shapes]
    networks = [replace(largest, **point) for point in points]
    if any(adds_inputs(network, dataset.sizes) for network in networks):
        return
    is_funnel = shapes == ["funnel"]
    reason = 'with shape = "funnel" all widths differ' if is_funnel else "the one hidden layer has another one"
    rule = "must be left out, got true: it adds a layer's input to an output of the same width"
    raise SpecError(f"space.residual: {rule}, and {reason}")


def require_effective(starts: Sequence[Hyperparameters], space: SearchSpace, dataset: Dataset) -> None:
    """Checks that each value of a user's starts has an effect beside the others.

    Raises:
        SpecError: One has none, such as a momentum with adam.
    """
    lines = [broken_conditions(space, start, dataset.sizes) for start in starts]
    if problems := [f"start[{i}].{line}" for i, each in enumerate(lines) for line in each]:
        raise SpecError(problems)


def require_fit_starts(spec: StudySpec, task: Task, unfit: Mapping[str, str]) -> None:
    """Checks that a user's starts name nothing of a preset that the study leaves out because of its data.

    Args:
        spec: The study before its data decided anything.
        task: Of its data.
        unfit: Dimensions and objectives that have no meaning for the data, by name, each with the reason.

    Raises:
        SpecError: They do.
    """
    others = {name: f"the task is a {task}" for name, its_task in TASK_DIMENSIONS.items() if its_task != task}
    problems = [
        f"start[{i}].{name}: must be left out, got {json.dumps(value)}: {reason}"
        for i, start in enumerate(() if spec.has_default_starts else spec.start)
        for name, reason in {**others, **unfit}.items()
        if name in spec.of_preset and (value := getattr(start, name)) not in (None, UNNAMED.get(name))
    ]
    if problems:
        raise SpecError(problems)
