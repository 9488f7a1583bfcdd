"""Ray clusters of several nodes, all on this machine: nodes that die and join, and the output that a user sees."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from command_line import call
from forked import MODULE, Forked
from nodes import Nodes
from pool_driver import HP, LONG
from waiting import PATIENCE_S, wait_for

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.errors import UnavailableError
from search.devices.precision import cpu_has_bfloat16
from search.workers.pool import Event, Finished, Gone, Lost, Ready, Reported
from search.workers.tasks import Task

pytest.importorskip("ray")

from search.workers import ray_cluster, ray_pool
from search.workers.ray_pool import RayPool

SPACE = "[space]\nwidth = 1024\ndepth = 3\nepochs = 3\nbatch_size = 32\nlearning_rate = { low = 1e-4, high = 1e-2 }\n"
STUDY = f'[study]\nname = "NAME"\ntrials = 6\n[data]\nsource = "digits"\nfolds = 1\n{SPACE}[search]\npruner = "none"\n'
"""Trials of a second or two, so that a node can die while it trains one."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes(n_head_slots=1)  # its actors import TensorFlow, each its own
    yield nodes
    nodes.shutdown()


def gather(pool: RayPool, is_enough: Callable[[list[Event]], bool]) -> list[Event]:
    """Answers each report; returns the events once there are enough."""
    events: list[Event] = []
    until = time.monotonic() + PATIENCE_S
    while not is_enough(events):
        assert time.monotonic() < until, events[-20:]
        for event in pool.poll(1.0):
            if isinstance(event, Reported):
                pool.answer(event.slot, event.report.epoch, None)
            events.append(event)
    return events


@pytest.mark.chaos
def test_slots_leave_with_a_node_that_is_cut_off_and_return_with_it(nodes: Nodes) -> None:
    nodes.keep("second", "third")
    with closing(RayPool(load(DataConfig("digits")), nodes.address)) as pool:
        assert len(pool.slots) == 5
        events = gather(pool, lambda events: len(events) == 5)
        assert {event.slot for event in events if isinstance(event, Ready)} == set(pool.slots)
        busy, idle = (slot for slot in pool.slots if slot.device.endswith("@third"))
        pool.submit(busy, Task(7, LONG, 0))

        nodes.cut_off("third")
        events = gather(pool, lambda events: sum(isinstance(event, Gone) for event in events) == 2)
        ends = [event for event in events if not isinstance(event, Reported)]
        assert ends == [Lost(busy, 7, f"the node of {busy.device} is gone"), Gone(busy), Gone(idle)]
        assert len(pool.slots) == 3
        assert not [slot for slot in pool.slots if slot.device.endswith("@third")]

        nodes.come_back("third")
        events = gather(pool, lambda events: any(isinstance(event, Ready) for event in events))
        [new] = [event.slot for event in events if isinstance(event, Ready)]
        assert new.device.endswith("@third")
        assert new.number > 4, "a slot's number is its own for good"
        pool.submit(new, Task(99, HP, 0))
        events = gather(pool, lambda events: any(isinstance(event, Finished) for event in events))
        assert len(pool.slots) == 5


def test_a_study_keeps_its_exact_budget_when_a_node_dies(nodes: Nodes, tmp_path: Path) -> None:
    """A user gets one line of JSON on stdout, our own lines on stderr, and no output of Ray."""
    nodes.keep("doomed")
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace("NAME", "nodes"))
    errors = tmp_path / "stderr.txt"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, *MODULE, "run", *options(file, tmp_path)],
            env=os.environ | {"RAY_ADDRESS": nodes.address},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    wait_for_lines(errors, r"trial-00\d\d complete", 2, process)
    nodes.kill("doomed")
    out, _ = process.communicate(timeout=PATIENCE_S)
    # Ray's core reports that it recovers the rows from another node; the settings that stop that line print another.
    lines = [line for line in errors.read_text().splitlines() if "Attempting to recover 1 lost objects" not in line]
    assert process.returncode == 0, lines
    assert out.count("\n") == 1
    assert json.loads(out)["trials"] == {"complete": 6, "pruned": 0, "failed": 0}
    assert [line for line in lines if re.search(r"trial-00\d\d: the .* retrying$", line)], lines
    assert [
        line
        for line in lines
        if not re.match(r"trial-00\d\d|\d+ of 6 trials|cpu:\d@doomed is gone|next:|      mlp-search ", line)
    ] == []
    rows = call("trials", "nodes", "--home", tmp_path / "home", "--json").json()
    assert sorted(row["number"] for row in rows) == list(range(6))
    assert {row["precision"] for row in rows} == {"bfloat16" if cpu_has_bfloat16() else "float32"}, "wide networks"


def test_ctrl_c_ends_the_ray_that_a_study_has_started_and_leaves_no_process(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(STUDY.replace("NAME", "stopped"))
    errors = tmp_path / "stderr.txt"
    with errors.open("w") as stderr:
        process = Forked(
            [*MODULE, "run", *options(file, tmp_path), "--workers", 1], stderr=stderr, start_new_session=True
        )
    wait_for_lines(errors, r"trial-00\d\d complete", 1, process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert [member for member in family if member.name().startswith("ray::SlotActor")]
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130
    assert process.stdout
    out = process.stdout.read()
    assert "Traceback" not in errors.read_text()
    assert not psutil.wait_procs(family, timeout=PATIENCE_S)[1]
    assert 1 <= json.loads(out)["trials"]["complete"] < 6


def options(file: Path, folder: Path) -> tuple[str | Path, ...]:
    return file, "--home", folder / "home", "--pool", "ray", "--json"


def wait_for_lines(errors: Path, pattern: str, times: int, process: subprocess.Popen[str] | Forked) -> None:
    def is_there() -> bool:
        return len(re.findall(pattern, errors.read_text())) >= times or process.poll() is not None

    wait_for(is_there, lambda: f"{pattern!r} in {errors.read_text()}")
    assert len(re.findall(pattern, errors.read_text())) >= times, errors.read_text()


def test_a_cluster_without_a_free_slot_is_an_error_after_a_time(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "_PATIENCE_S", 1.0)
    dataset = load(DataConfig("digits"))
    with closing(RayPool(dataset, nodes.address, count=0)) as pool:
        assert pool.slots == []
        expected = r"has had no free core or GPU for 1 s: `ray status` shows who has them$"
        with pytest.raises(UnavailableError, match=expected):
            gather(pool, lambda events: False)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"error: RAY_ADDRESS: no Ray cluster answers at 127\.0\.0\.1:1: .*[Rr]efused"),
        ("ray://127.0.0.1:10001", r"error: RAY_ADDRESS: must be HOST:PORT .*, got 'ray://127\.0\.0\.1:10001': .+"),
        ("127.0.0.1:99999", r"error: RAY_ADDRESS: must be HOST:PORT .+, with a port from 1 to 65535, .+:99999'.+"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(
    address: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    answer = call("run", "digits", "--folds", 1, "--pool", "ray", "--trials", 12, "--home", tmp_path)
    assert answer.code == 1
    assert answer.out == ""
    assert re.fullmatch(message + "\n", answer.err)


def test_a_port_out_of_range_is_refused_also_where_its_remainder_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # sockets take a port modulo 65536
        port = server.getsockname()[1]
        for wrong in (f"{port + 65536}", "0", "\u0663", "9" * 5000):
            with pytest.raises(UnavailableError, match=r"^RAY_ADDRESS: must be HOST:PORT"):
                ray_cluster.connect(f"127.0.0.1:{wrong}", None)


def test_a_token_that_is_missing_is_one_line(tmp_path: Path) -> None:
    """In a process of its own: Ray reads the token once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        script = f"from search.workers import ray_cluster; ray_cluster.connect({address!r}, None)"
        without = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
        ended = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **without}, capture_output=True, text=True
        )
    assert "UnavailableError: RAY_ADDRESS: cannot join the Ray cluster at 127.0.0.1:" in ended.stderr.splitlines()[-1]
    assert "RAY_AUTH_TOKEN" in ended.stderr.splitlines()[-1]


def test_without_ray_the_command_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = call("run", "digits", "--folds", 1, "--pool", "ray", "--home", tmp_path)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "error: --pool ray needs Ray, which is not installed: pip install 'mlp-search[ray]'\n"
    assert not list(tmp_path.iterdir())
