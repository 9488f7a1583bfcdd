"""Results of a study for Python: its trials as a table, its figures, and the models of its trials."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError
from search.home.html import html_line, html_table
from search.home.settings import read_settings
from search.home.text import counted
from search.optimization.leaderboard import TrialRow
from search.optimization.studies import load_own_study
from search.reporting.configurations import short
from search.reporting.display import baseline, over_folds, score, seconds
from search.reporting.trial_table import legend, mark
from search.scheduling import run_study as scheduling
from search.spec.rules import as_count
from search.storage import StoredStudy

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from plotly.graph_objects import Figure

    from search.notebook.models import ValidationRows

_TOP = 10


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
        """Loads the model of the trial's best epoch, the run's ``model.h5``.

        Returns:
            A Keras model, compiled as it was trained. It takes pictures and arrays as their source holds them, and the
            encoded features of a table; ``validation_rows`` has such rows.
            It gives class probabilities, or the values of a regression.

        Raises:
            NotFoundError: The trial kept no model.
            UnavailableError: MLflow does not have the file any more, or cannot be reached.
        """
        from search.notebook.models import load_model

        return load_model(self.study, self.number, self.home)

    def _repr_html_(self) -> str:
        known = {"trial": self.number, self.objective: self.value, "state": self.state.lower()}
        known |= {"configuration": short(self.params), "best epoch": self.best_epoch, "time": seconds(self.duration_s)}
        marks = legend([self])
        known |= {"marked": marks} if marks else {}
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
        n_slots: Slots of this run at its end; 0 where nothing was to be trained.
        asked_to_stop: Whether Ctrl-C was pressed, also in the last epoch of a timeout.
        home: Where the databases are; None for the default.
    """

    rows: tuple[Trial, ...]
    home: Path | None = None

    @property
    def best(self) -> Trial | None:
        """The best complete trial."""
        return next((row for row in self.rows if row.state == "COMPLETE"), None)

    @property
    def trials(self) -> pd.DataFrame:
        """The trials as a pandas frame, the best first, one column a hyperparameter."""
        return self.to_frame()

    def validation_rows(self) -> ValidationRows:
        """The rows that the trials are validated on, and the fold of each; the test rows stay held out.

        Returns:
            ``x`` as the trials' models take it, ``y`` and ``fold``, each with a row for each validation row.

        Raises:
            SpecError: The dataset was changed since.
        """
        from search.notebook.models import validation_rows

        return validation_rows(self.study, self.home)

    def plot_history(self) -> Figure:
        """Each trial's value, and the best so far."""
        return self._chart("history")

    def plot_importances(self) -> Figure:
        """The importance of each hyperparameter.

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
        """The trials of each slot over time, and its waits."""
        return self._chart("timeline")

    def plot_curves(self, top: int | None = 5) -> Figure:
        """Learning curves of the best complete trials, on training rows too; of all trials where ``top`` is None."""
        if top is None:
            return self._chart("all_curves")
        top = as_count(top, "top")
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
        rows = self.rows[:_TOP]
        has_std = any(row.std is not None for row in rows)
        columns: dict[str, list[object]] = {
            ">trial": [row.number for row in rows],
            f">{rows[0].objective if rows else 'value'}": [score(row.value) for row in rows],
            **({">std": [score(row.std) for row in rows]} if has_std else {}),
            "state": [row.state.lower() for row in rows],
            "": [mark(row) for row in rows],
            ">epochs": [row.epochs_trained for row in rows],
            ">time": [seconds(row.duration_s) for row in rows],
            "configuration": [short(row.params) for row in rows],
        }
        table = html_table(list(zip(*columns.values(), strict=True)), tuple(columns))
        more = f"and {counted(len(self.rows) - _TOP, 'more trial')}" if len(self.rows) > _TOP else None
        head = f"study {self.study}{over_folds(self.rows)}: {counts} in {seconds(self.wall_s)}"
        beneath = [html_line(line) for line in (more, legend(rows), *baseline(self.rows)) if line]
        return html_line(head, is_strong=True) + table + "".join(beneath)
