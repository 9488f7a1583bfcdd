"""``run`` and the commands that read its results, on digits."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from command_line import STUDY, Answer, call, files
from ready_home import copy_home

import search
from pipelines.errors import SpecError

ROW = (
    "number",
    "state",
    "value",
    "params",
    "best_epoch",
    "epochs_trained",
    "duration_s",
    "device",
    "run_id",
    "majority",
    "objective",
    "baselines",
    "is_start",
    "is_enqueued",
    "stop_reason",
    "folds",
    "std",
    "precision",
    "waited_s",
)


def test_run_prints_one_line_of_json(first_run: Answer) -> None:
    assert first_run.code == 0
    found = first_run.json()
    assert list(found) == [
        "study", "trials", "best", "wall_s", "waited_s", "waited_share", "majority", "baselines", "folds", "precision",
    ]  # fmt: skip
    assert (found["folds"], found["precision"]) == (1, "float32")
    assert found["study"] == "tiny"
    assert list(found["trials"]) == ["complete", "pruned", "failed"]
    assert sum(found["trials"].values()) == 6
    assert found["trials"]["failed"] == 0
    assert list(found["best"]) == ["number", "value", "params", "run_id", "std", "precision"]
    assert found["best"]["params"]["depth"] == 1
    assert 0.2 < found["best"]["value"] <= 1
    assert re.fullmatch("[0-9a-f]{32}", found["best"]["run_id"])
    assert found["wall_s"] > 0


def test_progress_on_a_pipe_is_plain_lines(first_run: Answer) -> None:
    lines = first_run.err.splitlines()
    assert "\x1b" not in first_run.err
    assert "Traceback" not in first_run.err
    assert sum(bool(re.match(r"trial-000\d (complete|pruned)", line)) for line in lines) == 6
    assert lines[-3].startswith("next: mlp-search finalists tiny ")
    assert lines[-2].strip().startswith("mlp-search show tiny ")
    assert lines[-1].strip().startswith("mlp-search ui --home ")


def test_trials_are_rows_with_the_best_first(first_run: Answer, finished_home: Path) -> None:
    rows = call("trials", "tiny", "--home", finished_home, "--json").json()
    assert [tuple(row) for row in rows] == [ROW] * 6
    assert sorted(row["number"] for row in rows) == list(range(6))
    assert rows[0]["number"] == first_run.json()["best"]["number"]
    complete = [row["value"] for row in rows if row["state"] == "COMPLETE"]
    assert complete == sorted(complete, reverse=True)
    assert all(row["state"] == "PRUNED" for row in rows[len(complete) :])
    for row in rows:
        assert 1 <= row["best_epoch"] <= row["epochs_trained"] <= row["params"]["epochs"]
        assert row["device"].startswith(("cpu:", "gpu:"))
        assert row["duration_s"] > 0
        assert len(row["run_id"]) == 32
    assert call("trials", "tiny", "--top", 2, "--home", finished_home, "--json").json() == rows[:2]


def test_trials_are_a_table_for_people(finished_home: Path) -> None:
    rows = call("trials", "tiny", "--home", finished_home, "--json").json()
    lines = call("trials", "tiny", "--home", finished_home).out.splitlines()
    shown = [line for line in lines if "batch 64" in line]
    assert len(shown) == 6
    for row, line in zip(rows, shown, strict=True):
        assert line.split()[:3] == [str(row["number"]), f"{row['value']:.4f}", row["state"]]


def test_studies_lists_the_studies(first_run: Answer, finished_home: Path) -> None:
    (found,) = [study for study in call("studies", "--home", finished_home, "--json").json() if study["name"] == "tiny"]
    assert found["source"] == "digits"
    assert (found["complete"], found["pruned"], found["failed"]) == tuple(first_run.json()["trials"].values())
    assert found["budget"] == 6
    assert found["best_value"] == first_run.json()["best"]["value"]
    assert found["elapsed_s"] > 0
    assert "tiny" in call("studies", "--home", finished_home).out


def test_show_explains_why_the_winner_won(first_run: Answer, finished_home: Path) -> None:
    best = first_run.json()["best"]
    found = call("show", "tiny", best["number"], "--home", finished_home, "--json").json()
    assert tuple(found) == (*ROW, "explanation")
    assert f"Trial {best['number']} reached validation accuracy {best['value']:.4f}" in found["explanation"]
    assert "rank 1 of" in found["explanation"]
    shown = call("show", "tiny", best["number"], "--home", finished_home).out
    assert found["explanation"] in shown
    assert best["run_id"] in shown


def test_show_explains_the_other_trials(finished_home: Path) -> None:
    rows = call("trials", "tiny", "--home", finished_home, "--json").json()
    best = rows[0]
    for row in rows[1:]:
        text = call("show", "tiny", row["number"], "--home", finished_home, "--json").json()["explanation"]
        if row["state"] == "COMPLETE":
            assert f"{best['value'] - row['value']:.4f} worse than the best, trial {best['number']}" in text
        else:
            assert f"pruned after {row['epochs_trained']} of {row['params']['epochs']} epochs" in text
            assert "the median pruner ends trials that are worse than the median" in text


def test_an_unknown_trial(finished_home: Path) -> None:
    answer = call("show", "tiny", 99, "--home", finished_home)
    assert (answer.code, answer.err) == (1, "error: trial 99: must be one of study 'tiny'; the trials are 0 to 5\n")


def test_a_misspelled_study(finished_home: Path) -> None:
    answer = call("trials", "tinny", "--home", finished_home)
    assert answer.code == 1
    assert "did you mean tiny?" in answer.err


def test_a_used_budget_is_reported_and_trains_nothing(first_run: Answer, study_file: Path, finished_home: Path) -> None:
    before = files(finished_home / "artifacts")
    answer = call("run", study_file, "--home", finished_home, "--json")
    assert answer.code == 0
    again = answer.json()
    times = dict.fromkeys(("wall_s", "waited_s", "waited_share"), 0)
    assert again | times == first_run.json() | times
    assert "study tiny has used its budget" in answer.err
    assert "nothing was trained" in answer.err
    shown = call("run", study_file, "--home", finished_home)
    assert "nothing was trained: the study has " in shown.out
    assert " in " not in next(line for line in shown.out.splitlines() if line.startswith("nothing was"))
    assert files(finished_home / "artifacts") == before


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("high = 64", "high = 65", "space"),
        ("trials = 6", "trials = 6\nseed = 1", "study.seed"),
        ('"digits"', '"digits"\nscaling = "none"', "data"),
        ('"median"', '"none"', "search.pruner"),
    ],
)
def test_a_study_resumes_only_with_its_own_settings(
    before: str, after: str, changed: str, finished_home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.toml"
    path.write_text(STUDY.replace(before, after))
    answer = call("run", path, "--home", finished_home)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: study 'tiny': must be resumed with its own settings")
    assert f"but {changed} changed" in answer.err
    assert len(call("trials", "tiny", "--home", finished_home, "--json").json()) == 6


def test_two_processes_do_not_search_one_study(study_file: Path, finished_home: Path) -> None:
    from search.home.locks import study_lock
    from search.home.settings import read_settings

    with study_lock(read_settings(finished_home), "tiny"):
        answer = call("run", study_file, "--trials", 7, "--home", finished_home)
    assert (answer.code, answer.out) == (1, "")
    assert "is being searched by another process on this home" in answer.err


def test_from_python(first_run: Answer, study_file: Path, finished_home: Path) -> None:
    result = search.run_study(search.read_spec(study_file), home=finished_home)
    assert result.best is not None
    assert result.best.value == first_run.json()["best"]["value"]
    frame = result.to_frame()
    assert len(frame) == 6
    assert frame.loc[result.best.number, "value"] == result.best.value
    assert {"width", "learning_rate", "state", "run_id"} <= set(frame.columns)
    assert next(study.name for study in search.studies(home=finished_home)) == "tiny"
    assert search.explain_trial("tiny", 0, home=finished_home).row in search.trials("tiny", home=finished_home)


def test_a_study_resumes_by_its_name(finished_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = copy_home(finished_home, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()  # a folder is no dataset
    answer = call("run", "tiny", "--home", home)
    assert "study tiny has used its budget of 6 trials; raise --trials or --timeout to continue" in answer.err
    more = call("run", "tiny", "--trials", 7, "--home", home)
    assert more.code == 0, more.err
    assert "; 1 in " in more.out
    assert len(search.trials("tiny", home=home)) == 7
    assert "has used its budget of 7 trials" in call("run", "tiny", "--home", home).err
    forecast = call("plan", "tiny", "--trials", 9, "--home", home)
    assert "budget                  9 trials" in forecast.out
    copied = call("run", "tiny", "--study", "copy", "--trials", 1, "--home", home, "--json").json()
    assert copied["study"] == "copy"


def test_a_plan_shows_the_space_that_is_searched(tmp_path: Path) -> None:
    """Arrays with few rows have the classic space, whatever the preset of larger ones."""
    shown = call("plan", "digits", "--trials", 2, "--home", tmp_path).out
    assert "batch_size     one of 32, 64, 128, 256" in shown
    assert "normalization" not in shown


def test_a_condition_that_no_trial_meets(finished_home: Path) -> None:
    answer = call("trials", "tiny", "--filter", "depth == 9", "--home", finished_home)
    assert answer.out == "no trial meets the condition\n"
    assert call("trials", "tiny", "--filter", "depth == 9", "--home", finished_home, "--json").json() == []


def test_a_pool_that_cannot_start_leaves_no_thread(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    before = threading.enumerate()
    with pytest.raises(SpecError, match="gpus"):
        search.run_study(search.default_spec("digits", trials=1, gpus=1), home=tmp_path, pool="ray")
    assert "tracking" not in [thread.name for thread in threading.enumerate() if thread not in before]


def test_a_misspelled_study_to_resume(finished_home: Path) -> None:
    answer = call("run", "tinny", "--home", finished_home)
    assert answer.err == "error: 'tinny': must be a study file, a dataset or a study; did you mean tiny?\n"
    assert answer.code == 1


def test_a_timeout_without_time_for_a_trial(tmp_path: Path) -> None:
    answer = call("run", "digits", "--folds", 1, "--timeout", 0.001, "--home", tmp_path)
    assert (answer.code, answer.out) == (0, "study digits has no trials: none was begun in this time\n")


def test_the_budget_of_a_study_is_shown_in_full(finished_home: Path, tmp_path: Path) -> None:
    home = copy_home(finished_home, tmp_path / "home")
    call("run", "tiny", "--trials", 6, "--timeout", "90m", "--home", home)
    assert "6 trials or 1:30 h" in call("studies", "--home", home).out
    [study] = [row for row in call("studies", "--home", home, "--json").json() if row["name"] == "tiny"]
    assert (study["budget"], study["timeout_s"]) == (6, 5400)
