"""The image: who runs in it, and what is not in it."""

from __future__ import annotations

import subprocess
import tarfile

import pytest
from containers import Stack, docker

pytestmark = pytest.mark.compose


@pytest.fixture(scope="module")
def users(stack: Stack) -> dict[str, str]:
    """The user id of each process in the long-running containers."""
    return {
        service: docker("top", stack.container(service), "-eo", "pid,uid,comm") for service in ("mlflow", "postgres")
    }


def test_nothing_runs_as_root(stack: Stack, users: dict[str, str]) -> None:
    assert docker("run", "--rm", "--entrypoint", "id", "mlp-search", "-u").strip() == "10001"
    for service, top in users.items():
        # Docker's own init is all that stays of the user that PostgreSQL's image starts as.
        roots = {line.split()[2] for line in top.splitlines()[1:] if line.split()[1] in ("0", "root")}
        assert roots <= ({"docker-init"} if service == "postgres" else set()), top


def test_a_container_cannot_change_itself(stack: Stack) -> None:
    tried = stack.compose("exec", "-T", "mlflow", "touch", "/opt/mlp-search/x", "/etc/x", "/x", check=False)
    assert tried.returncode != 0
    assert tried.stderr.count("Read-only file system") == 3


def test_ports_are_open_to_this_machine_alone(stack: Stack) -> None:
    published = docker("ps", "--filter", f"label=com.docker.compose.project={stack.project}", "--format", "{{.Ports}}")
    addresses = [port.split("->")[0] for line in published.splitlines() for port in line.split(", ") if "->" in port]
    assert addresses == [f"127.0.0.1:{stack.port}"]


def test_no_secret_is_in_the_image(stack: Stack) -> None:
    """Searches the history, the configuration and every file of every layer."""
    secrets = [value.encode() for key, value in stack.settings.items() if key.endswith(("PASSWORD", "KEY"))]
    history = docker("history", "--no-trunc", "mlp-search") + docker("inspect", "mlp-search")
    for word in (*(secret.decode() for secret in secrets), "PASSWORD", "index-url", "trusted-host", "pip.conf"):
        assert word not in history
    with subprocess.Popen(["docker", "save", "mlp-search"], stdout=subprocess.PIPE) as saved:
        assert saved.stdout
        with tarfile.open(fileobj=saved.stdout, mode="r|") as image:
            names = [name for layer in image if layer.size for name in search_layer(image, layer, secrets)]
    assert any(name.endswith("/search/cli/app.py") for name in names), "the layers were read"
    private = (".env", "pip.conf", ".netrc", ".pypirc")
    assert not [name for name in names if name.rpartition("/")[2] in private or name.startswith("src/")]


def search_layer(image: tarfile.TarFile, layer: tarfile.TarInfo, secrets: list[bytes]) -> list[str]:
    """Checks that a layer holds no secret and returns the names of its files."""
    content = image.extractfile(layer)
    assert content
    if not layer.name.endswith("layer.tar") and "blobs/" not in layer.name:
        text = content.read()
        assert not any(secret in text for secret in secrets)
        return []
    names = []
    with tarfile.open(fileobj=content, mode="r|*") as files:
        for file in files:
            names.append(file.name)
            if file.isfile() and (opened := files.extractfile(file)):
                text = opened.read()
                assert not any(secret in text for secret in secrets), file.name
    return names
