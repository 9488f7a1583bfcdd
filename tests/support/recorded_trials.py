"""Studies whose trials were recorded, not trained."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.storage.attributes import ELAPSED, RESULT

DISTRIBUTIONS = {
    "width": IntDistribution(16, 512, log=True),
    "depth": IntDistribution(1, 3),
    "dropout": FloatDistribution(0.0, 0.5),
    "optimizer": CategoricalDistribution(("adam", "rmsprop", "sgd")),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "batch_size": CategoricalDistribution((32, 64, 128)),
}
BEGIN = datetime(2026, 1, 1, 9)


def record(n_trials: int, n_complete: int, *, seed: int = 0, slots: int = 2, epochs: int = 8) -> optuna.Study:
    """A study in memory whose first trials are complete and whose others were pruned after two epochs."""
    random = np.random.default_rng(seed)
    study = optuna.create_study(study_name="recorded", direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    free = [0.0] * slots
    for number in range(n_trials):
        state = TrialState.COMPLETE if number < n_complete else TrialState.PRUNED
        slot = number % slots
        n_epochs = epochs if state == TrialState.COMPLETE else 2
        begin = BEGIN + timedelta(seconds=free[slot])
        free[slot] += n_epochs + 1.0
        study.add_trial(trial_of(state, random, n_epochs, slot, begin))
    study.set_user_attr(ELAPSED, max(free) if n_trials else 0.0)
    return study


def trial_of(
    state: TrialState, random: np.random.Generator, n_epochs: int, slot: int, begin: datetime, device: str = ""
) -> FrozenTrial:
    """A trial of so many seconds and epochs."""
    level = 0.8 + 0.15 * random.random()
    values = {epoch: level - 0.3 / epoch for epoch in range(1, n_epochs + 1)}
    params = {
        "width": int(random.integers(16, 513)),
        "depth": int(random.integers(1, 4)),
        "dropout": float(random.random() / 2),
        "optimizer": str(random.choice(["adam", "rmsprop", "sgd"])),
        "learning_rate": float(10 ** random.uniform(-4, -1)),
        "batch_size": int(random.choice([32, 64, 128])),
    }
    result = {"params": params, "best_val_accuracy": max(values.values()), "best_epoch": n_epochs,
              "epochs_trained": n_epochs, "duration_s": float(n_epochs), "device": device or f"cpu:{slot}"}  # fmt: skip
    trial = create_trial(
        state=state, value=max(values.values()) if state == TrialState.COMPLETE else None, params=params,
        distributions=DISTRIBUTIONS, intermediate_values=values, user_attrs={RESULT: result},
    )  # fmt: skip
    trial.datetime_start, trial.datetime_complete = begin, begin + timedelta(seconds=n_epochs)
    return trial
