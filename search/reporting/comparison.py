"""Puts trials or studies side by side, what differs first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from pipelines.errors import InputError
from search.home.html import HtmlResult, html_line, html_table
from search.home.settings import read_settings
from search.home.text import counted, wrapped
from search.optimization.leaderboard import TrialRow, leaderboard, row_of
from search.optimization.studies import load_own_study, load_study, study_names
from search.reporting.display import score, seconds
from search.reporting.screen import Table
from search.reporting.summaries import StudySummary, studies
from search.spec import spec_from_dict
from search.storage.attributes import SPEC

_OF_A_TRIAL = (
    "state", "value", "std", "best_epoch", "epochs_trained", "duration_s", "device", "precision", "stop_reason",
    "is_start",
)  # fmt: skip
_OF_A_STUDY = ("best_value", "complete", "pruned", "failed", "elapsed_s", "linear", "constant")


@dataclass(frozen=True, slots=True)
class Comparison(HtmlResult):
    """Trials or studies side by side.

    Attributes:
        what: ``trials`` or ``studies``.
        names: Of each that is compared.
        values: By the name of a property, its value for each; None where it has none.
        objective: The validation metric of the values; "" where studies have several.
    """

    what: str
    names: tuple[str, ...]
    values: Mapping[str, tuple[object, ...]]
    objective: str

    @property
    def differs(self) -> list[str]:
        """The properties that are not the same for all."""
        return [name for name, found in self.values.items() if any(value != found[0] for value in found)]

    def _repr_html_(self) -> str:
        beneath = self._same()
        return html_table(self._rows(self.names), self._columns(self.names)) + (html_line(beneath) if beneath else "")

    def _same(self) -> str:
        """The line about the properties that are the same for all and have a value; "" where there are none."""
        firsts = {name: found[0] for name, found in self.values.items()}
        known = {name: value for name, value in firsts.items() if value not in (None, "") and value is not False}
        differs = self.differs
        same = [f"{_label(name, self.objective)} {_shown(name, known[name])}" for name in known if name not in differs]
        return f"the same for all: {', '.join(same)}" if same else ""

    def to_json(self) -> dict[str, object]:
        """The comparison as a document."""
        differs = self.differs
        same = {name: found[0] for name, found in self.values.items() if name not in differs and found[0] is not None}
        different = {name: list(self.values[name]) for name in differs}
        return {self.what: list(self.names), "objective": self.objective, "differs": different, "same": same}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws as many columns in a table as fit, and what is the same for all beneath."""
        for names in self._groups(options.max_width):
            yield self._table(names)
        if beneath := self._same():
            yield Text("\n".join(wrapped(beneath, options.max_width)), overflow="ignore")

    def _groups(self, width: int) -> Iterator[tuple[str, ...]]:
        """The columns of each table."""
        left = self.names
        while left:
            n_columns = len(left)
            while n_columns > 1 and self._table(left[:n_columns]).width > width:
                n_columns -= 1
            yield left[:n_columns]
            left = left[n_columns:]

    def _table(self, names: Sequence[str]) -> Table:
        return Table(self._columns(names), self._rows(names))

    def _columns(self, names: Sequence[str]) -> tuple[str, ...]:
        singular = {"trials": "trial", "studies": "study"}[self.what]
        return (singular, *(f">{name}" for name in names))

    def _rows(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        places = [self.names.index(name) for name in names]
        return [
            (_label(name, self.objective), *(_shown(name, self.values[name][place]) for place in places))
            for name in self.differs
        ]


def compare(names: Sequence[str], *, home: Path | None = None) -> Comparison:
    """Compares trials of a study, ``["digits", "3", "17"]``, or studies, ``["digits", "fashion"]``.

    Raises:
        InputError: There are fewer than two.
        NotFoundError: There is no such study or trial.
    """
    distinct = list(dict.fromkeys(names))
    if len(distinct) > 1 and set(distinct) <= set(study_names(read_settings(home))):
        return _studies(distinct, home)
    if len(names) > 2 and all(name.isdecimal() for name in names[1:]):
        return _trials(names[0], list(dict.fromkeys(int(name) for name in names[1:])), home)
    if len(names) == 2 and names[1].isdecimal():
        raise InputError(f"compare: must have two trials or more, got one of study {names[0]!r}: add a NUMBER")
    if len(distinct) < 2:
        raise InputError(f"compare: must have two studies or two trials, got {' '.join(names)!r}: add another")
    return _studies(distinct, home)


def _trials(study: str, numbers: Sequence[int], home: Path | None) -> Comparison:
    rows = leaderboard(load_study(read_settings(home), study))
    chosen = [row_of(rows, number, study) for number in numbers]
    if len(numbers) < 2:
        raise InputError(f"compare: must have two trials or more, got {numbers[0]} only: add another NUMBER")
    return side_by_side(chosen)


def side_by_side(rows: Sequence[TrialRow]) -> Comparison:
    """Compares trials of one study."""
    known = [{name: getattr(row, name) for name in _OF_A_TRIAL} | row.params for row in rows]
    return Comparison("trials", tuple(str(row.number) for row in rows), _by_property(known), rows[0].objective)


def _studies(names: Sequence[str], home: Path | None) -> Comparison:
    settings = read_settings(home)
    specs = [load_own_study(settings, name).user_attrs[SPEC] for name in names]
    summaries = {summary.name: summary for summary in studies(home=home)}
    known = [_properties(spec, summaries[name]) for name, spec in zip(names, specs, strict=True)]
    objectives = {summaries[name].objective for name in names}
    return Comparison("studies", tuple(names), _by_property(known), objectives.pop() if len(objectives) == 1 else "")


def _properties(recorded: Mapping[str, object], summary: StudySummary) -> dict[str, object]:
    """A study's results and settings, by their place in the study file."""
    spec = spec_from_dict(dict(recorded), "recorded study")
    made: dict[str, object] = {name: asdict(summary)[name] for name in _OF_A_STUDY}
    for table, values in spec.to_json().items():
        if table == "space":
            made |= {f"space.{name}": str(dimension) for name, dimension in spec.space.dimensions.items()}
        elif isinstance(values, dict):
            made |= {f"{table}.{key}": value for key, value in values.items() if (table, key) != ("study", "name")}
    return made | {"start": counted(len(spec.start), "configuration")}


def _by_property(known: Sequence[Mapping[str, object]]) -> dict[str, tuple[object, ...]]:
    names = dict.fromkeys(name for each in known for name in each)
    return {name: tuple(each.get(name) for each in known) for name in names}


def _label(name: str, objective: str) -> str:
    labels = {"value": objective, "best_value": f"best {objective}".strip(), "duration_s": "time", "elapsed_s": "time"}
    labels["std"] = "std over folds"
    return labels.get(name, name if "." in name else name.replace("_", " "))


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in ("duration_s", "elapsed_s") and isinstance(value, float):
        return seconds(value)
    if name in ("value", "std", "best_value", "linear", "constant") and isinstance(value, float):
        return score(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
