"""The ends of ``run``: a table, failures, Ctrl-C with and without a terminal; and MLflow's page of its runs."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
import urllib.request
from multiprocessing.connection import wait
from pathlib import Path

import optuna
import pytest
from command_line import STUDY, Answer, CtrlC, call, command, spawn
from forked import MODULE, Forked
from ports import free_port
from ready_home import copy_home
from registered import client_of
from waiting import PATIENCE_S


def test_a_table_with_text_and_gaps_needs_no_option_but_its_target(finished_home: Path, tmp_path: Path) -> None:
    colors, kinds = ["red", "green", "blue", ""], ["setosa", "virginica"]
    rows = [
        f"{i % 2 + (i % 7) / 10:.2f},{colors[i % 4]},{'' if i % 9 == 0 else i % 2 * 5 + i % 3},{kinds[i % 2]}"
        for i in range(120)
    ]
    path = tmp_path / "plants.csv"
    path.write_text("\n".join(["length,colour,petals,species", *rows]))
    answer = call("run", path, "--target", "species", "--folds", 1, "--trials", 3, "--home", finished_home)
    assert answer.code == 0
    assert "study plants" in answer.out
    found = call("trials", "plants", "--home", finished_home, "--json").json()
    assert len(found) == 3
    assert found[0]["value"] >= 0.9


def test_a_study_whose_trials_all_fail_reports_it(finished_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "slow.toml"
    path.write_text(STUDY.replace('"tiny"', '"slow"').replace("trials = 6", "trials = 2").replace("low = 4, high = 6",
        "low = 100000, high = 200000") + "[workers]\ntrial_timeout_s = 0.5\n")  # fmt: skip
    answer = call("run", path, "--home", finished_home, "--json")
    assert answer.code == 1
    assert answer.json()["trials"] == {"complete": 0, "pruned": 0, "failed": 2}
    assert answer.json()["best"] is None
    assert answer.err.splitlines()[-1].startswith("error: every trial failed; mlp-search show slow 0")
    text = call("show", "slow", 0, "--home", finished_home).out
    assert "failed after" in text
    assert "workers.trial_timeout_s: took longer than 0.5 s" in text


def test_ctrl_c_during_the_imports_of_a_command(tmp_path: Path) -> None:
    hears = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # also where these tests run in the background
    (tmp_path / "typer.py").write_text(f"import signal\n{hears}\nsignal.raise_signal(signal.SIGINT)\n")
    answer = spawn("studies", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (answer.code, answer.out, answer.err) == (130, "", "interrupted\n")


def test_ctrl_c_on_a_terminal_and_the_same_command_again(finished_home: Path, tmp_path: Path) -> None:
    """A real terminal: the live table, Ctrl-C in the middle, exit code 130, and the study resumes to its budget."""
    path = tmp_path / "long.toml"
    path.write_text(STUDY.replace('"tiny"', '"long"').replace("trials = 6", "trials = 8").replace('"median"', '"none"')
        .replace("low = 4, high = 6", "low = 20, high = 30"))  # fmt: skip
    typed = ("run", path, "--home", finished_home)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="140", LINES="40")
        os.execv(command()[0], command(*typed))
    shown = read_until(terminal, r"trial-000\d complete")
    os.write(terminal, b"\x03")
    shown += read_until(terminal, None)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert re.search(r"cpu:0 .*trial-000\d .*\d+/[23]\d ", shown)
    assert re.search(r"of 8 trials, .* 0 failed", shown)
    assert "to resume, run the same command again: mlp-search run" in shown
    assert shown.rstrip().endswith("interrupted")
    assert "Traceback" not in shown
    done = [
        row for row in call("trials", "long", "--home", finished_home, "--json").json() if row["state"] == "COMPLETE"
    ]
    assert 1 <= len(done) < 8
    again = call(*typed, "--json")
    assert again.code == 0
    assert again.json()["trials"] == {"complete": 8, "pruned": 0, "failed": 0}


def read_until(terminal: int, pattern: str | None) -> str:
    """What the terminal shows until ``pattern`` comes, or until the program ends; without colors and the cursor."""
    shown, until = "", time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if not wait([terminal], 0.5):
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


@pytest.mark.parametrize(("is_told", "n_epochs"), [(True, 100_000), (False, 40)], ids=["hung up", "disowned"])
def test_a_training_outlives_its_terminal(tmp_path: Path, is_told: bool, n_epochs: int) -> None:
    """The terminal is closed: with SIGHUP the training ends after its epoch, without it trains to its last one."""
    home = tmp_path / "home"
    child, terminal = pty.fork()
    if child == 0:
        if not is_told:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(command()[0], command("train", "digits", "--width", 8, "--epochs", n_epochs, "--home", home))
    read_until(terminal, "epoch +2 ")
    os.close(terminal)
    os.waitpid(child, 0)
    client = client_of(home)
    [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.tags["stop_reason"] == ("interrupted" if is_told else "finished")
    assert any(home.rglob("checkpoint.h5"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_up_ends_the_program_as_ctrl_c_does(number: signal.Signals, tmp_path: Path) -> None:
    process = Forked([*MODULE, "run", "digits", "--folds", "1", "--home", tmp_path / "home", "-v"])
    assert process.stderr is not None
    lines = iter(process.stderr)
    assert any("reading digits" in line for line in lines)
    for _ in range(2):  # ``timeout`` sends it to the process and to its group
        process.send_signal(number)
    assert list(lines)[-1] == "interrupted\n"
    assert process.wait(PATIENCE_S) == 130


def test_ctrl_c_with_json_still_prints_the_result(finished_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "piped.toml"
    path.write_text(STUDY.replace('"tiny"', '"piped"').replace("trials = 6", "trials = 500"))
    answer = call("run", path, "--home", finished_home, "--json", err=CtrlC(r"trial-000\d (complete|pruned)", times=2))
    assert answer.code == 130
    assert 2 <= sum(answer.json()["trials"].values()) < 500
    assert answer.err.splitlines()[-1] == "interrupted"
    states = optuna.load_study(study_name="piped", storage=f"sqlite:///{finished_home}/optuna.db").get_trials()
    assert {trial.state.name for trial in states} <= {"COMPLETE", "PRUNED", "WAITING"}


def test_interrupted_finals_have_every_key_of_their_document(finished_home: Path, tmp_path: Path) -> None:
    home = copy_home(finished_home, tmp_path / "home")
    answer = call("finalists", "tiny", "--home", home, "--json", "-v", err=CtrlC("seed-1 epoch 1/"))
    assert answer.code == 130
    found = answer.json()
    assert set(found) == {
        "winner", "significant", "p_value", "finalists", "loss", "majority", "objective", "baselines", "ensemble",
        "expected", "expected_interval", "folds", "model", "refit_run_id", "refit_failure",
    }  # fmt: skip
    assert (found["winner"], found["finalists"], found["refit_failure"], found["folds"]) == (None, [], "", 1)


def test_ui_is_mlflows_page_on_this_home(first_run: Answer, finished_home: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        command("ui", "--home", finished_home, "--port", port, "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    assert url == f"http://127.0.0.1:{port}"
    run_id = first_run.json()["best"]["run_id"]
    with urllib.request.urlopen(f"{url}/api/2.0/mlflow/runs/get?run_id={run_id}", timeout=PATIENCE_S) as answer:
        assert json.load(answer)["run"]["info"]["run_id"] == run_id
    with urllib.request.urlopen(f"{url}/get-artifact?path=model.h5&run_uuid={run_id}", timeout=PATIENCE_S) as answer:
        assert answer.read(4) == b"\x89HDF"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C, to every process of the group
    assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
