"""A search, an earlier study and a comparison from Python, with results that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import InputError, SpecError
from search.home.settings import read_settings
from search.notebook.results import StudyResult, Trial
from search.optimization.leaderboard import TrialRow, leaderboard
from search.optimization.studies import load_own_study
from search.reporting import comparison
from search.scheduling import run_study as scheduling
from search.scheduling.progress import Observer
from search.spec.reading import require_spec
from search.spec.study_spec import StudySpec
from search.storage.attributes import ELAPSED


def run_study(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> StudyResult:
    """Starts a study, or resumes the one of that name, and runs it until its budget is spent.

    In a notebook a table shows the progress, unless an observer is given.

    Args:
        spec: The study, from ``read_spec`` or ``default_spec``.
        home: Folder of the databases; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.
        pool: ``local``, a process per core or GPU of this machine, or ``ray``, an actor per core or GPU of a cluster.
        observer: Watches the search.

    Returns:
        Every trial of the study, with its figures. Ctrl-C ends it early and cleanly.

    Raises:
        DataError: The dataset cannot be used.
        InputError: A name was given instead of a specification.
        SpecError: The study of that name searches something else, or its budget is for trials and seeds.
        UnavailableError: A database, the tracking server, the home or the cluster cannot be used.
    """
    require_spec(spec)
    if spec.budget == "auto":
        raise SpecError('search.budget: must not be "auto" here, which runs trials alone: call run_automatically')
    return with_charts(scheduling.run_study(spec, home=home, pool=pool, observer=observer), home)


def with_charts(found: scheduling.StudyResult, home: Path | None) -> StudyResult:
    """The result of a search for a notebook."""
    home = read_settings(home).home.resolve()  # a notebook may change its folder
    trials = tuple(Trial.of(row, found.study, home) for row in found.rows)
    return StudyResult(
        found.study, trials, found.wall_s, found.interrupted, found.undelivered, found.n_trained, found.waited_s,
        found.waited_share, found.n_slots, found.asked_to_stop, home,
    )  # fmt: skip


def load_study(name: str, *, home: Path | None = None) -> StudyResult:
    """Loads a study that was searched before, finished or not.

    Args:
        name: The study.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Returns:
        The same as ``run_study`` returned, with the time of all its runs.

    Raises:
        NotFoundError: There is no study of that name.
        UnavailableError: The database cannot be used.
    """
    settings = read_settings(home)
    study, home = load_own_study(settings, name), settings.home.resolve()
    trials = tuple(Trial.of(row, name, home) for row in leaderboard(study))
    return StudyResult(name, trials, float(study.user_attrs.get(ELAPSED, 0.0)), interrupted=False, home=home)


def compare(names: Iterable[str | int | StudyResult | Trial], *, home: Path | None = None) -> comparison.Comparison:
    """Puts trials or studies side by side, what differs first.

    Args:
        names: Studies, ``["digits", "fashion"]``; a study and numbers of its trials, ``["digits", 3, 17]``; results, or
            trials of results.
        home: Where the databases are; by default that of the first result, else as in ``run_study``.

    Raises:
        InputError: There are fewer than two, or they are trials of several studies or results of several homes.
        NotFoundError: There is no such study or trial.
    """
    if isinstance(names, str | StudyResult | Trial) or not isinstance(names, Iterable):
        example = f'["{names}", "OTHER"]' if isinstance(names, str) else "[ONE, OTHER]"
        raise InputError(f"compare: must be a list of studies or trials, got {names!r}: write {example}")
    names = list(names)
    if any(isinstance(item, TrialRow) and not isinstance(item, Trial) for item in names):
        raise InputError("compare: trials must be those of a result: search.load_study has them as rows")
    given = [item for item in names if isinstance(item, StudyResult | Trial)]
    if home is None and len({item.home for item in given}) > 1:
        raise InputError("compare: must be of one home, got results of several: compare those of each home")
    where = home if home or not given else given[0].home
    if names and all(isinstance(item, Trial) for item in names) and len({item.study for item in given}) == 1:
        numbers = [str(item.number) for item in given if isinstance(item, Trial)]
        return comparison.compare([given[0].study, *numbers], home=where)
    if any(isinstance(item, Trial) for item in names):
        raise InputError("compare: trials must be of one study, got others beside them: compare results instead")
    texts = [item.study if isinstance(item, StudyResult) else str(item) for item in names]
    return comparison.compare(texts, home=where)
