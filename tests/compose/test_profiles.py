"""Services of a profile: a Ray cluster of several containers, and Optuna's dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from containers import Stack
from waiting import wait_for

pytestmark = pytest.mark.compose

COUNT_NODES = "import ray; ray.init('auto', log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"


@pytest.fixture(scope="module")
def devices(stack: Stack) -> Iterator[list[str]]:
    """The devices of the trials of the study ``many``, on a head and two workers."""
    stack.compose("--profile", "cluster", "build", "ray-head", timeout_s=1000)
    try:
        stack.compose("--profile", "cluster", "up", "-d", "--scale", "ray-worker=2", "ray-worker")
        wait_for(lambda: count_nodes(stack) == "3", "both workers to join")
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
        wait_for(lambda: "many" in shown_studies(stack), lambda: stack.compose("logs", "--tail=40", "dashboard").stdout)
    finally:
        stack.compose("--profile", "dashboard", "rm", "--stop", "--force", "dashboard")


def count_nodes(stack: Stack) -> str:
    return stack.compose("exec", "-T", "ray-head", "python", "-c", COUNT_NODES).stdout.split()[-1]


def shown_studies(stack: Stack) -> list[str]:
    """The names of the studies that Optuna's dashboard lists."""
    with suppress(requests.ConnectionError):
        answer = requests.get(f"http://127.0.0.1:{stack.settings['DASHBOARD_PORT']}/api/studies", timeout=30)
        return [study["study_name"] for study in answer.json()["study_summaries"]]
    return []
