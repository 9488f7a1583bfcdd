"""Results that a process left in the spool, of trials, finalists and refits: finals deliver them first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from command_line import call
from finished import run_small
from registered import client_of

from pipelines.training.history import sha256
from search.finals.finalist import candidates, make_finalist
from search.finals.finals import run_finalists
from search.finals.training.finalist_runner import FinalistRunner
from search.finals.winner import find_winner
from search.home.settings import read_settings
from search.optimization.leaderboard import leaderboard
from search.optimization.run_records import recorded_results
from search.optimization.studies import load_study, load_writable_study
from search.storage.attributes import RECORD
from search.tracking.entries import Entry, Epoch, RunStart
from search.tracking.spool import write_entry


def test_a_result_in_the_spool_is_recovered_and_not_trained_again(tmp_path: Path):
    home = tmp_path / "home"
    run_small(home, "s", trials=1)
    params = asdict(candidates(load_study(read_settings(home), "s"), 1)[0].hyperparameters)
    start = RunStart(
        "s", "finalist-0000-seed-1", 1, params | {"seed": 5}, {"study": "s", "trial": "0", "role": "finalist"}
    )
    result = {"params": params, "best_val_accuracy": 0.123, "best_epoch": 2, "epochs_trained": 2, "duration_s": 1.0}
    result |= {"seed": 5, "model_sha256": "x", "n_parameters": 7, "stop_reason": "finished", "device": "cpu:0"}
    metrics = {"loss": 1.0, "accuracy": 0.1, "val_loss": 1.0, "val_accuracy": 0.123}
    entry = Entry(start, 2, "COMPLETE", 0.123, result, (Epoch(1, 1, metrics), Epoch(2, 2, metrics)))
    folder = write_entry(read_settings(home).spool, entry, {"model.h5": b"x"})

    found = run_finalists("s", top=1, seeds=1, refit=False, home=home)

    assert found.verdict.winner.values == (0.123,)
    assert not folder.exists()
    assert client_of(home).get_run(found.verdict.winner.run_ids[0]).data.metrics["val_accuracy"] == 0.123


def test_the_result_of_a_trial_in_the_spool_is_delivered_first(tmp_path: Path):
    """Optuna has it, and MLflow's server was away when the search ended."""
    home = tmp_path / "home"
    run_small(home, "s", trials=1)
    study, client = load_study(read_settings(home), "s"), client_of(home)
    trial, run = study.trials[0], client.get_run(leaderboard(study)[0].run_id)
    start = RunStart("s", "trial-0000", run.info.start_time, run.data.params, {"study": "s", "trial": "0"})
    model = Path(client.download_artifacts(run.info.run_id, "model.h5", str(tmp_path))).read_bytes()
    entry = Entry(start, run.info.end_time, "COMPLETE", trial.value, trial.user_attrs["result"], (), {}, {}, 0)
    folder = write_entry(read_settings(home).spool, entry, {"model.h5": model})

    assert run_finalists("s", top=1, seeds=1, refit=False, home=home).verdict

    assert not folder.exists()
    [sent] = client.search_runs([run.info.experiment_id], "attributes.run_name = 'trial-0000'")
    assert leaderboard(load_study(read_settings(home), "s"))[0].run_id == sent.info.run_id != run.info.run_id


@pytest.mark.parametrize("reason", ["finished", "diverged"])
def test_a_refit_that_failed_is_named_and_trained_again_unless_it_diverged(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "home"
    run_small(home, "s", trials=1)
    study = load_study(read_settings(home), "s")
    number = study.trials[0].number
    run_finalists("s", top=1, seeds=2, refit=False, home=home)
    [winner] = [make_finalist(candidates(study, 1)[0], 2, recorded_results(study))]
    start = RunStart("s", winner.refit_run, 1, {}, {"study": "s", "trial": str(number), "role": "refit"})
    result = {
        "params": study.trials[0].user_attrs["result"]["params"],
        "message": "the worker died",
        "seed": 1,
        "stop_reason": reason,
    }
    empty = {"model_sha256": sha256(b""), "best_val_accuracy": None, "best_epoch": None}  # as earlier versions have it
    write_entry(read_settings(home).spool, Entry(start, 2, "FAIL", None, result | empty, ()), {})
    monkeypatch.setattr(FinalistRunner, "run", lambda self: None)  # the next call is cut off before it trains
    found = call("finalists", "s", "--top", 1, "--seeds", 2, "--refit", "--home", home)
    assert f"failed: {winner.refit_run}: the worker died. evaluate, promote and predict use finalist-0000-" in found.out
    assert find_winner(load_study(read_settings(home), "s")).role == "finalist"
    monkeypatch.undo()

    again = call("finalists", "s", "--top", 1, "--seeds", 2, "--home", home, "--json").json()
    assert bool(again["refit_failure"]) == (reason == "diverged")
    assert bool(again["refit_run_id"]) == (reason != "diverged")
    expected = "finalist" if reason == "diverged" else "refit"
    assert find_winner(load_study(read_settings(home), "s")).role == expected


@pytest.mark.parametrize("reason", ["failed", "diverged"])
def test_a_finalist_that_failed_is_trained_again_unless_it_diverged(tmp_path: Path, reason: str):
    """A worker that died, or too short a time limit: on another machine, or with another limit, it may not fail."""
    home = tmp_path / "home"
    run_small(home, "s", trials=2, width=[8, 16], epochs=1)
    study = load_study(read_settings(home), "s")
    best, other = candidates(study, 2)
    start = RunStart("s", f"finalist-{best.trial:04d}-seed-1", 1, {}, {"study": "s", "role": "finalist"})
    params = study.trials[best.trial].user_attrs["result"]["params"]
    result = {"params": params, "message": "it ended", "seed": 1, "epochs_trained": 1, "stop_reason": reason}
    write_entry(read_settings(home).spool, Entry(start, 2, "FAIL", None, result, ()), {})

    found = run_finalists("s", top=2, seeds=1, refit=False, home=home).verdict
    assert found
    trained = {finalist.candidate.trial for finalist in found.finalists if finalist.values}
    assert trained == ({other.trial} if reason == "diverged" else {best.trial, other.trial})


def test_a_record_that_an_earlier_version_emptied_is_none(tmp_path: Path):
    """It emptied the record of a finalist that failed, so that the finalist was trained again."""
    home = tmp_path / "home"
    run_small(home, "s", trials=1, width=[8], epochs=1)
    study = load_writable_study(read_settings(home), "s")
    study.set_user_attr(RECORD + "finalist-0000-seed-1", {})
    assert recorded_results(study) == {}
    found = run_finalists("s", top=1, seeds=1, refit=False, home=home).verdict
    assert found
    assert [len(finalist.values) for finalist in found.finalists] == [1]
