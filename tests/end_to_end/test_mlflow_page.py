"""MLflow's page on a home, in a real browser: what people see who compare trials there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Locator, Page, expect
from ports import free_port
from ready_home import copy_home
from waiting import PATIENCE_S

from search.finals import run_finalists
from search.finals.sealed_test import evaluate
from search.operations.ui import Server, serving
from search.registry.promotion import promote
from search.reporting.summaries import explain_trial
from search.scheduling.run_study import run_study
from search.spec.reading import spec_from_dict
from search.tracking import experiment_view
from search.tracking.experiment_view import (
    BEST_VIEW,
    FINALISTS_VIEW,
    study_link,
)

N_TRIALS = 12
STUDY = {
    "study": {"name": "letters", "trials": N_TRIALS, "seed": 3},
    "data": {"source": "digits", "folds": 1},
    "space": {
        "width": {"low": 16, "high": 64}, "depth": [1, 2], "dropout": 0.1, "optimizer": ["adam", "rmsprop"],
        "learning_rate": {"low": 1e-4, "high": 0.05, "log": True}, "schedule": "constant", "epochs": 9,
        "batch_size": 64,
    },
    "search": {"sampler": "random", "pruner": "asha"},
    "workers": {"slots": 1},  # with one, the same trials are pruned each time
}  # fmt: skip
N_AXES = 5
"""Of the parallel coordinates: what is searched, and the objective."""
TRAINING = 'a[href="#/models"], a[href^="#/models?"]'
"""The registry's link in MLflow's menu, which its pages on agents lack."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, houses: Path) -> Path:
    """A study that was searched, with finalists, evaluated and promoted, beside an earlier one, a regression."""
    home = copy_home(houses, tmp_path_factory.mktemp("page") / "home")
    states = {row.state for row in run_study(spec_from_dict(STUDY), home=home).rows}
    assert states == {"COMPLETE", "PRUNED"}
    run_finalists("letters", top=2, seeds=2, home=home)
    evaluate("letters", home=home)
    assert promote("letters", home=home).promoted
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home / 'mlflow.db'}")


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> dict[str, Run]:
    """The study's runs by name."""
    experiment = client.get_experiment_by_name("letters")
    assert experiment
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(home, "127.0.0.1", free_port()) as server:
        yield server


@pytest.fixture
def page(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A browser with a fresh profile; what it shows in the end is kept as a picture in the test's folder."""
    window = chromium.new_page(viewport={"width": 1440, "height": 900})
    window.set_default_timeout(1000 * PATIENCE_S)
    expect.set_options(timeout=1000 * PATIENCE_S)
    yield window
    window.screenshot(path=tmp_path / f"{request.node.name}.png")
    window.close()


def cells(page: Page, column: str, count: int) -> list[str]:
    """What a column of the table of runs shows, from top to bottom."""
    found = page.locator(f'.ag-center-cols-container [role="gridcell"][col-id="{column}"]')
    expect(found).to_have_count(count)
    return found.all_inner_texts()


def chart(page: Page, title: str, number: int = 0) -> Locator:
    """The chart whose text begins with its title, one of several."""
    cards = page.locator('[data-testid="experiment-view-compare-runs-card"]')
    return cards.filter(has_text=re.compile(f"^{title}")).nth(number)


DRAWN = """card => {
  const canvas = card.querySelector("canvas.foreground");
  const pixels = canvas ? canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data : [];
  return pixels.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""
"""Pixels of the lines of parallel coordinates."""


def values_at(page: Page, card: Locator) -> list[float]:
    """The labels of a chart's vertical axis."""
    texts = card.locator(".yaxislayer-above text")
    expect(texts.first).to_be_attached()
    return [float(text) for text in texts.all_text_contents()]


def experiment_of(runs: dict[str, Run]) -> str:
    return str(next(iter(runs.values())).info.experiment_id)


def test_the_first_address_is_the_trials_with_their_state_in_sight_on_a_fresh_profile(
    page: Page, server: Server
) -> None:
    assert list(server.studies()) == ["letters", "houses"]
    page.goto(next(iter(server.studies().values())))
    expect(page.get_by_text(f"{N_TRIALS} matching runs")).to_be_visible()
    states = cells(page, "tags.`trial.state`", N_TRIALS)
    assert set(states) == {"COMPLETE", "PRUNED"}
    header = page.get_by_role("columnheader").filter(has_text=re.compile(r"^trial\.state$"))
    box = header.bounding_box()
    assert box
    assert box["x"] + box["width"] <= 900, "the state must be among the first columns"
    best = page.get_by_role("columnheader").filter(has_text=re.compile("^best_val_accuracy$"))
    expect(best).to_be_in_viewport()
    accuracies = [float(text) for text in cells(page, "metrics.`best_val_accuracy`", N_TRIALS)]
    assert accuracies == sorted(accuracies, reverse=True)
    expect(page.locator(TRAINING).first).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_have_count(0)  # of the assistant


def test_the_prepared_charts_show_every_trial(page: Page, server: Server, runs: dict[str, Run]) -> None:
    page.goto(study_link(server.url, experiment_of(runs)) + "&compareRunsMode=CHART")
    trials = [run for name, run in runs.items() if name.startswith("trial-")]
    epochs = chart(page, "val_accuracy")
    best = chart(page, "val_accuracy", 1)
    assert len(trials) == N_TRIALS
    expect(epochs.locator(".js-plotly-plot .scatterlayer .trace path.js-line").nth(N_TRIALS - 1)).to_be_attached()
    expect(best.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first).to_be_attached()
    expect(best).to_be_in_viewport()
    accuracies = sorted((run.data.metrics["best_val_accuracy"] for run in trials), reverse=True)
    low, *_, high = values_at(page, best)
    assert low > min(values_at(page, epochs))
    assert high - low < 4 * (accuracies[0] - accuracies[2]) or accuracies[0] == accuracies[2]
    axes = chart(page, "Parallel Coordinates")
    axes.scroll_into_view_if_needed()
    expect(axes.get_by_text("learning_rate").first).to_be_visible()
    page.wait_for_function(f"card => ({DRAWN})(card) > 1000", arg=axes.element_handle())
    ends = axes.bounding_box()
    titles = [box for text in axes.locator("svg .label").all() if (box := text.bounding_box())]
    assert len(titles) == N_AXES
    assert ends
    assert all(ends["x"] <= box["x"] and box["x"] + box["width"] <= ends["x"] + ends["width"] for box in titles)
    bars = chart(page, "best_val_accuracy")
    axes.hover()
    page.mouse.wheel(0, 600)  # the page makes a card when it comes near
    expect(bars.locator(".js-plotly-plot .barlayer .point")).to_have_count(N_TRIALS)


def test_every_address_of_the_server_opens_on_trials(page: Page, server: Server) -> None:
    opened = {"letters": N_TRIALS, "houses": 1}
    for name, address in server.studies().items():
        page.goto("about:blank")
        page.goto(address)
        expect(page.get_by_text(re.compile(f"^{opened[name]} matching run"))).to_be_visible()
    page.goto("about:blank")
    page.goto(server.url)  # the study that changed last
    expect(page.get_by_text(f"{N_TRIALS} matching runs")).to_be_visible()
    expect(page.get_by_role("columnheader").filter(has_text=re.compile(r"^trial\.state$")).first).to_be_visible()


def test_the_best_ones_have_their_curves_and_the_finalists_a_view(
    page: Page, server: Server, runs: dict[str, Run]
) -> None:
    experiment = experiment_of(runs)
    page.goto(study_link(server.url, experiment, BEST_VIEW) + "&compareRunsMode=CHART")
    losses = chart(page, "loss vs val_loss")
    expect(losses.locator(".js-plotly-plot .scatterlayer .trace path.js-line").nth(10)).to_be_attached()
    page.goto(study_link(server.url, experiment, FINALISTS_VIEW))
    roles = [run.data.tags["role"] for name, run in runs.items() if not name.startswith("trial-")]
    expect(page.get_by_text(f"{len(roles)} matching runs")).to_be_visible()
    assert sorted(cells(page, "tags.`role`", len(roles))) == sorted(roles)


def test_every_other_page_opens_on_model_training(page: Page, server: Server, runs: dict[str, Run], home: Path) -> None:
    trial = runs["trial-0003"].info
    page.goto(f"{server.url}/#/experiments/{trial.experiment_id}/runs/{trial.run_id}?{experiment_view.TRAINING}")
    expect(page.get_by_text(explain_trial("letters", 3, home=home).text)).to_be_visible()
    expect(page.locator(TRAINING).first).to_be_visible()
    page.goto(experiment_view.models_link(server.url))
    expect(page.get_by_role("link", name="letters").first).to_be_visible()
    expect(page.locator(TRAINING).first).to_be_visible()
    other = runs["trial-0004"].info
    ids = f'["{trial.run_id}","{other.run_id}"]'
    page.goto(f'{server.url}/#/compare-runs?runs={ids}&experiments=["{trial.experiment_id}"]')
    expect(page.get_by_text(trial.run_name).first).to_be_visible()
    expect(page.get_by_text("Parallel Coordinates Plot").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .parcoords").first).to_be_attached()
    expect(page.locator(TRAINING).first).to_be_visible()


def test_the_champions_version_shows_its_card_its_picture_its_tags_and_its_alias(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#/models/letters/versions/1?{experiment_view.TRAINING}")
    expect(page.get_by_text("@ champion")).to_be_visible()
    expect(page.get_by_text("an MLP found by search")).to_be_visible()
    expect(page.get_by_text(re.compile(r"0\.\d{4} \(95% interval"))).to_be_visible()
    show_picture(page, "confusion_matrix.png")
    expect(page.get_by_text("mlflow.pyfunc.load_model")).to_be_attached()
    for tag in ("fingerprint", "test_accuracy", "model_sha256"):
        expect(page.get_by_role("cell", name=tag, exact=True).first).to_be_attached()


def test_the_version_of_a_regression_shows_its_residuals(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#/models/houses/versions/1?{experiment_view.TRAINING}")
    expect(page.get_by_text("one number a row, in the unit of the column price")).to_be_visible()
    show_picture(page, "residuals.png")


def show_picture(page: Page, name: str) -> None:
    """Waits until the page has drawn a picture."""
    picture = page.locator(f'img[src*="{name}"]')
    picture.scroll_into_view_if_needed()
    page.wait_for_function("picture => picture.complete && picture.naturalWidth > 200", arg=picture.element_handle())
