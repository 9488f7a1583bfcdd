"""What several files share: a home for the command line (MLflow takes seconds to make one), places to search in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import STUDY, Answer, call, files
from databases import DATABASES, SPACE
from fake_driver import Driver, FakeDriver, FakeGpu, fake_machine
from mlflow import MlflowClient
from pool_driver import GPU
from trainings import SMALL
from world import World
from wrong_files import write_wrong_files

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.data.loading import load
from search.home.settings import Settings, prepare_home, read_settings
from search.spec.study_spec import StudySpec


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that they share, each with studies and runs of its own."""
    return tmp_path_factory.mktemp("command-line") / "home"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all whole studies: making MLflow's database takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study ``tiny``."""
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def first_run(study_file: Path, shared_home: Path) -> Answer:
    """Its run, with the output on no terminal."""
    return call("run", study_file, "--home", shared_home, "--json")


@pytest.fixture
def finished_home(first_run: Answer, shared_home: Path) -> Path:
    """The home once it is finished."""
    return shared_home


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A name that no other test registers a model under."""
    return f"model-{_hashed(request)}"


@pytest.fixture(scope="session")
def two_epochs(shared_home: Path) -> Answer:
    """A training of two epochs."""
    return call("train", "digits", *map(str, SMALL), "--epochs", "2", "--seed", "3", "--home", shared_home, "--json")


@pytest.fixture
def client(two_epochs: Answer, shared_home: Path) -> MlflowClient:
    """MLflow's own eyes on the shared home."""
    return MlflowClient(f"sqlite:///{shared_home}/mlflow.db")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with everything that can be wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    write_wrong_files(folder)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, which must be left as it was found."""
    for name in ("MLP_SEARCH_HOME", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "MLP_SEARCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what is said of memory is said of cores
    monkeypatch.chdir(folder)
    before = files(folder)
    yield folder
    assert files(folder) == before


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Puts a fake driver with these GPUs in the place of the machine's own."""

    def install(gpus: Sequence[str | FakeGpu]) -> FakeDriver:
        fake = FakeDriver(tmp_path / "gpus.json")
        fake.hold(*(gpu if isinstance(gpu, FakeGpu) else FakeGpu(gpu) for gpu in gpus))
        fake.into_nvml(monkeypatch.setattr)
        return fake

    return install


@pytest.fixture(scope="module")
def fake_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine has the one GPU that the tests of pools have."""
    with fake_machine(tmp_path_factory.mktemp("driver") / "gpus.json", GPU):
        yield


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The dataset of the pools."""
    return load(DataConfig("digits", folds=1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One for each file."""
    settings = read_settings(tmp_path_factory.mktemp("home"), {})
    prepare_home(settings)
    return World(settings)


@pytest.fixture(scope="module")
def untracked(world: World) -> World:
    """The same home, for tests that read Optuna alone."""
    return replace(world, is_tracked=False)


@pytest.fixture(scope="module", params=DATABASES)
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A database of each kind, shared by the tests; each has studies of its own."""
    home = tmp_path_factory.mktemp("home")
    environ = {}
    if request.param == "postgresql":
        make: Callable[[str], str] = request.getfixturevalue("postgres")
        environ["OPTUNA_STORAGE"] = make("storage")
    settings = read_settings(home, environ)
    settings.locks.mkdir()
    return settings


@pytest.fixture
def spec(request: pytest.FixtureRequest) -> StudySpec:
    """A study of the test's own."""
    return StudySpec(name=_hashed(request), data=DataConfig("digits", folds=1), space=SPACE, trials=10)


def _hashed(request: pytest.FixtureRequest) -> str:
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
