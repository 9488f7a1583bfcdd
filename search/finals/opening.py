"""Opens a study for its finals or its held-out test, in one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.data.datasets import Dataset
from search.devices.work import Shape
from search.home.settings import read_settings
from search.optimization.provenance import open_runs, run_tags
from search.optimization.studies import load_own_study, load_writable_study, precision_rule, study_data
from search.scheduling.context import StudyContext
from search.scheduling.progress import Observer
from search.scheduling.recovery import Recovery
from search.storage.database import storage_errors
from search.storage.sharing import sole_lock
from search.tracking.connection import open_home
from search.tracking.tracker import Tracker


@contextmanager
def exclusive_study(name: str, home: Path | None, observer: Observer) -> Iterator[tuple[StudyContext, Dataset]]:
    """Locks a study, and sends what earlier processes left in the spool to MLflow.

    Yields:
        The study and its dataset. The tracker is connected; it closes with the block, or earlier.

    Raises:
        NotFoundError: There is no such study.
        SpecError: The dataset was changed since.
        UnavailableError: A database or the tracking server cannot be used, or another process has the lock.
    """
    settings = read_settings(home)
    observer.waiting(f"reading the data of study {name}")
    spec, dataset = study_data(load_own_study(settings, name), settings)
    observer.waiting("opening the databases, and waiting for MLflow")
    open_home(settings)
    with storage_errors(settings), sole_lock(settings, name) as own:
        study = load_writable_study(own, name)
        with Tracker(lambda: open_runs(own, spec, dataset), observer.note) as tracker:
            tracker.wait_connected()
            Recovery(study, own, tracker).deliver_left()
            shape = Shape.of(dataset, precision_rule(study.user_attrs))
            yield StudyContext(spec, study, own, tracker, observer, shape, run_tags(dataset)), dataset
