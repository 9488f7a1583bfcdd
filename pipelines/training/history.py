"""Results of training: epoch reports, checkpoints, hashes of model files. Imports no TensorFlow."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.errors import InputError


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Measurements of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        metrics: By name, as ``objectives.epoch_metrics`` lists them. ``loss`` and ``accuracy`` are means over the
            epoch's batches, with dropout, as Keras's ``fit`` reports them; the others were measured on the validation
            rows after the epoch.
        learning_rate: Learning rate of the epoch's first step.
        duration_s: Seconds of training and validation together.
    """

    epoch: int
    metrics: Mapping[str, float]
    learning_rate: float
    duration_s: float

    @property
    def is_finite(self) -> bool:
        """Whether both losses are finite; training cannot recover once one is not."""
        return math.isfinite(self.metrics["loss"]) and math.isfinite(self.metrics["val_loss"])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that training needs to resume.

    Attributes:
        weights: The network's, float32, in the order of its Keras model: of a dense layer the kernel (n_in, n_out)
            and the bias (n_out,).
        state: The averages of the weights, where the configuration has them, and then the optimizer's state: the order
            of Keras's optimizer of that name.
        steps: Number of steps so far.
        epochs: Number of epochs so far.
    """

    weights: tuple[np.ndarray, ...]
    state: tuple[np.ndarray, ...] = ()
    steps: int = 0
    epochs: int = 0


EMPTY_SHA256 = hashlib.sha256().hexdigest()
"""Hash of no content, which earlier versions recorded for a training without a model."""


def sha256(content: bytes) -> str:
    """Returns the hash that identifies a model file, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def require_sha256(content: bytes, recorded_sha256: str, place: str) -> None:
    """Checks that a file has the recorded hash.

    Raises:
        InputError: It has another; the message names the file ``place``.
    """
    found = sha256(content)
    if found != recorded_sha256:
        raise InputError(
            f"{place}: sha256 must be the recorded {recorded_sha256[:12]}…, got {found[:12]}…: the file was changed"
            " after it was saved: restore it or train again"
        )
