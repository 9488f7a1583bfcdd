"""The properties that decide the compiled functions of a network, and the position of each array among its weights.

The weights of a network are one list. First those that are trained, input to output: of each hidden layer a kernel
(n_in, n_out), a bias (n_out,) unless batch normalization follows, and of a normalization gamma and beta (n_out,); then
kernel and bias of the output. Then those that are not: moving mean and variance of each batch normalization, and of an
embedding the kernel (n_features, n_pieces) and the bias (n_pieces,). Imports no TensorFlow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from pipelines.config import Activation, Hyperparameters, Normalization, Precision

T = TypeVar("T")
EVALUATION_ROWS = 2048
"""Rows of one evaluation step: large enough for the matrix product, small enough for the cache."""


class LayerWeights(NamedTuple, Generic[T]):
    """The trained weights of a hidden layer, or of the output; None for those that it does not have."""

    kernel: T
    bias: T | None = None
    gamma: T | None = None
    beta: T | None = None


class Architecture(NamedTuple):
    """The properties that decide the operations of a network; widths do not, as shapes are left open.

    Attributes:
        depth: Number of hidden layers.
        dropout: Whether units of hidden layers are dropped.
        activation: Of each hidden layer.
        normalization: Between product and activation.
        input_dropout: Whether inputs are dropped.
        noise: Whether there is noise before each activation.
        residual: Of each hidden layer, whether its input is added to its output; empty for none.
        embedding: Whether pieces of numeric columns stand beside the inputs.
        narrows: Whether hidden layers differ in width.
    """

    depth: int
    dropout: bool = False
    activation: Activation = "relu"
    normalization: Normalization = "none"
    input_dropout: bool = False
    noise: bool = False
    residual: tuple[bool, ...] = ()
    embedding: bool = False
    narrows: bool = False

    @classmethod
    def of(cls, hyperparameters: Hyperparameters, sizes: Sequence[int]) -> Architecture:
        """Returns that of a configuration.

        Args:
            hyperparameters: The configuration.
            sizes: Values at the input, after each hidden layer and at the output, as ``layer_sizes`` returns them.
        """
        hp, hidden = hyperparameters.filled(), sizes[:-1]
        adds = tuple(n_in == n_out for n_in, n_out in itertools.pairwise(hidden))
        return cls(
            hp.depth,
            dropout=hp.dropout > 0,
            activation=hp.activation or "relu",
            normalization=hp.normalization or "none",
            input_dropout=bool(hp.input_dropout),
            noise=bool(hp.noise),
            residual=adds if hp.residual and any(adds) else (),
            embedding=hp.embedding == "piecewise",
            narrows=len(set(hidden[1:])) > 1,
        )

    @property
    def is_plain(self) -> bool:
        """Whether it is dense layers, ReLU and dropout alone, whose gradient is written by hand."""
        return self == Architecture(self.depth, self.dropout)

    @property
    def predicting(self) -> Architecture:
        """The same without its random parts, which are for training alone."""
        return self._replace(dropout=False, input_dropout=False, noise=False)

    @property
    def _per_layer(self) -> int:
        return {"none": 2, "batch": 3, "layer": 4}[self.normalization]

    @property
    def n_trained(self) -> int:
        """Number of arrays that are trained; they are the first ones."""
        return self.depth * self._per_layer + 2

    @property
    def kernels(self) -> tuple[int, ...]:
        """Places of the kernels among the arrays, input to output."""
        return tuple(layer * self._per_layer for layer in range(self.depth + 1))

    def layer(self, weights: Sequence[T], number: int) -> LayerWeights[T]:
        """Returns the trained weights of a layer, counted from 0; the output is number ``depth``."""
        start = number * self._per_layer
        if number == self.depth:
            return LayerWeights(*weights[start : start + 2])
        parts = weights[start : start + self._per_layer]
        if self.normalization == "batch":
            return LayerWeights(parts[0], None, *parts[1:])
        return LayerWeights(*parts)

    def moving(self, weights: Sequence[T], number: int) -> tuple[T, T]:
        """Returns moving mean and variance of a hidden layer's batch normalization."""
        start = self.n_trained + 2 * number
        return weights[start], weights[start + 1]

    def pieces(self, weights: Sequence[T]) -> tuple[T, T]:
        """Returns kernel and bias of the embedding."""
        return weights[-2], weights[-1]


class Program(NamedTuple):
    """The properties that decide the graph of an epoch besides the optimizer and the number of networks.

    Attributes:
        network: The network.
        loss: One of ``losses.LOSSES``.
        precision: Type of the operands of products.
        max_norm: Whether the norms of weights into a unit are limited.
        one_pass: Whether adam updates kernels and their averages in one pass over their memory.
    """

    network: Architecture
    loss: str
    precision: Precision = "float32"
    max_norm: bool = False
    one_pass: bool = False
