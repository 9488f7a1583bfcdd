"""A trial of a result, whose model can be loaded."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.home.html import html_table
from search.optimization.leaderboard import TrialRow
from search.reporting.display import seconds
from search.reporting.trial_table import short

if TYPE_CHECKING:
    import keras


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
