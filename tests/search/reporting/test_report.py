"""The report in a real browser without a network: everything is there, nothing is read as markup, no error appears."""

from __future__ import annotations

import copy
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from command_line import call
from finished import run_small
from optuna.trial import TrialState
from recorded_trials import record

from search.finals.finals import run_finalists
from search.finals.sealed_test import evaluate
from search.home.settings import prepare_home, read_settings
from search.optimization.pruners import make_pruner
from search.optimization.studies import open_study
from search.registry.promotion import promote
from search.reporting.charts import CHARTS
from search.reporting.report import render, write_report
from search.spec.reading import spec_from_dict
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED, FACTS, PRUNED_AT, RESULT, SPEC

HOSTILE = "<script>alert(1)<'&\"{{ 7 * 7 }} <img src=x onerror=alert(2)>"
MACHINE = {"system": "Linux x86_64, Python 3.11", "cores": 2, "memory_mb": 8000, "devices": ["cpu:0", "cpu:1"]}
DATA = {"name": HOSTILE, "training_rows": 48000, "validation_rows": 12000, "features": 784, "classes": 10}


def recorded(home: Path, name: str, n_trials: int) -> StudySpec:
    """A study whose trials were recorded, not trained: random accuracies, pruned by the study's pruner."""
    settings = read_settings(home, {})
    prepare_home(settings)
    spec = spec_from_dict({"study": {"name": name, "trials": n_trials}, "data": {"source": "digits"}})
    study, random = open_study(settings, spec, "f00d"), np.random.default_rng(0)
    study.sampler, study.pruner = optuna.samplers.RandomSampler(0), make_pruner(spec)
    for number in range(n_trials):
        trial = study.ask()
        hp, level, pruned_at = spec.space.suggest(trial), 0.9 + 0.08 * random.random(), 0
        for epoch in range(1, hp.epochs + 1):
            trial.report(level - 0.2 / epoch, epoch)
            if epoch < hp.epochs and trial.should_prune():
                pruned_at = epoch
                break
        audited = bool(pruned_at) and number % 20 == 7
        complete = audited or not pruned_at
        result: dict[str, Any] = {
            "params": {name: getattr(hp, name) for name in hp.__dataclass_fields__},
            "best_val_accuracy": level - 0.2 / hp.epochs, "best_epoch": epoch, "duration_s": 0.1 * epoch,
            "epochs_trained": hp.epochs if complete else epoch, "device": "cpu:0", "stop_reason": "finished",
            "model_sha256": "", "n_parameters": 10,
        }  # fmt: skip
        trial.set_user_attr(RESULT, result | ({PRUNED_AT: pruned_at} if audited else {}))
        state = optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.PRUNED
        study.tell(trial, result["best_val_accuracy"] if complete else None, state)
    study.set_user_attr(FACTS, {"dataset": DATA, "machine": MACHINE, "git_commit": ""})
    study.set_user_attr(ELAPSED, 100.0)
    return spec


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a study of 200 trials whose name contains markup."""
    home = tmp_path_factory.mktemp("report") / "home"
    recorded(home, HOSTILE, 200)
    return home


OVER_THE_EDGE = """() => {
  const found = [];
  for (const chart of document.querySelectorAll(".chart")) {
    const box = chart.getBoundingClientRect();
    if (box.left < 0 || box.right > innerWidth) found.push(chart.id);
    for (const text of chart.querySelectorAll("svg text")) {
      const own = text.getBoundingClientRect();
      if (!own.width || getComputedStyle(text).visibility === "hidden") continue;
      if (own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1)
        found.push(`${chart.id}: ${text.textContent}`);
    }
  }
  return found;
}"""


OVERLAPS = r"""() => {
  const found = [];
  const turn = (text) => Number((text.getAttribute("transform") || "").match(/rotate\((-?[\d.]+)/)?.[1] || 0);
  const areApart = (one, other) => {
    const a = one.getBoundingClientRect(), b = other.getBoundingClientRect(), angle = Math.abs(turn(one)) % 180;
    if (angle % 90) return Math.abs(a.right - b.right) * Math.sin(angle * Math.PI / 180) >= 9;  // slanting lines
    const beside = a.right <= b.left + 1 || b.right <= a.left + 1;
    return beside || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
  };
  const isShown = (text) => text.getBoundingClientRect().width && getComputedStyle(text).visibility !== "hidden";
  for (const chart of document.querySelectorAll(".chart")) {
    const layers = [...chart.querySelectorAll("[class*=axislayer], .parcoords .axis")];
    const axes = layers.map((layer) => layer.querySelectorAll("[class$=tick] > text, .tick > text"));
    axes.push(chart.querySelectorAll(".parcoords .axis-title"));
    for (const texts of axes.map((axis) => [...axis].filter(isShown)))
      texts.forEach((one, i) => texts.slice(i + 1).forEach((other) => {
        if (!areApart(one, other)) found.push(`${chart.id}: ${one.textContent} | ${other.textContent}`);
      }));
  }
  return found;
}"""


def rendered(study: optuna.Study, path: Path) -> Path:
    """The page of a study in memory."""
    study.set_user_attr(SPEC, spec_from_dict({"study": {"name": "recorded"}, "data": {"source": "digits"}}).to_json())
    path.write_text(render(study, read_settings(path.parent / "home", {})))
    return path


class Page:
    """A page opened offline, and its errors."""

    def __init__(self, chromium: Any, path: Path, width: int = 1280) -> None:
        self.errors: list[str] = []
        context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True)
        self.page = context.new_page()
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"asked for {request.url}"))
        self.page.on("dialog", lambda dialog: self.errors.append("a script ran"))
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("load")

    def cut(self) -> list[str]:
        """Texts of charts that reach beyond their chart, and charts that reach beyond the page."""
        found: list[str] = self.page.evaluate(OVER_THE_EDGE)
        return found

    def overlaps(self) -> list[str]:
        """Labels of one axis that are written over each other."""
        found: list[str] = self.page.evaluate(OVERLAPS)
        return found

    def text(self) -> str:
        return re.sub(r"\s+", " ", self.page.inner_text("body"))


def test_the_report_of_two_hundred_trials_is_small(large: Path, tmp_path: Path) -> None:
    path = write_report(HOSTILE, tmp_path / "report.html", home=large)
    assert path.stat().st_size < 3e6


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_offline_without_an_error(chromium: Any, large: Path, tmp_path: Path, width: int) -> None:
    page = Page(chromium, write_report(HOSTILE, tmp_path / "report.html", home=large), width)
    assert page.errors == []
    assert page.page.title().startswith(HOSTILE), "the name is text, not markup"
    assert page.page.inner_text("h1") == HOSTILE
    assert page.page.locator("img").count() == 0
    for chart in CHARTS:
        assert page.page.locator(f"#{chart} .main-svg").count() > 0, chart
    assert page.cut() == []
    assert page.overlaps() == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width, "only tables and figures scroll"
    assert "trained to the end, as an audit" in page.text()


@pytest.mark.parametrize("width", [1280, 390])
def test_few_complete_trials_get_every_chart(chromium: Any, tmp_path: Path, width: int) -> None:
    page = Page(chromium, rendered(record(28, 3), tmp_path / "few.html"), width)
    assert page.errors == []
    assert page.page.locator(".chart").count() == len(CHARTS) + 1, "all, and the learning curves of the best"
    assert page.cut() == []
    assert page.overlaps() == []
    assert page.page.locator("#all_curves .scatterlayer .trace").count() == 28
    close = {"yaxis.tickvals": [0.8, 0.801], "yaxis.ticktext": ["one", "other"]}
    page.page.evaluate("changes => Plotly.relayout('history', changes)", close)
    assert page.overlaps() == ["history: one | other"], "overlaps are found"
    page.page.get_by_label("trials to show").select_option(label="complete")
    page.page.wait_for_function("document.querySelectorAll('#all_curves .scatterlayer .trace').length === 3")


def test_few_trials_get_a_line_instead_of_a_chart(chromium: Any, tmp_path: Path) -> None:
    page = Page(chromium, rendered(record(2, 2), tmp_path / "two.html"))
    assert page.errors == []
    assert "Importances need 5 complete or pruned trials with a value; study recorded has 2 so far." in page.text()


def test_marks_of_the_leaderboard_are_explained(tmp_path: Path) -> None:
    study = record(2, 2)
    legend = "t ended by the timeout"
    assert legend not in rendered(study, tmp_path / "unmarked.html").read_text()
    cut = copy.deepcopy(study.trials[0])
    cut.user_attrs[RESULT]["stop_reason"] = "timeout"
    study.add_trial(cut)
    page = rendered(study, tmp_path / "marked.html").read_text()
    assert page.count("<td>complete</td><td>t</td>") == 1
    assert f'<p class="soft">{legend}</p>' in page


def test_the_time_of_failed_trials_counts(tmp_path: Path) -> None:
    study = record(2, 2)
    failed = copy.deepcopy(study.trials[0])
    failed.state, failed.values = TrialState.FAIL, None
    failed.user_attrs[RESULT] = {"params": failed.params, "device": "cpu:0", "message": "took longer than 90 s"}
    failed.datetime_start = failed.datetime_complete - timedelta(hours=30)
    study.add_trial(failed)
    assert "30:0" in rendered(study, tmp_path / "failed.html").read_text().split(" of training in all slots")[0][-40:]


def test_a_study_with_finalists_a_test_and_a_promotion(chromium: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run_small(home, "whole", trials=4, width={"low": 8, "high": 48})
    run_finalists("whole", top=2, seeds=2, home=home)
    tested = evaluate("whole", home=home)
    said = promote("whole", home=home)
    answer = call("report", "whole", "--output", tmp_path / "whole.html", "--home", home, "--json")
    assert answer.json() == {"path": str(tmp_path / "whole.html")}
    page = Page(chromium, tmp_path / "whole.html")
    assert page.errors == []
    text = page.text()
    assert f"{tested.evaluation.accuracy:.4f}" in text
    assert "The test was read once" in text
    assert said.reason in text
    assert "2 of 2" in text
    assert "Expected with a new seed: " in text
    assert page.page.locator("#curves .scatterlayer .trace").count() == 6, "two curves of each of the best three trials"
    for width in (1280, 390):
        page = Page(chromium, tmp_path / "whole.html", width)
        assert page.errors == []
        assert page.page.locator("#confusion .heatmaplayer .hm").count() == 1
        assert page.cut() == []
        assert page.overlaps() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_a_regression_shows_predictions_and_residuals(chromium: Any, houses: Path, tmp_path: Path, width: int) -> None:
    page = Page(chromium, write_report("houses", tmp_path / "houses.html", home=houses), width)
    assert page.errors == []
    for name in ("predicted", "residuals"):
        assert page.page.locator(f"#{name} .scatterlayer .trace").count() == 2
    assert page.cut() == []
    assert page.overlaps() == []


def test_a_study_with_one_trial(chromium: Any, tmp_path: Path) -> None:
    recorded(tmp_path / "home", "young", 1)
    page = Page(chromium, write_report("young", tmp_path / "young.html", home=tmp_path / "home"))
    assert page.errors == []
    assert "No finalists yet" in page.text()


def test_a_path_that_cannot_be_written(large: Path, tmp_path: Path) -> None:
    answer = call("report", HOSTILE, "--output", tmp_path / "nowhere" / "x.html", "--home", large)
    assert answer.code == 1
    assert "cannot be written" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_the_default_path_and_an_unknown_study(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(call("report", HOSTILE, "--home", large, "--json").json()["path"]) == tmp_path / f"{HOSTILE}.html"
    assert call("report", "nobody", "--home", large).code == 1


def test_a_path_in_the_home_of_an_unknown_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "home", "~nobody9", 1)
    path = call("report", "~nobody9", "--home", tmp_path / "home", "--json").json()["path"]
    assert path == str(tmp_path / "~nobody9.html")
    answer = call("report", "~nobody9", "--home", tmp_path / "home", "--output", "~nobody9/x.html")
    assert (answer.code, answer.err.count("\n")) == (1, 1)


def test_a_path_below_a_file(large: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = call("report", HOSTILE, "--output", tmp_path / "file" / "x.html", "--home", large)
    assert answer.code == 1
    assert answer.err.endswith("x.html: cannot be written (Not a directory); choose another\n")


def test_a_page_is_html(large: Path, tmp_path: Path) -> None:
    answer = call("report", HOSTILE, "--output", tmp_path / "page.pdf", "--home", large)
    assert answer.code == 1
    assert answer.err.endswith("page.pdf: must end in .html: choose such a name\n")
    assert not (tmp_path / "page.pdf").exists()
