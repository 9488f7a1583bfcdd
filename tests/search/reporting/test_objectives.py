"""What people read follows the study's objective: its name, its direction and its unit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from command_line import call

from pipelines.objectives import OBJECTIVES
from search.home.settings import prepare_home, read_settings
from search.home.text import value_text
from search.optimization.studies import load_writable_study, open_study
from search.reporting.charts import MAX_POINTS, document, residuals
from search.reporting.report import write_report
from search.spec.reading import spec_from_dict
from search.storage.attributes import FACTS, RESULT, SEAL

VALUES = [24_300.5, 21_000.25, 30_000.125, 26_000.0, 22_000.5, 29_000.0]


def recorded(home: Path, objective: str, values: list[float], facts: dict[str, Any]) -> None:
    """A study ``s`` whose trials were recorded, not trained; the last is pruned."""
    settings = read_settings(home, {})
    prepare_home(settings)
    task = OBJECTIVES[objective].task or "regression"
    document = {"study": {"name": "s", "trials": 9}, "data": {"source": "digits", "task": task}}
    spec = spec_from_dict(document | {"search": {"objective": objective}})
    study = open_study(settings, spec, "f00d")
    study.sampler = optuna.samplers.RandomSampler(0)
    for number, value in enumerate(values):
        trial = study.ask()
        hp = spec.space.suggest(trial)
        trial.report(value, 1)
        result = {"params": hp.to_json(), f"best_{objective}": value, "best_epoch": 1, "epochs_trained": 1}
        trial.set_user_attr(RESULT, result | {"duration_s": 0.1, "device": "cpu:0", "stop_reason": "finished"})
        pruned = number == len(values) - 1
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if pruned else value, state)
    data = {"name": "d", "training_rows": 80, "validation_rows": 20, "features": 3, "classes": 0, "task": task} | facts
    machine = {"system": "Linux", "cores": 2, "memory_mb": 8000, "devices": ["cpu:0"]}
    study.set_user_attr(FACTS, {"dataset": data, "machine": machine, "git_commit": ""})


@pytest.mark.parametrize("objective", ["val_rmse", "val_mae", "val_loss"])
def test_nothing_speaks_of_accuracy_or_classes_in_a_regression(tmp_path: Path, objective: str) -> None:
    recorded(tmp_path / "home", objective, VALUES, {})
    page = write_report("s", tmp_path / "s.html", home=tmp_path / "home").read_text()
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)
    outputs = [call(*words, "--home", str(tmp_path / "home")) for words in (["trials", "s"], ["show", "s", "1"])]
    for shown in [text, *(output.out + output.err for output in outputs)]:
        assert "ccuracy" not in shown
        assert "class" not in re.sub(r'class="', "", shown)
    label = OBJECTIVES[objective].label
    assert f"Best {label}" in text
    assert "21,000.2" in text
    assert f"Trial 1 reached {label} 21,000.2" in text, "the lowest is the best"
    assert "1,000.2 better than the next, trial 4" in text


def test_equal_trials_are_as_good_as_each_other(tmp_path: Path) -> None:
    recorded(tmp_path / "home", "val_accuracy", [0.975, 0.975 + 1e-9, 0.9, 0.5], {"classes": 10})
    for best, other in ((1, 0), (0, 1)):
        shown = call("show", "s", str(best), "--home", str(tmp_path / "home"), "--json").json()["explanation"]
        assert f"as good as the {'next' if best == 1 else 'best'}, trial {other}." in shown


def test_a_regression_that_was_tested_is_drawn_with_every_metric(tmp_path: Path) -> None:
    recorded(tmp_path / "home", "val_rmse", VALUES, {})
    study = load_writable_study(read_settings(tmp_path / "home", {}), "s")
    reading = {
        "run_name": "trial-0001", "run_id": "0" * 32, "at": "2030-01-01", "objective": "val_rmse", "value": 25_000.5,
        "test_rmse": 25_000.5, "test_mae": 12_345.0, "test_r2": 0.75, "test_loss": 0.25, "promised": 21_000.25,
        "interval": [24_000.0, 26_000.0], "intervals": {"test_rmse": [24_000.0, 26_000.0]}, "ordinal": 1,
        "baselines": {"mean": {"rmse": 90_000.0}, "linear": {"rmse": 20_000.0}},
    }  # fmt: skip
    study.set_user_attr(SEAL, [reading])
    page = write_report("s", tmp_path / "s.html", home=tmp_path / "home").read_text()
    assert "25,000.5, 95% interval 24,000.0 to 26,000.0" in page
    assert "val_rmse 21,000.2, 4,000.2 better than on the test rows" in page
    assert "<th>test mae</th><td>12,345.0" in page
    assert "A linear model reaches RMSE 20,000.0: the model does not beat it." in page
    assert "ccuracy" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)


def test_the_rows_of_a_regression_are_drawn_against_their_predictions() -> None:
    truth = np.linspace(0, 1e5, 3000)
    figures = {name: document(figure) for name, figure in residuals(truth + 7, truth).items()}
    points, line = figures["predicted"]["data"]
    assert len(points["x"]) == MAX_POINTS
    assert np.allclose(np.subtract(points["y"], points["x"]), 7)
    assert line["x"] == line["y"], "where they agree"
    points, line = figures["residuals"]["data"]
    assert np.allclose(points["y"], -7)
    assert line["y"] == [0, 0]


def test_values_of_any_size_are_readable() -> None:
    values = (0.0, 0.5, -0.25, 0.00001234567, 999.99994, 24_300.5, 1.5e12)
    assert [value_text(v) for v in values] == [
        "0.0000", "0.5000", "-0.2500", "1.235e-05", "999.9999", "24,300.5", "1.5e+12"
    ]  # fmt: skip
