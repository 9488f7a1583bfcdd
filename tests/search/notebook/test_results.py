"""What Python gets of a study: tables, figures and models."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from finished import run_small

import search
from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.errors import InputError, NotFoundError, SpecError
from search.notebook.automatic import AutomaticResult


@pytest.fixture(scope="module")
def result(contenders: Path) -> search.StudyResult:
    """A study of one complete trial."""
    return search.load_study("strong", home=contenders)


def test_a_study_of_yesterday_is_the_same_object(result: search.StudyResult, contenders: Path) -> None:
    assert [row.number for row in result.rows] == [row.number for row in search.trials("strong", home=contenders)]
    assert result.best == search.trials("strong", home=contenders)[0]
    assert result.trials.equals(result.to_frame())
    assert list(result.trials.index) == [0]
    with pytest.raises(NotFoundError, match="study 'nobody'"):
        search.load_study("nobody", home=contenders)


def test_the_best_trial_loads_its_model(result: search.StudyResult) -> None:
    assert result.best
    rows = load(DataConfig("digits", folds=1)).validation
    answers = np.asarray(result.best.load_model()(rows.x))
    assert np.mean(answers.argmax(axis=1) == rows.y) == pytest.approx(result.best.value)
    figure = result.plot_confusion()
    n_right = sum(int(text.replace(",", "")) for n, row in enumerate(figure.data[0].text) if (text := row[n]))
    assert n_right == round(result.best.value * len(rows.y))
    with pytest.raises(InputError, match="must be a regression"):
        result.plot_residuals()


def test_the_figures_are_those_of_the_report(result: search.StudyResult) -> None:
    assert len(result.plot_history().data) == 2
    assert len(result.plot_curves(top=5).data) == 2
    assert len(result.plot_curves(top=None).data) == 1
    assert result.plot_timeline().data[0].name == "complete"
    for plot in (result.plot_importances, result.plot_contour, result.plot_parallel, result.plot_slice):
        with pytest.raises(InputError, match="complete or pruned trials with a value"):
            plot()
    with pytest.raises(InputError, match="at least 1"):
        result.plot_curves(top=0)


def test_results_are_shown_as_html(result: search.StudyResult, contenders: Path) -> None:
    assert result.best
    shown = [
        result, result.best, search.compare([result, search.load_study("weak", home=contenders)]),
        search.explain_trial("strong", 0, home=contenders), *search.studies(home=contenders),
    ]  # fmt: skip
    for item in shown:
        html = item._repr_html_()
        assert html.startswith(("<table>", "<div>")), type(item)
        assert str(contenders) not in html
    assert "1 complete, 0 pruned, 0 failed" in result._repr_html_()


def test_the_spread_over_folds_stands_beside_the_value(result: search.StudyResult) -> None:
    assert "std" not in replace(result, rows=tuple(replace(row, std=None) for row in result.rows))._repr_html_()
    folded = replace(result, rows=(replace(result.rows[0], value=0.9, std=0.0123, folds=5),))
    assert re.search(r"std</th><th.*>0\.9000</td><td[^>]*>0\.0123</td><td[^>]*>complete<", folded._repr_html_())


def test_a_budget_for_trials_and_seeds_shows_both(result: search.StudyResult) -> None:
    shown = AutomaticResult(result, None, "the finals began after 3 trials")._repr_html_()
    assert shown == result._repr_html_() + "<div>the finals began after 3 trials</div>"


def test_marks_are_explained(result: search.StudyResult) -> None:
    assert "ended by the timeout" not in result._repr_html_()
    rows = [replace(result.rows[0], stop_reason="timeout", is_enqueued=True, is_start=False)]
    assert "<div>e enqueued   t ended by the timeout</div>" in replace(result, rows=tuple(rows))._repr_html_()
    best = replace(result, rows=tuple(rows)).best
    assert best
    assert "ended by the timeout" in best._repr_html_()


def test_a_home_is_remembered_by_copies_too(result: search.StudyResult, contenders: Path) -> None:
    assert result.best
    for trial in (copy.copy(result.best), pickle.loads(pickle.dumps(result.best))):
        assert (trial.home, trial.study, trial) == (contenders, "strong", result.best)
    assert "home" not in asdict(result.best)


def test_studies_and_trials_are_compared_by_names_or_objects(contenders: Path, tmp_path: Path) -> None:
    weak, strong = (search.load_study(name, home=contenders) for name in ("weak", "strong"))
    assert search.compare([weak, strong]) == search.compare(["weak", "strong"], home=contenders)
    run_small(tmp_path, "pair", trials=2, width={"low": 8, "high": 48})
    pair = search.load_study("pair", home=tmp_path)
    expected = search.compare(["pair", "0", "1"], home=tmp_path)
    assert search.compare([pair, 0, 1]) == expected
    assert search.compare(sorted(pair.rows, key=lambda row: row.number)) == expected
    with pytest.raises(InputError, match="two studies or two trials"):
        search.compare([strong])
    with pytest.raises(InputError, match="trials must be of one study"):
        search.compare([weak.best, strong.best])
    with pytest.raises(InputError, match="must be of one home"):
        search.compare([weak, pair])


def test_a_budget_for_trials_and_seeds_is_not_spent_on_trials_alone(tmp_path: Path) -> None:
    spec = search.default_spec("digits", trials=16, budget="auto")
    with pytest.raises(SpecError, match="call run_automatically"):
        search.run_study(spec, home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_dir_shows_the_api_alone() -> None:
    assert set(dir(search)) == set(search.__all__)
    assert {"run_study", "load_study", "compare", "StudyResult"} <= set(dir(search))
    assert all(getattr(search, name).__module__.startswith("search.") for name in dir(search))


def test_importing_search_loads_nothing_large() -> None:
    program = "import search, sys; print([m for m in ('tensorflow', 'keras', 'plotly', 'pandas', 'optuna', 'mlflow')" \
        " if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
