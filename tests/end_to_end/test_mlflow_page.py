"""MLflow's page on a home, in a real browser: what people see who compare trials there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Page, expect
from ports import free_port
from waiting import PATIENCE_S

from search.finals.sealed_test import evaluate
from search.operations.ui import Server, serving
from search.registry.promotion import promote
from search.scheduling.run_study import run_study
from search.spec.reading import spec_from_dict

N_TRIALS = 12
STUDY = {
    "study": {"name": "letters", "trials": N_TRIALS, "seed": 3},
    "data": {"source": "digits", "folds": 1},
    "space": {
        "width": {"low": 16, "high": 64}, "depth": [1, 2], "dropout": 0.1, "optimizer": ["adam", "rmsprop"],
        "learning_rate": 0.005, "schedule": "constant", "epochs": 3, "batch_size": 64,
    },
    "search": {"sampler": "random", "pruner": "none"},
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched, evaluated and promoted study."""
    home = tmp_path_factory.mktemp("page") / "home"
    assert run_study(spec_from_dict(STUDY), home=home).best
    evaluate("letters", home=home)
    assert promote("letters", home=home).promoted
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    port = free_port()
    with serving(home, "127.0.0.1", port) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A fresh browser window; what it shows in the end is kept as a picture in the test's folder."""
    window = chromium.new_page(viewport={"width": 2700, "height": 1600})
    window.set_default_timeout(1000 * PATIENCE_S)
    expect.set_options(timeout=1000 * PATIENCE_S)
    yield window
    window.screenshot(path=tmp_path / f"{request.node.name}.png")
    window.close()


def cells(page: Page, column: str) -> list[str]:
    """What a column of the table of runs shows, from top to bottom."""
    found = page.locator(f'.ag-center-cols-container [role="gridcell"][col-id="{column}"]')
    expect(found).to_have_count(N_TRIALS)
    return found.all_inner_texts()


def test_a_study_opens_on_its_trials_the_best_first_with_the_columns_people_compare(page: Page, server: Server) -> None:
    page.goto(server.studies()["letters"])
    for header in ("Duration", "trial.state", "best_val_accuracy", "width", "learning_rate", "batch_size"):
        expect(page.get_by_role("columnheader").filter(has_text=re.compile(f"^{re.escape(header)}$"))).to_be_attached()
    expect(page.get_by_text(f"{N_TRIALS} matching runs")).to_be_visible()
    assert cells(page, "tags.`trial.state`") == ["COMPLETE"] * N_TRIALS
    accuracies = [float(text) for text in cells(page, "metrics.`best_val_accuracy`")]
    assert accuracies == sorted(accuracies, reverse=True)
    expect(page.get_by_text("digits").first).to_be_visible()


def test_every_trial_charts_at_once(page: Page, server: Server) -> None:
    page.goto(server.studies()["letters"] + "&compareRunsMode=CHART")
    card = page.locator('[data-testid="experiment-view-compare-runs-card"]').filter(has_text="best_val_accuracy")
    expect(card.locator(".js-plotly-plot .barlayer .point")).to_have_count(N_TRIALS)


def test_two_trials_compare_side_by_side_with_parallel_coordinates(page: Page, server: Server, home: Path) -> None:
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("letters")
    first, second = (run.info for run in client.search_runs([experiment.experiment_id])[:2])
    runs = f'["{first.run_id}","{second.run_id}"]'
    page.goto(f'{server.url}/#/compare-runs?runs={runs}&experiments=["{experiment.experiment_id}"]')
    expect(page.get_by_text(first.run_name).first).to_be_visible()
    expect(page.get_by_text("Parallel Coordinates Plot").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .parcoords").first).to_be_attached()


def test_the_champions_version_shows_its_card_its_tags_and_its_alias(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#/models/letters/versions/1")
    expect(page.get_by_text("@ champion")).to_be_visible()
    expect(page.get_by_text("an MLP found by search")).to_be_visible()
    expect(page.get_by_text(re.compile(r"0\.\d{4} \(95% interval"))).to_be_visible()
    for tag in ("fingerprint", "test_accuracy", "model_sha256"):
        expect(page.get_by_role("cell", name=tag, exact=True).first).to_be_attached()
