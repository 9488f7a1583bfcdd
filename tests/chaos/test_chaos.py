"""``kill -9`` at named points and at any moment, the same command again, and what must hold, seen from outside.

The short form runs with every other test; ``make chaos`` runs the long one: ten studies and sixty kills a back end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign import Campaign, Tally
from invariants import Study, facts

import search

BACKENDS = ["sqlite", "postgresql"]
N_STUDIES, KILLS = 10, 6
Begin = Callable[..., Campaign]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """Where both databases are: with each home, or one of each kind on a server for all studies."""
    if request.param == "sqlite":
        return "sqlite", {}
    make: Callable[[str], str] = request.getfixturevalue("postgres")
    driver = "postgresql+psycopg2"
    places = {"OPTUNA_STORAGE": "chaos-optuna", "MLFLOW_TRACKING_URI": "chaos-mlflow"}
    return request.param, {name: make(base).replace("postgresql", driver, 1) for name, base in places.items()}


@pytest.fixture
def begin(
    backend: tuple[str, dict[str, str]], tmp_path: Path, tallies: dict[str, Tally], request: pytest.FixtureRequest
) -> Begin:
    """Makes a campaign against a study of its own; what it did goes into the summary."""
    name, environ = backend

    def make(seed: int, **options: Any) -> Campaign:
        home = tmp_path / "home"
        storage = environ.get("OPTUNA_STORAGE", f"sqlite:///{home}/optuna.db")
        tracking = environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        study = Study(f"chaos-{request.node.originalname.rpartition('_')[2]}-{seed}", home, storage, tracking)
        campaign = Campaign(study, tmp_path, seed, environ=environ, beat_s=1 if environ else 0, **options)
        request.addfinalizer(lambda: tallies.setdefault(name, Tally()).__iadd__(campaign.tally))
        return campaign

    return make


def reference(campaign: Campaign, folder: Path) -> list[Any]:
    """What the same study comes to that was never killed."""
    from search.spec import read_spec

    name, home = campaign.study.name, folder / "undisturbed"
    search.run_study(read_spec(campaign.file), home=home)
    undisturbed = Study(name, home, f"sqlite:///{home}/optuna.db", f"sqlite:///{home}/mlflow.db")
    return [facts(trial) for trial in undisturbed.trials()]


def test_a_few_deaths(begin: Begin, backend: tuple[str, Any], tmp_path: Path) -> None:
    """The short form."""
    campaign = begin(seed=3, slots=1, budget=4, pruner="none")
    campaign.search(kills=3 if backend[0] == "sqlite" else 2)
    assert [facts(trial) for trial in campaign.study.trials()] == reference(campaign, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(N_STUDIES))
def test_many_deaths(begin: Begin, backend: tuple[str, Any], tmp_path: Path, seed: int) -> None:
    """Every second study has one worker, and then equals one that was never killed."""
    # ASHA's lost verdicts can be given again behind the lock of an embedded database only.
    campaign = begin(seed=seed, slots=1 + seed % 2, pruner="asha" if backend[0] == "sqlite" or seed % 2 else "none")
    campaign.search(KILLS)
    if campaign.slots == 1:
        assert [facts(trial) for trial in campaign.study.trials()] == reference(campaign, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_a_champion_in_spite_of_deaths(begin: Begin, seed: int) -> None:
    begin(seed=seed, slots=2, budget=4, pruner="none").crown()
