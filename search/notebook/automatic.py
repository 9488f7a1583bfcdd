"""A budget for trials and seeds from Python, with a result that a notebook shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search import automatic
from search.home.html import html_line
from search.notebook.results import StudyResult
from search.notebook.studies import with_charts
from search.scheduling.progress import Observer
from search.spec.reading import require_spec
from search.spec.study_spec import StudySpec


@dataclass(frozen=True, slots=True)
class AutomaticResult(automatic.AutomaticResult):
    """The result of a budget for trials and seeds, whose search has charts."""

    search: StudyResult

    def _repr_html_(self) -> str:
        changed_over = html_line(self.changed_over) if self.changed_over else ""
        finals = "" if self.finals is None else self.finals._repr_html_()
        return f"{self.search._repr_html_()}{changed_over}{finals}"


def run_automatically(
    spec: StudySpec, *, home: Path | None = None, pool: str = "local", observer: Observer | None = None
) -> AutomaticResult:
    """Searches with a part of a study's budget and spends the rest on new seeds of its best configurations.

    Called again it resumes, in whichever of the two parts it was interrupted. In a notebook a table shows the progress,
    unless an observer is given.

    Args:
        spec: The study; its trials count all trainings, its timeout all of the time.
        home: As for ``run_study``, like the others.
        pool: See there.
        observer: See there.

    Raises:
        SpecError: The budget of a new study is too small to be shared; and as for ``run_study``, like the others.
        DataError: See there.
        UnavailableError: See there.
    """
    require_spec(spec)
    found = automatic.run_automatically(spec, home=home, pool=pool, observer=observer)
    if found.error:
        raise found.error
    return AutomaticResult(with_charts(found.search, home), found.finals, found.changed_over)
