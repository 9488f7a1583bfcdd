"""The values that a new study fixes must have an effect on its data."""

from __future__ import annotations

from dataclasses import replace

from pipelines.config import layer_sizes, layers
from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from search.spec.dimensions import Fixed, contains, values
from search.spec.space import Params, SearchSpace


def require_effects(space: SearchSpace, dataset: Dataset) -> None:
    """Checks that ``residual = true`` adds something in a network of the space.

    Studies of earlier versions are not checked: they keep what they were started with.

    Raises:
        SpecError: No network of the space has a hidden layer whose input and output have one width.
    """
    if values(space.dimensions.get("residual", Fixed(None))) != [True]:
        return
    data = (dataset.training.x[0].size, dataset.n_outputs, dataset.n_pieces)
    largest, width = space.largest_network(), space.dimensions["width"]
    widths = {largest.width, *(n for n in (layer_sizes(largest, *data)[0], data[0]) if contains(width, n))}
    shapes = values(space.dimensions.get("shape", Fixed(None)))
    points: list[Params] = [{"width": n, "shape": shape} for n in widths for shape in shapes]
    networks = [replace(largest, **point) for point in points]
    if any(layer.name.startswith("residual") for network in networks for layer in layers(network, *data)):
        return
    is_funnel = shapes == ["funnel"]
    reason = 'with shape = "funnel" all widths differ' if is_funnel else "the one hidden layer has another one"
    rule = "must be left out, got true: it adds a layer's input to an output of the same width"
    raise SpecError(f"space.residual: {rule}, and {reason}")
