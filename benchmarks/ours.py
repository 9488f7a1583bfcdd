"""mlp-search in the benchmarks: study files, the command that runs them, and its results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import harness
from peers.problem import CONFIGURATIONS, PANEL_EPOCHS, Range, race_space

from search.spec.reading import default_spec

_DEFAULT_VARIANT = ("tpe", "asha", "searched", "start")


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of the search in the race.

    Attributes:
        sampler: ``tpe`` or ``random``.
        pruner: ``asha``, ``hyperband``, ``median`` or ``none``.
        schedule: ``searched``, or the one schedule that all trials have: ``constant`` or ``cosine``.
        start: ``start`` with the known configurations as first trials, ``cold`` without.
    """

    sampler: str
    pruner: str
    schedule: str
    start: str

    @classmethod
    def parse(cls, name: str) -> Variant:
        """Reads ``tpe-asha-cosine-cold``; a part left out is as in ``tpe-asha-searched-start``.

        Raises:
            SystemExit: A part is unknown.
        """
        allowed = (
            ("tpe", "random"),
            ("asha", "hyperband", "median", "none"),
            ("searched", "constant", "cosine"),
            ("start", "cold"),
        )
        chosen = list(_DEFAULT_VARIANT)
        for part in name.split("-"):
            place = next((i for i, parts in enumerate(allowed) if part in parts), None)
            if place is None:
                known = ", ".join(part for parts in allowed for part in parts)
                raise SystemExit(f"variant {name}: must be made of {known}, got {part}")
            chosen[place] = part
        return cls(*chosen)


def _toml(value: Any) -> str:
    if isinstance(value, Range):
        log = ", log = true" if value.log else ""
        return f"{{ low = {value.low}, high = {value.high}{log} }}"
    return json.dumps(value)


def _section(header: str, values: dict[str, Any]) -> str:
    return "\n".join([header, *(f"{name} = {_toml(value)}" for name, value in values.items())]) + "\n"


def panel_study(data: Path, limit: int = len(CONFIGURATIONS), epochs: int = PANEL_EPOCHS) -> str:
    """The panel as a study file: a space that contains the configurations, which are its start.

    The file's own split is a stratified one of the same 60,000 rows into the same 48,000 and 12,000.
    """
    space = race_space() | {"schedule": "constant", "epochs": epochs}
    starts = [_section("[[start]]", values | {"epochs": epochs}) for values in CONFIGURATIONS[:limit]]
    return "\n".join(
        [
            _section("[study]", {"name": "panel", "seed": 0, "trials": limit}),
            _section("[data]", {"source": str(data / "mnist.npz"), "validation_fraction": 0.2}),
            _section("[space]", space),
            _section("[search]", {"sampler": "random", "pruner": "none"}),
            *starts,
        ]
    )


def cold_study(seed: int, seconds: float) -> str:
    """A study file on the space of the default study, without its starts."""
    return "\n".join(
        [
            "start = []\n",
            _section("[study]", {"name": "race", "seed": seed, "timeout_s": seconds}),
            _section("[data]", {"source": "mnist"}),
            _section("[space]", {"preset": "strong"}),
        ]
    )


def variant_study(variant: Variant, seed: int, seconds: float) -> str:
    """A study file for one variant on the race's space."""
    fixed = {} if variant.schedule == "searched" else {"schedule": variant.schedule}
    starts = default_spec("digits", preset="classic").start if variant.start == "start" else ()
    start = [_section("[[start]]", asdict(known) | fixed) for known in starts]
    return "\n".join(
        [
            _section("[study]", {"name": "race", "seed": seed, "timeout_s": seconds}),
            _section("[data]", {"source": "mnist", "validation_fraction": 0.2}),
            _section("[space]", race_space() | fixed),
            _section("[search]", {"sampler": variant.sampler, "pruner": variant.pruner}),
            *start,
        ]
    )


def run(home: Path, data: Path, limit_s: float, *arguments: str) -> harness.Outcome:
    """Runs ``mlp-search run ... --json`` with this home."""
    command = [*harness.COMMAND, "run", *arguments, "--json"]
    return harness.run(command, home, limit_s, MLP_SEARCH_HOME=str(home), MLP_SEARCH_DATA=str(data))


def summary(outcome: harness.Outcome) -> dict[str, Any]:
    """The output of ``run --json``."""
    return json.loads((outcome.home / "stdout.txt").read_text())


def trial_rows(outcome: harness.Outcome, study: str) -> list[dict[str, Any]]:
    """The output of ``trials STUDY --json`` for the home of a finished run."""
    home = outcome.home / "trials"
    home.mkdir(exist_ok=True)
    command = [*harness.COMMAND, "trials", study, "--json"]
    listing = harness.run(command, home, 120, MLP_SEARCH_HOME=str(outcome.home))
    return json.loads((listing.home / "stdout.txt").read_text())


def finished_trials(outcome: harness.Outcome, study: str) -> dict[int, tuple[float, float]]:
    """The end of each trial in Optuna, and its best value: number -> (seconds after the start, value)."""
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{outcome.home / 'optuna.db'}")
    finished = {}
    for trial in optuna.load_study(study_name=study, storage=storage).trials:
        values = [*trial.intermediate_values.values(), *([] if trial.value is None else [trial.value])]
        # A failed trial may have reported epochs, but no model of it was kept.
        kept = trial.state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        if kept and values and trial.datetime_complete is not None:
            finished[trial.number] = (trial.datetime_complete.timestamp() - outcome.started, max(values))
    return finished


def epoch_values(outcome: harness.Outcome, study: str) -> list[tuple[float, float]]:
    """(seconds after the start, validation accuracy) of every epoch, as MLflow has them; a peer's count likewise."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{outcome.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(study)
    runs = client.search_runs([experiment.experiment_id], max_results=5000) if experiment else []
    points = [point for run in runs for point in client.get_metric_history(run.info.run_id, "val_accuracy")]
    return [(point.timestamp / 1000 - outcome.started, point.value) for point in points]


def startup_s(outcome: harness.Outcome, study: str) -> float:
    """Seconds until the first trial began to train.

    A trial began ``duration_s`` before it was told to Optuna.
    """
    durations = {row["number"]: row["duration_s"] for row in trial_rows(outcome, study)}
    ends = finished_trials(outcome, study)
    return min(end - durations[number] for number, (end, _value) in ends.items())
