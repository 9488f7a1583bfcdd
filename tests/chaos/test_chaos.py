"""``kill -9`` at named points and at random moments, the same command again, and checks from outside.

``make test`` runs the short form on SQLite; ``make chaos`` also runs it on the other back ends, and the long form: ten
studies and sixty kills a back end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from campaign import Campaign, Tally
from invariants import Study, facts
from nodes import Nodes

import search

BACKENDS = ["sqlite", *(pytest.param(name, marks=pytest.mark.chaos) for name in ("postgresql", "ray"))]
DRIVER = "postgresql+psycopg2"
N_STUDIES, KILLS = 10, 6
Begin = Callable[..., Campaign]


@dataclass(frozen=True)
class Backend:
    """The databases and the workers, as options of a campaign."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """SQLite files in each home, or one PostgreSQL server for all studies, or workers on a Ray cluster."""
    match request.param:
        case "postgresql":
            make: Callable[[str], str] = request.getfixturevalue("postgres")
            places = {"OPTUNA_STORAGE": "chaos-optuna", "MLFLOW_TRACKING_URI": "chaos-mlflow"}
            environ = {name: make(base).replace("postgresql", DRIVER, 1) for name, base in places.items()}
            yield Backend(request.param, {"environ": environ, "beat_s": 1})
        case "ray":
            nodes = Nodes(n_slots=1, n_head_slots=0)
            restore = functools.partial(nodes.keep, "node-a", "node-b")
            restore()
            environ, victims = {"RAY_ADDRESS": nodes.address}, ("search", "both", "worker", "node")
            yield Backend(
                request.param, {"environ": environ, "pool": "ray", "victims": victims, "restore": restore, "life_s": 30}
            )
            nodes.shutdown()
        case _:
            yield Backend(request.param)


@pytest.fixture
def begin(backend: Backend, tmp_path: Path, tallies: dict[str, Tally], request: pytest.FixtureRequest) -> Begin:
    """Makes a campaign with its own study; its counts go into the summary."""

    def make(seed: int, **options: Any) -> Campaign:
        home, environ = tmp_path / "home", backend.options.get("environ", {})
        storage = environ.get("OPTUNA_STORAGE", f"sqlite:///{home}/optuna.db")
        tracking = environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        study = Study(f"chaos-{request.node.originalname.rpartition('_')[2]}-{seed}", home, storage, tracking)
        campaign = Campaign(study, tmp_path, seed, **backend.options, **options)
        request.addfinalizer(lambda: tallies.setdefault(backend.name, Tally()).__iadd__(campaign.tally))
        return campaign

    return make


def reference(campaign: Campaign, folder: Path) -> list[Any]:
    """The trials of the same study without kills."""
    from search.spec.reading import read_spec

    name, home = campaign.study.name, folder / "undisturbed"
    search.run_study(read_spec(campaign.file), home=home)
    undisturbed = Study(name, home, f"sqlite:///{home}/optuna.db", f"sqlite:///{home}/mlflow.db")
    return [facts(trial) for trial in undisturbed.trials()]


def test_a_few_kills(begin: Begin, tmp_path: Path) -> None:
    campaign = begin(seed=0, slots=1, budget=4, pruner="none")  # this plan kills at two points, both reached
    campaign.search(kills=2)
    assert [facts(trial) for trial in campaign.study.trials()] == reference(campaign, tmp_path)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(N_STUDIES))
def test_many_kills(begin: Begin, backend: Backend, tmp_path: Path, seed: int) -> None:
    """Every second study has one worker and must equal one without kills."""
    # ASHA repeats a lost decision only under the lock of an embedded database.
    pruner = "none" if backend.name == "postgresql" and seed % 2 == 0 else "asha"
    campaign = begin(seed=seed, slots=1 + seed % 2, pruner=pruner)
    campaign.search(KILLS)
    if campaign.slots == 1:
        assert [facts(trial) for trial in campaign.study.trials()] == reference(campaign, tmp_path)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_a_champion_in_spite_of_kills(begin: Begin, seed: int) -> None:
    begin(seed=seed, slots=2, budget=4, pruner="none").crown()
