"""What training leaves behind: a report an epoch, files with their hashes, and where it can go on; no TensorFlow."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from pipelines.errors import InputError


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch came to.

    Attributes:
        epoch: From 1.
        loss: Mean training loss over the epoch's batches, with dropout, as Keras's ``fit`` gives it.
        accuracy: Training accuracy over the same batches, 0 to 1.
        val_loss: Mean loss over the validation rows after the epoch.
        val_accuracy: Accuracy over the validation rows after the epoch, 0 to 1.
        learning_rate: That of the epoch's first step.
        duration_s: Training and validation together, in seconds.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    duration_s: float

    @property
    def is_finite(self) -> bool:
        """Whether the loss is still a number; a configuration that lost it will not come back."""
        return math.isfinite(self.loss) and math.isfinite(self.val_loss)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that training goes on from.

    Attributes:
        weights: A kernel (n_in, n_out) and a bias (n_out,) for each layer, float32.
        state: What the optimizer keeps between steps, in the order of Keras's optimizer of that name.
        steps: Steps taken so far.
        epochs: Epochs trained so far.
    """

    weights: tuple[np.ndarray, ...]
    state: tuple[np.ndarray, ...] = ()
    steps: int = 0
    epochs: int = 0


def sha256(content: bytes) -> str:
    """The hash by which a model file is recorded and checked, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def require_sha256(content: bytes, recorded_sha256: str, place: str) -> None:
    """Looks whether a file is the one that was recorded.

    Raises:
        InputError: It is not; ``place`` is how the error calls it.
    """
    if (found := sha256(content)) != recorded_sha256:
        raise InputError(
            f"{place}: sha256 must be the recorded {recorded_sha256[:12]}…, got {found[:12]}…: the file was changed"
            " after it was saved, restore it or train again"
        )
