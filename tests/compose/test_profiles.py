"""What is there when asked for: a Ray cluster of several containers, and Optuna's dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from containers import PATIENCE_S, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1200)]

COUNT_NODES = "import ray; ray.init('auto', log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"


@pytest.fixture(scope="module")
def devices(stack: Stack) -> Iterator[list[str]]:
    """Where the trials of the study ``many`` trained, on a head and two workers."""
    stack.compose("--profile", "cluster", "build", "ray-head", timeout_s=1000)
    try:
        stack.compose("--profile", "cluster", "up", "-d", "--scale", "ray-worker=2", "ray-worker")
        until = time.monotonic() + PATIENCE_S
        while stack.compose("exec", "-T", "ray-head", "python", "-c", COUNT_NODES).stdout.split()[-1] != "3":
            assert time.monotonic() < until, "the workers do not join"
        run = ["run", "digits", "--study", "many", "--trials", "6", "--pool", "ray", "--json"]
        result = json.loads(stack.compose("exec", "-T", "ray-head", "mlp-search", *run).stdout)
        assert result["trials"]["complete"] + result["trials"]["pruned"] == 6
        yield [trial["device"] for trial in stack.search("trials", "many")]
    finally:
        stack.compose("--profile", "cluster", "rm", "--stop", "--force", "ray-worker", "ray-head")


def test_a_study_on_every_container_of_a_ray_cluster(stack: Stack, devices: list[str]) -> None:
    nodes = {device.partition("@")[2] for device in devices}
    assert len(nodes) == 2, "both workers train, and the head does not"
    assert len(stack.runs("many")) == 6


def test_the_dashboard_shows_a_study(stack: Stack, devices: list[str]) -> None:
    try:
        stack.compose("--profile", "dashboard", "up", "-d", "dashboard")
        until, names = time.monotonic() + PATIENCE_S, []
        while "many" not in names:
            assert time.monotonic() < until, stack.compose("logs", "--tail=40", "dashboard").stdout
            with suppress(requests.ConnectionError):
                answer = requests.get(f"http://127.0.0.1:{stack.settings['DASHBOARD_PORT']}/api/studies", timeout=30)
                names = [study["study_name"] for study in answer.json()["study_summaries"]]
    finally:
        stack.compose("--profile", "dashboard", "rm", "--stop", "--force", "dashboard")
