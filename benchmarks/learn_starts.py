"""Learns which configurations a study should try first: greedily, so that each dataset has one that suits it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from recorded import SHAPE, Curves, Table, cell, configuration_at, hpobench, lcbench

from pipelines.config import Hyperparameters
from search.spec.defaults import PRESETS
from search.spec.schema import parse
from search.spec.space import SearchSpace
from search.spec.study_spec import SMALL_STARTS

_NO_DECAY = 1e-6


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


def known_starts() -> dict[str, list[Hyperparameters]]:
    """Today's starts by the kind of source."""
    array, table = ([Hyperparameters(**start) for start in PRESETS["classic"][key]] for key in ("start", "table_start"))
    return {"array": array, "table": table, "small": list(SMALL_STARTS)}


def candidates(widest: int, n: int = 400) -> list[Hyperparameters]:
    """Random configurations of the default space, with Adam and a cosine schedule."""
    dimensions: dict[str, Any] = {
        "width": [width for width in (64, 128, 256, 512, 768, 1024) if width <= widest],
        "depth": [1, 2, 3, 4],
        "dropout": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
        "learning_rate": [0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01],
        "epochs": [40],
        "batch_size": [32, 64, 128, 256],
    }
    rng = np.random.default_rng(0)
    drawn = [{name: values[rng.integers(len(values))] for name, values in dimensions.items()} for _ in range(n)]
    return list(dict.fromkeys(Hyperparameters(optimizer="adam", schedule="cosine", **values) for values in drawn))


def regrets_on_tables(tables: Sequence[Table], configurations: Sequence[Hyperparameters]) -> np.ndarray:
    """(n_tables, n_configurations) points below the best of each table of HPOBench, without weight decay.

    Dropout, the schedule and the epochs are not part of it.
    """
    places = np.array([cell(replace(hp, weight_decay=_NO_DECAY)) for hp in configurations])
    values = np.stack([table.means[tuple(places.T)] for table in tables])
    return np.asarray(100 * (np.array([[table.means.max()] for table in tables]) - values))


def regrets_on_curves(others: Sequence[Curves], configurations: Sequence[Hyperparameters]) -> np.ndarray:
    """(n_datasets, n_configurations) points below the best of each dataset of LCBench.

    It has SGD, whose rates are no rates of Adam: each network counts with the best rate and decay for its shape.
    """
    rates = [(rate, decay) for rate in (0.003, 0.01, 0.03, 0.1) for decay in (1e-4, 1e-2)]
    every = [
        replace(hp, learning_rate=rate, weight_decay=decay, momentum=0.9)
        for hp in configurations
        for rate, decay in rates
    ]
    values = np.stack([other.surrogate.last_accuracies(other.name, every) for other in others])
    best = values.reshape(len(others), len(configurations), len(rates)).max(axis=2)
    return np.asarray(100 * (values.max(axis=1, keepdims=True) - best))


def of_both(on_tables: np.ndarray, on_curves: np.ndarray) -> np.ndarray:
    """Regrets on both, each benchmark with the same weight."""
    n = len(on_tables) + len(on_curves)
    return np.concatenate([on_tables * n / len(on_tables) / 2, on_curves * n / len(on_curves) / 2])


def without(rows: np.ndarray, place: int) -> np.ndarray:
    return np.delete(rows, place, axis=0)


def learn(kind: str, widest: int, n: int) -> tuple[list[Hyperparameters], dict[str, float]]:
    """The starts of a kind of source; and mean regrets of as many as today's on datasets that were left out."""
    known, pool = known_starts()[kind], candidates(widest)
    every = [*known, *pool]
    on_tables, on_curves = regrets_on_tables(hpobench(), every), regrets_on_curves(lcbench(), every)
    of_pool, of_known = slice(len(known), None), slice(0, len(known))
    figures: dict[str, float] = {}
    for name, rows, other in (("HPOBench", on_tables, on_curves), ("LCBench", on_curves, on_tables)):
        today, learned = [], []
        for place, row in enumerate(rows):
            left = without(rows, place)[:, of_pool], other[:, of_pool]
            chosen = greedy(of_both(*left), len(known))
            today.append(row[of_known].min())
            learned.append(row[of_pool][chosen].min())
        figures |= {f"{name}, today's {len(known)}": float(np.mean(today))}
        figures |= {f"{name}, {len(known)} learned": float(np.mean(learned))}
    chosen = greedy(of_both(on_tables[:, of_pool], on_curves[:, of_pool]), n)
    return [pool[place] for place in chosen], figures


def main() -> None:
    for kind, widest in (("array", 1024), ("table", 512), ("small", 256)):
        found, figures = learn(kind, widest, 8)
        print(kind, {name: round(value, 3) for name, value in figures.items()})
        for hp in found:
            print("   ", hp.to_json())


if __name__ == "__main__":
    main()
