"""Learns which configurations a study should try first: greedily, so that each dataset has one that suits it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from recorded import SHAPE, Curves, Table, cell, configuration_at, hpobench, lcbench

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.loading import load
from pipelines.objectives import OBJECTIVES
from search.devices.work import Shape
from search.spec.defaults import STARTS
from search.spec.schema import parse
from search.spec.space import SearchSpace

N_KNOWN = 2
"""Starts that were measured on real tables one by one (docs/adr/0012), which come first."""
_NO_DECAY = 1e-6
_RESULTS = Path(__file__).resolve().parent / "results"


def greedy(regrets: np.ndarray, n: int, first: Sequence[int] = ()) -> list[int]:
    """Chooses configurations one by one, each so that the mean regret of the best one of each dataset falls most.

    Args:
        regrets: (n_datasets, n_configurations) how much worse each is than the best of its dataset.
        n: How many.
        first: Places of those that come first in any case.

    Returns:
        Their places.
    """
    chosen = list(first)
    reached = regrets[:, chosen].min(axis=1, initial=np.inf)
    for _ in range(n - len(chosen)):
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
    return {kind: [Hyperparameters(**start) for start in starts] for kind, starts in STARTS.items()}


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


def recorded_regrets(path: Path) -> tuple[list[Hyperparameters], list[str], np.ndarray]:
    """Configurations that were trained on every source, the sources, and (n_sources, n_configurations) regrets."""
    sources = json.loads(path.read_text())["sources"]
    values = {
        name: {Hyperparameters(**training["params"]): training["value"] for training in found["trainings"]}
        for name, found in sources.items()
    }
    shared = [hp for hp in next(iter(values.values())) if all(hp in of_source for of_source in values.values())]
    gains = [[OBJECTIVES[sources[name]["objective"]].gain(of[hp]) for hp in shared] for name, of in values.items()]
    found = np.array(gains)
    return shared, list(values), found.max(axis=1, keepdims=True) - found


def scaled(regrets: np.ndarray) -> np.ndarray:
    """Regrets as shares of that of the middle configuration: accuracies and errors count alike."""
    return np.asarray(regrets / np.median(regrets, axis=1, keepdims=True))


@dataclass(frozen=True)
class Evidence:
    """The recorded results of some configurations.

    Attributes:
        configurations: The configurations.
        groups: Scaled regrets (n_datasets, n_configurations) of each group of datasets.
        shares: The weight of each group.
    """

    configurations: list[Hyperparameters]
    groups: dict[str, np.ndarray]
    shares: dict[str, float]

    def choose(self, n: int, first: Sequence[int] = (), left_out: tuple[str, int] | None = None) -> list[int]:
        """The places of the starts, learned from all datasets but one."""
        kept = {
            name: np.delete(rows, left_out[1], axis=0) if left_out and left_out[0] == name else rows
            for name, rows in self.groups.items()
        }
        weighted = [rows * self.shares[name] / len(rows) for name, rows in kept.items() if len(rows)]
        return greedy(np.concatenate(weighted), n, first)


def gather(path: Path) -> Evidence:
    """Our own trainings count half, those of HPOBench and LCBench a quarter each.

    No configuration is dearer on the digits than the known starts, as each is trained to its end.
    """
    found, _, every = recorded_regrets(path)
    digits = Shape.of(load(DataConfig("digits")))
    most_s = max(digits.nominal_s(hp) for hp in known_starts()["few_rows"][:N_KNOWN])
    kept = [place for place, hp in enumerate(found) if digits.nominal_s(hp) <= most_s]
    configurations, own = [found[place] for place in kept], every[:, kept]
    groups = {"recorded": own, "HPOBench": regrets_on_tables(hpobench(), configurations)}
    groups["LCBench"] = regrets_on_curves(lcbench(), configurations)
    shares = {"recorded": 0.5, "HPOBench": 0.25, "LCBench": 0.25}
    return Evidence(configurations, {name: scaled(rows) for name, rows in groups.items()}, shares)


def compare(evidence: Evidence, known: Sequence[int], n: int) -> dict[str, dict[str, float]]:
    """Mean scaled regrets of the best start on datasets that were left out.

    Args:
        evidence: What is known.
        known: Places of today's starts.
        n: Starts in all.

    Returns:
        By group: today's alone, with random ones after them, with learned ones after them, and learned ones alone.
    """
    found = {}
    for name, rows in evidence.groups.items():
        best: dict[str, list[float]] = {
            "measured": [],
            "with a random one": [],
            "with a learned one": [],
            "learned only": [],
        }
        for i, row in enumerate(rows):
            best["measured"].append(row[known].min())
            drawn = [np.random.default_rng(seed).integers(len(row), size=n - len(known)) for seed in range(200)]
            best["with a random one"].append(float(np.mean([row[[*known, *more]].min() for more in drawn])))
            best["with a learned one"].append(row[evidence.choose(n, known, (name, i))].min())
            best["learned only"].append(row[evidence.choose(n, (), (name, i))].min())
        found[name] = {kind: float(np.mean(regrets)) for kind, regrets in best.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=Path, default=_RESULTS / "trainings.json", help="of record_trainings.py")
    parser.add_argument("--most", type=int, default=3)
    given = parser.parse_args()
    evidence = gather(given.trainings)
    known = [evidence.configurations.index(hp) for hp in known_starts()["few_rows"][:N_KNOWN]]
    print("# Mean regret of the best start on datasets that were left out; that of the middle configuration is 1.")
    for n in range(len(known), given.most + 1):
        for name, regrets in compare(evidence, known, n).items():
            figures = ", ".join(f"{kind} {value:.2f}" for kind, value in regrets.items())
            print(f"# {n} starts, {len(evidence.groups[name])} datasets of {name}: {figures}")
    for place in evidence.choose(given.most, known):
        print("\n[[few_rows]]")
        for name, value in evidence.configurations[place].to_json().items():
            print(f"{name} = {json.dumps(value)}")


if __name__ == "__main__":
    main()
