"""Results of a study for Python: its trials as a table, its figures, and the models of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InputError, NotFoundError, SpecError
from search.home.html import html_line, html_table
from search.home.settings import read_settings
from search.notebook.live import NotebookTable, notebook_observer
from search.optimization.leaderboard import TrialRow, leaderboard
from search.optimization.studies import load_own_study
from search.reporting import comparison
from search.reporting.display import baseline, over_folds, score, seconds
from search.reporting.trial_table import mark, short
from search.scheduling import run_study as scheduling
from search.scheduling.progress import Observer
from search.spec.study_spec import StudySpec
from search.storage import StoredStudy
from search.storage.attributes import ELAPSED

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from plotly.graph_objects import Figure

_TOP = 10
_COLUMNS = (">trial", "state", "", ">epochs", ">time", "configuration")


class Trial(TrialRow):
    """A line of a leaderboard whose model can be loaded.

    Attributes:
        study: The study's name.
        home: Where the databases are; None for the default.
    """

    __slots__ = ("home", "study")

    study: str
    home: Path | None

    @classmethod
    def of(cls, row: TrialRow, study: str, home: Path | None) -> Trial:
        """The trial of a row."""
        made = cls(*_values(row))
        object.__setattr__(made, "study", study)
        object.__setattr__(made, "home", home)
        return made

    def __eq__(self, other: object) -> bool:
        """Whether the rows are equal."""
        return isinstance(other, TrialRow) and _values(self) == _values(other)

    __hash__ = TrialRow.__hash__

    def __reduce__(self) -> tuple[object, ...]:
        return Trial.of, (TrialRow(*_values(self)), self.study, self.home)

    def load_model(self) -> keras.Model:
        """Loads the model of the trial's best epoch, which takes rows as their source holds them.

        Returns:
            A Keras model, compiled as it was trained. It gives class probabilities, or the values of a regression.

        Raises:
            NotFoundError: The trial kept no model.
            UnavailableError: MLflow does not have the file any more, or cannot be reached.
        """
        from search.notebook.models import load_model

        return load_model(self.study, self.number, self.home)

    def _repr_html_(self) -> str:
        known = {"trial": self.number, self.objective: self.value, "state": self.state.lower()}
        known |= {"configuration": short(self.params), "best epoch": self.best_epoch, "time": seconds(self.duration_s)}
        return html_table(known.items())


def _values(row: TrialRow) -> tuple[Any, ...]:
    return tuple(getattr(row, field.name) for field in fields(row))


@dataclass(frozen=True, slots=True, repr=False)
class StudyResult(scheduling.StudyResult):
    """The result of a search, or a study of an earlier day.

    Attributes:
        study: The study's name.
        rows: Every trial, the best first.
        wall_s: Seconds this run took; of a loaded study those of all its runs.
        interrupted: Whether Ctrl-C ended it; to resume, call it again.
        undelivered: Runs that MLflow does not have yet; they wait in the spool.
        n_trained: Trials that this run finished; 0 where the study had used its budget before.
        waited_s: Seconds that the slots of this run waited for results of other slots, together.
        waited_share: That time as a share of the time that they had.
        home: Where the databases are; None for the default.
    """

    home: Path | None = None

    @property
    def best(self) -> Trial | None:
        """The best complete trial."""
        row = next((row for row in self.rows if row.state == "COMPLETE"), None)
        return row if row is None or isinstance(row, Trial) else Trial.of(row, self.study, self.home)

    @property
    def trials(self) -> pd.DataFrame:
        """The trials as a pandas frame, the best first, one column a hyperparameter."""
        return self.to_frame()

    def plot_history(self) -> Figure:
        """Each trial's value, and the best so far."""
        return self._chart("history")

    def plot_importances(self) -> Figure:
        """How much each hyperparameter matters.

        Raises:
            InputError: There are too few trials to tell; the same for the other figures.
        """
        return self._chart("importances")

    def plot_parallel(self) -> Figure:
        """A line a trial over its value and its hyperparameters."""
        return self._chart("parallel")

    def plot_slice(self) -> Figure:
        """The value against one hyperparameter at a time."""
        return self._chart("slices")

    def plot_contour(self) -> Figure:
        """The value over the two most important hyperparameters."""
        return self._chart("contour")

    def plot_timeline(self) -> Figure:
        """What each slot trained when, and where it waited."""
        return self._chart("timeline")

    def plot_curves(self, top: int | None = 5) -> Figure:
        """Learning curves of the best complete trials, on training rows too; of all trials where ``top`` is None."""
        if top is None:
            return self._chart("all_curves")
        if top < 1:
            raise InputError(f"top: must be at least 1, or None for all trials, got {top}")
        from search.optimization.leaderboard import objective_of
        from search.reporting.charts import best_curves
        from search.reporting.histories import histories

        study = self._study()
        return best_curves(objective_of(study.user_attrs), histories(study, read_settings(self.home), top))

    def plot_confusion(self) -> Figure:
        """The confusion matrix of the best trial's model on the validation rows; the test rows stay held out.

        Raises:
            InputError: The study is a regression.
        """
        from search.notebook.models import confusion_of

        return confusion_of(self.study, self._best_number(), self.home)

    def plot_residuals(self) -> Figure:
        """True minus predicted values of the validation rows, by the best trial's model of a regression.

        Raises:
            InputError: The study is a classification.
        """
        from search.notebook.models import residuals_of

        return residuals_of(self.study, self._best_number(), self.home)

    def _best_number(self) -> int:
        if self.best is None:
            raise NotFoundError(f"study {self.study!r}: must have a complete trial, but has none yet: train more")
        return self.best.number

    def _chart(self, name: str) -> Figure:
        from search.reporting.charts import CHARTS, study_points

        return CHARTS[name](study_points(self._study()))

    def _study(self) -> StoredStudy:
        return load_own_study(read_settings(self.home), self.study)

    def __repr__(self) -> str:
        best = "none complete" if self.best is None else f"best {score(self.best.value)} of trial {self.best.number}"
        return f"StudyResult(study={self.study!r}, {len(self.rows)} trials, {best})"

    def _repr_html_(self) -> str:
        states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
        counts = ", ".join(f"{self.count(state)} {name}" for name, state in states.items())
        rows = [
            (r.number, r.state.lower(), mark(r), r.epochs_trained, seconds(r.duration_s), short(r.params))
            for r in self.rows[:_TOP]
        ]
        objective = self.rows[0].objective if self.rows else "value"
        table = html_table(
            [(number, score(r.value), *rest) for (number, *rest), r in zip(rows, self.rows, strict=False)],
            (_COLUMNS[0], f">{objective}", *_COLUMNS[1:]),
        )
        more = f"and {len(self.rows) - _TOP} more trials" if len(self.rows) > _TOP else None
        head = f"study {self.study}{over_folds(self.rows)}: {counts} in {seconds(self.wall_s)}"
        beneath = [html_line(line) for line in (more, *baseline(self.rows)) if line]
        return html_line(head, is_strong=True) + table + "".join(beneath)


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
        SpecError: The study of that name searches something else, or its budget is for trials and seeds.
        UnavailableError: A database, the tracking server, the home or the cluster cannot be used.
    """
    if spec.budget == "auto":
        raise SpecError('search.budget: must not be "auto" here, which runs trials alone: call run_automatically')
    watching = observer or notebook_observer()
    found = scheduling.run_study(spec, home=home, pool=pool, observer=watching)
    if isinstance(watching, NotebookTable):
        watching.end()
    trials = tuple(Trial.of(row, found.study, home) for row in found.rows)
    return StudyResult(
        found.study, trials, found.wall_s, found.interrupted, found.undelivered, found.n_trained, found.waited_s,
        found.waited_share, home,
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
    study = load_own_study(read_settings(home), name)
    trials = tuple(Trial.of(row, name, home) for row in leaderboard(study))
    return StudyResult(name, trials, float(study.user_attrs.get(ELAPSED, 0.0)), interrupted=False, home=home)


def compare(names: Sequence[str | int | StudyResult | Trial], *, home: Path | None = None) -> comparison.Comparison:
    """Puts trials or studies side by side, what differs first.

    Args:
        names: Studies, ``["digits", "fashion"]``; a study and numbers of its trials, ``["digits", 3, 17]``; results, or
            trials of results.
        home: Where the databases are; by default that of the first result, else as in ``run_study``.

    Raises:
        InputError: There are fewer than two, or they are trials of several studies or results of several homes.
        NotFoundError: There is no such study or trial.
    """
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
