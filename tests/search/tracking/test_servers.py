"""Tracking servers behind TLS, a token, or a proxy that has no ``/health``; addresses of other kinds."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.errors import UnavailableError
from search.home.settings import read_settings
from search.tracking.connection import require_answer

API = "/api/2.0/mlflow/experiments/search"


class FakeServer:
    """Answers ``/health`` and the search for experiments with statuses of its own; ``token`` must be sent with both."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.health, self.api, self.token = 200, 200, ""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = {"/health": fake.health, API: fake.api}.get(self.path, 404)
                if fake.token and self.headers.get("Authorization") != f"Bearer {fake.token}":
                    status = 401
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *given: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signed itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture(params=["any client", "known clients"])
def tls_server(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[FakeServer, bool]]:
    """A server behind TLS, and whether it wants its clients' certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if wants := request.param == "known clients":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    server = FakeServer(context)
    yield server, wants
    server.close()


def check(home: Path, url: str) -> None:
    require_answer(read_settings(home, {"MLFLOW_TRACKING_URI": url}))


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_is_refused_where_health_needs_none(server: FakeServer, tmp_path: Path, status: int) -> None:
    server.api = status
    with pytest.raises(UnavailableError, match=rf"refuses the login \(status {status}\)"):
        check(tmp_path, server.url)


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_INSECURE_TLS"])
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_mlflows_tls_variables_are_honoured(
    tls_server: tuple[FakeServer, bool],
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    server, wants = tls_server
    with pytest.raises(UnavailableError, match=r"TLS.*MLFLOW_TRACKING_SERVER_CERT_PATH"):
        check(tmp_path, server.url)
    monkeypatch.setenv(variable, "true" if variable.endswith("TLS") else str(certificate))
    if wants:
        with pytest.raises(UnavailableError):
            check(tmp_path, server.url)
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificate))
    check(tmp_path, server.url)


def test_a_certificate_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/none.pem")
    with pytest.raises(UnavailableError, match=r"/none\.pem"):
        check(tmp_path, "https://127.0.0.1:1")


def test_the_token_is_sent(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "t0ken"
    with pytest.raises(UnavailableError, match="MLFLOW_TRACKING_TOKEN"):
        check(tmp_path, server.url)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    check(tmp_path, server.url)


@pytest.mark.parametrize("health", [401, 403, 404])
def test_a_server_whose_api_answers_is_a_server(server: FakeServer, tmp_path: Path, health: int) -> None:
    server.health = health
    check(tmp_path, server.url)
    server.api = 404
    with pytest.raises(UnavailableError, match=f"/health.*{health}.*API.*404"):
        check(tmp_path, server.url)


def test_a_server_that_fails_is_none(server: FakeServer, tmp_path: Path) -> None:
    server.health = 503
    with pytest.raises(UnavailableError, match="503"):
        check(tmp_path, server.url)


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
@pytest.mark.parametrize(
    ("address", "about"),
    [
        *((address, "folders of runs") for address in ("file:///tmp/x", "file:/tmp/x", "file:x", "/tmp/x", "./mlruns")),
        *((address, "Databricks") for address in ("databricks", "databricks://me", "databricks-uc", "uc://x")),
    ],
)
def test_other_addresses_get_a_sentence_about_themselves(
    tmp_path: Path, variable: str, address: str, about: str
) -> None:
    with pytest.raises(UnavailableError, match=f"{variable}: must be the address of a server or a database.*{about}"):
        read_settings(tmp_path, {variable: address})
