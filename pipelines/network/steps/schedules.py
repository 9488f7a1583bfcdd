"""Learning rates of a training, step by step."""

from __future__ import annotations

import numpy as np

from pipelines.config import Hyperparameters

ONECYCLE_RISE = 0.3
"""Share of the steps of ``onecycle`` in which the rate rises, where no warm-up is given."""
ONECYCLE_START = 1 / 25
"""Rate of the first step of ``onecycle``, of the highest one."""


def learning_rates(hp: Hyperparameters, n_rows: int, epoch: int) -> np.ndarray:
    """Returns the learning rate of each step of an epoch.

    With ``d`` the share of the trial's steps that are done before a step, ``w`` the warm-up and ``r`` the rate:

    - ``constant``: ``r``; ``cosine``: ``r (1 + cos(pi e)) / 2`` with ``e = (d - w) / (1 - w)``. Both rise in a straight
      line from 0 to ``r`` while ``d < w``: Keras's ``CosineDecay`` with ``warmup_target``.
    - ``onecycle``: from ``r / 25`` to ``r`` along a cosine while ``d < w``, with 0.3 where no warm-up is given, then as
      ``cosine``. It is PyTorch's ``OneCycleLR``, which ends at 1/250,000 of ``r`` and not at 0. Source: L. Smith, N.
      Topin, "Super-convergence" (2018).

    Args:
        hp: The configuration: rate, schedule, warm-up, batch size, and the epochs that a decay spans.
        n_rows: Number of training rows.
        epoch: Counted from 0.

    Returns:
        (n_steps,) float32.
    """
    n_steps = -(-n_rows // hp.batch_size)
    warmup = hp.warmup or (ONECYCLE_RISE if hp.schedule == "onecycle" else 0.0)
    if hp.schedule == "constant" and not warmup:
        return np.full(n_steps, hp.learning_rate, np.float32)
    done = (epoch * n_steps + np.arange(n_steps)) / (hp.epochs * n_steps)
    if not warmup:
        return (hp.learning_rate * 0.5 * (1 + np.cos(np.pi * done))).astype(np.float32)
    falls = np.maximum(done - warmup, 0) / (1 - warmup)
    top = np.ones(n_steps) if hp.schedule == "constant" else 0.5 * (1 + np.cos(np.pi * falls))
    rises = np.minimum(done / warmup, 1)
    if hp.schedule == "onecycle":
        rises = ONECYCLE_START + (1 - ONECYCLE_START) * 0.5 * (1 - np.cos(np.pi * rises))
    return (hp.learning_rate * np.where(done < warmup, rises, top)).astype(np.float32)
