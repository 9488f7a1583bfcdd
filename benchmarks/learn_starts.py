"""Learns which configurations a study should try first: greedily, so that each dataset has one that suits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from recorded import SHAPE, Curves, Table, configuration_at, hpobench

from pipelines.config import Hyperparameters
from search.spec.defaults import DEFAULT_STUDY
from search.spec.reading import TABLE_START
from search.spec.schema import parse
from search.spec.space import SearchSpace
from search.spec.study_spec import SMALL_STARTS


def greedy(regrets: np.ndarray, n: int) -> list[int]:
    """Chooses configurations one by one, each so that the mean regret of the best one of each dataset falls most.

    Args:
        regrets: (n_datasets, n_configurations) how much worse each is than the best of its dataset.
        n: How many.

    Returns:
        Their places, the first one the best alone.
    """
    chosen: list[int] = []
    reached = np.full(len(regrets), np.inf)
    for _ in range(n):
        after = np.minimum(regrets, reached[:, None]).mean(axis=0)
        chosen.append(int(after.argmin()))
        reached = np.minimum(reached, regrets[:, chosen[-1]])
    return chosen


def learned_from(tables: Sequence[Table], n: int) -> list[Hyperparameters]:
    """The first configurations that tables of HPOBench recommend for another one."""
    means = np.stack([table.means.ravel() for table in tables])
    chosen = greedy(means.max(axis=1, keepdims=True) - means, n)
    return [configuration_at(np.unravel_index(place, SHAPE)) for place in chosen]  # type: ignore[arg-type]


def learned_from_curves(others: Sequence[Curves], n: int, n_candidates: int = 256) -> list[Hyperparameters]:
    """The first configurations that datasets of LCBench recommend for another one, of random candidates."""
    space = SearchSpace(parse({"space": dict(others[0].space)})[0]["space"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    candidates = [space.suggest(study.ask()) for _ in range(n_candidates)]
    values = np.stack([other.surrogate.last_accuracies(other.name, candidates) for other in others])
    return [candidates[place] for place in greedy(values.max(axis=1, keepdims=True) - values, n)]


def known_configurations() -> list[dict[str, Any]]:
    """Configurations that earlier versions began with, and those that recorded trainings of others recommend."""
    starts = [*DEFAULT_STUDY["start"], TABLE_START.to_json(), *(start.to_json() for start in SMALL_STARTS)]
    tables = [_as_ours(configuration) for configuration in learned_from(hpobench(), 8)]
    return [*starts, *tables]


def _as_ours(configuration: Hyperparameters) -> dict[str, Any]:
    """A configuration of HPOBench in the default space: it has 243 epochs of a constant rate there."""
    size = min((32, 64, 128, 256), key=lambda size: abs(np.log(size / configuration.batch_size)))
    return {
        "width": max(32, configuration.width),
        "depth": configuration.depth,
        "dropout": 0.0,
        "optimizer": "adam",
        "learning_rate": float(f"{min(0.1, max(1e-4, configuration.learning_rate)):.2g}"),
        "schedule": "cosine",
        "epochs": 40,
        "batch_size": size,
    }
