"""``run`` and what reads its results, for real on digits."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import optuna
import pytest
from command_line import Answer, CtrlC, call, command, files

import search

STUDY = """\
[study]
name = "tiny"
trials = 6
[data]
source = "digits"
[space]
width = { low = 8, high = 64 }
depth = 1
learning_rate = { low = 1e-4, high = 0.1, log = true }
epochs = { low = 4, high = 6 }
batch_size = 64
[search]
pruner = "median"
"""
ROW = ("number", "state", "value", "params", "best_epoch", "epochs_trained", "duration_s", "device", "run_id")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file; the studies of this module share its home."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def home(folder: Path) -> Path:
    return folder / "home"


@pytest.fixture(scope="module")
def first(folder: Path, home: Path) -> Answer:
    """The study's run, with its output on no terminal."""
    return call("run", folder / "tiny.toml", "--home", home, "--json")


@pytest.fixture
def finished(first: Answer, home: Path) -> Path:
    """The home once the study is finished."""
    return home


def test_run_prints_one_line_of_json(first: Answer) -> None:
    assert first.code == 0
    found = first.json()
    assert list(found) == ["study", "trials", "best", "wall_s"]
    assert found["study"] == "tiny"
    assert list(found["trials"]) == ["complete", "pruned", "failed"]
    assert sum(found["trials"].values()) == 6
    assert found["trials"]["failed"] == 0
    assert list(found["best"]) == ["number", "value", "params", "run_id"]
    assert found["best"]["params"]["depth"] == 1
    assert 0.2 < found["best"]["value"] <= 1
    assert re.fullmatch("[0-9a-f]{32}", found["best"]["run_id"])
    assert 1 < found["wall_s"] < 120


def test_on_a_pipe_its_progress_is_plain_lines(first: Answer) -> None:
    lines = first.err.splitlines()
    assert "\x1b" not in first.err
    assert "Traceback" not in first.err
    assert sum(bool(re.match(r"trial-000\d (complete|pruned)", line)) for line in lines) == 6
    assert lines[-2].startswith("next: mlp-search show tiny ")
    assert lines[-1].strip().startswith("mlp-search ui --home ")


def test_trials_are_rows_with_the_best_first(first: Answer, finished: Path) -> None:
    rows = call("trials", "tiny", "--home", finished, "--json").json()
    assert [tuple(row) for row in rows] == [ROW] * 6
    assert sorted(row["number"] for row in rows) == list(range(6))
    assert rows[0]["number"] == first.json()["best"]["number"]
    complete = [row["value"] for row in rows if row["state"] == "COMPLETE"]
    assert complete == sorted(complete, reverse=True)
    assert all(row["state"] == "PRUNED" for row in rows[len(complete) :])
    for row in rows:
        assert 1 <= row["best_epoch"] <= row["epochs_trained"] <= row["params"]["epochs"]
        assert row["device"].startswith(("cpu:", "gpu:"))
        assert row["duration_s"] > 0
        assert len(row["run_id"]) == 32
    assert call("trials", "tiny", "--top", 2, "--home", finished, "--json").json() == rows[:2]


def test_trials_are_a_table_for_people(finished: Path) -> None:
    rows = call("trials", "tiny", "--home", finished, "--json").json()
    lines = call("trials", "tiny", "--home", finished).out.splitlines()
    shown = [line for line in lines if "batch 64" in line]
    assert len(shown) == 6
    for row, line in zip(rows, shown, strict=True):
        assert line.split()[:3] == [str(row["number"]), f"{row['value']:.4f}", row["state"]]


def test_studies_lists_what_there_is(first: Answer, finished: Path) -> None:
    (found,) = [study for study in call("studies", "--home", finished, "--json").json() if study["name"] == "tiny"]
    assert found["source"] == "digits"
    assert (found["complete"], found["pruned"], found["failed"]) == tuple(first.json()["trials"].values())
    assert found["budget"] == 6
    assert found["best_value"] == first.json()["best"]["value"]
    assert found["elapsed_s"] > 0
    assert "tiny" in call("studies", "--home", finished).out


def test_show_says_why_the_winner_won(first: Answer, finished: Path) -> None:
    best = first.json()["best"]
    found = call("show", "tiny", best["number"], "--home", finished, "--json").json()
    assert tuple(found) == (*ROW, "explanation")
    assert f"Trial {best['number']} reached a validation accuracy of {best['value']:.4f}" in found["explanation"]
    assert "rank 1 of" in found["explanation"]
    shown = call("show", "tiny", best["number"], "--home", finished).out
    assert found["explanation"] in shown
    assert best["run_id"] in shown


def test_show_says_why_the_others_did_not(finished: Path) -> None:
    rows = call("trials", "tiny", "--home", finished, "--json").json()
    best = rows[0]
    for row in rows[1:]:
        text = call("show", "tiny", row["number"], "--home", finished, "--json").json()["explanation"]
        if row["state"] == "COMPLETE":
            assert f"{best['value'] - row['value']:.4f} below the best, trial {best['number']}" in text
        else:
            assert f"pruned after {row['epochs_trained']} of {row['params']['epochs']} epochs" in text
            assert "the median pruner ends what is below the median" in text


def test_a_trial_that_is_not_there(finished: Path) -> None:
    answer = call("show", "tiny", 99, "--home", finished)
    assert (answer.code, answer.err) == (1, "error: trial 99: must be one of study 'tiny'; the trials are 0 to 5\n")


def test_a_misspelled_study(finished: Path) -> None:
    answer = call("trials", "tinny", "--home", finished)
    assert answer.code == 1
    assert "did you mean tiny?" in answer.err


def test_a_spent_budget_is_said_and_trains_nothing(first: Answer, folder: Path, finished: Path) -> None:
    before = files(finished / "artifacts")
    answer = call("run", folder / "tiny.toml", "--home", finished, "--json")
    assert answer.code == 0
    again = answer.json()
    assert {**again, "wall_s": 0} == {**first.json(), "wall_s": 0}
    assert "the budget of study tiny was spent before" in answer.err
    assert files(finished / "artifacts") == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--seed", "1"), "study.seed changed"),
        (("--study", "tiny", "other.toml"), "space changed"),
    ],
)
def test_a_study_goes_on_with_what_it_was_started_with(
    options: tuple[str, ...], says: str, folder: Path, finished: Path
) -> None:
    (folder / "other.toml").write_text(STUDY.replace("high = 64", "high = 65"))
    file = folder / (options[-1] if options[-1].endswith(".toml") else "tiny.toml")
    given = [option for option in options if not option.endswith(".toml")]
    answer = call("run", file, *given, "--home", finished)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: study 'tiny': must go on with what it was started with")
    assert says in answer.err
    assert len(call("trials", "tiny", "--home", finished, "--json").json()) == 6


def test_two_processes_do_not_search_one_study(folder: Path, finished: Path) -> None:
    from search.settings import read_settings
    from search.storage import study_lock

    with study_lock(read_settings(finished), "tiny"):
        answer = call("run", folder / "tiny.toml", "--trials", 7, "--home", finished)
    assert (answer.code, answer.out) == (1, "")
    assert "is being searched by another process on this home" in answer.err


def test_from_python(first: Answer, folder: Path, finished: Path) -> None:
    result = search.run_study(search.read_spec(folder / "tiny.toml"), home=finished)
    assert result.best is not None
    assert result.best.value == first.json()["best"]["value"]
    frame = result.to_frame()
    assert len(frame) == 6
    assert frame.loc[result.best.number, "value"] == result.best.value
    assert {"width", "learning_rate", "state", "run_id"} <= set(frame.columns)
    assert next(study.name for study in search.studies(home=finished)) == "tiny"
    assert search.explain_trial("tiny", 0, home=finished).row in search.trials("tiny", home=finished)


def test_a_table_with_text_and_gaps_needs_no_option_but_its_target(finished: Path, tmp_path: Path) -> None:
    colours, kinds = ["red", "green", "blue", ""], ["setosa", "virginica"]
    rows = [
        f"{i % 2 + (i % 7) / 10:.2f},{colours[i % 4]},{'' if i % 9 == 0 else i % 2 * 5 + i % 3},{kinds[i % 2]}"
        for i in range(120)
    ]
    path = tmp_path / "plants.csv"
    path.write_text("\n".join(["length,colour,petals,species", *rows]))
    answer = call("run", path, "--target", "species", "--trials", 3, "--home", finished)
    assert answer.code == 0
    assert "study plants" in answer.out
    found = call("trials", "plants", "--home", finished, "--json").json()
    assert len(found) == 3
    assert found[0]["value"] >= 0.9


def test_where_every_trial_fails_the_study_says_so(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(STUDY.replace('"tiny"', '"slow"').replace("trials = 6", "trials = 2").replace("low = 4, high = 6",
        "low = 100000, high = 200000") + "[workers]\ntrial_timeout_s = 0.5\n")  # fmt: skip
    answer = call("run", path, "--home", finished, "--json")
    assert answer.code == 1
    assert answer.json()["trials"] == {"complete": 0, "pruned": 0, "failed": 2}
    assert answer.json()["best"] is None
    assert answer.err.splitlines()[-1].startswith("error: every trial failed; mlp-search show slow 0")
    text = call("show", "slow", 0, "--home", finished).out
    assert "failed after" in text
    assert "workers.trial_timeout_s: took longer than 0.5 s" in text


def test_ctrl_c_on_a_terminal_and_the_same_command_again(finished: Path, tmp_path: Path) -> None:
    """A real terminal: the live table, Ctrl-C in the middle, exit code 130, and the study goes on to its budget."""
    path = tmp_path / "long.toml"
    path.write_text(STUDY.replace('"tiny"', '"long"').replace("trials = 6", "trials = 8").replace('"median"', '"none"')
        .replace("low = 4, high = 6", "low = 40, high = 60"))  # fmt: skip
    typed = ("run", path, "--home", finished)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="140", LINES="40")
        os.execv(command()[0], command(*typed))
    shown = read_until(terminal, r"trial-000[1-3] complete")
    os.write(terminal, b"\x03")
    shown += read_until(terminal, None)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert re.search(r"cpu:0 .*trial-000\d .*\d+/[456]\d ", shown)
    assert re.search(r"of 8 trials, .* 0 failed", shown)
    assert "to go on, type the same again: mlp-search run" in shown
    assert shown.rstrip().endswith("interrupted")
    assert "Traceback" not in shown
    done = [row for row in call("trials", "long", "--home", finished, "--json").json() if row["state"] == "COMPLETE"]
    assert 1 <= len(done) < 8
    again = call(*typed, "--json")
    assert again.code == 0
    assert again.json()["trials"] == {"complete": 8, "pruned": 0, "failed": 0}


def read_until(terminal: int, pattern: str | None, timeout_s: float = 90) -> str:
    """What the terminal shows until ``pattern`` comes, or until the program ends; without colours and the cursor."""
    shown, until = "", time.monotonic() + timeout_s
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:  # what Linux says of a terminal whose program has ended
            return shown
        if not more:
            return shown
        shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", more.decode(errors="replace"))
        if pattern and re.search(pattern, shown):
            return shown
    raise AssertionError(f"{pattern} did not come:\n{shown[-2000:]}")


def test_ctrl_c_with_json_still_prints_the_result(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "piped.toml"
    path.write_text(STUDY.replace('"tiny"', '"piped"').replace("trials = 6", "trials = 500"))
    answer = call("run", path, "--home", finished, "--json", err=CtrlC(r"trial-000\d (complete|pruned)", times=2))
    assert answer.code == 130
    assert 2 <= sum(answer.json()["trials"].values()) < 500
    assert answer.err.splitlines()[-1] == "interrupted"
    states = optuna.load_study(study_name="piped", storage=f"sqlite:///{finished}/optuna.db").get_trials()
    assert {trial.state.name for trial in states} <= {"COMPLETE", "PRUNED", "WAITING"}


def test_ui_is_mlflows_page_on_this_home(first: Answer, finished: Path) -> None:
    from test_wrong_inputs import free_port

    port = free_port()
    process = subprocess.Popen(
        command("ui", "--home", finished, "--port", port, "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert url == f"http://127.0.0.1:{port}"
    run_id = first.json()["best"]["run_id"]
    with urllib.request.urlopen(f"{url}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=30) as answer:
        assert json.load(answer)["run"]["info"]["run_id"] == run_id
    with urllib.request.urlopen(f"{url}/get-artifact?path=model.h5&run_uuid={run_id}", timeout=30) as answer:
        assert answer.read(4) == b"\x89HDF"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
