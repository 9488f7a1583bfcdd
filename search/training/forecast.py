"""Forecasts the time and memory of a study from a few short trainings, and records nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset
from pipelines.resources import count_cores
from search.devices.memory import require_fit
from search.devices.precision import PrecisionRule, have_bfloat16, settle, slow_note
from search.devices.slots import Slot
from search.devices.work import Shape
from search.home.html import HtmlResult
from search.home.settings import Settings, read_settings
from search.home.text import counted
from search.optimization.starts import settle_starts
from search.optimization.studies import is_begun, load_study, precision_rule, study_names
from search.scheduling.progress import Observer
from search.scheduling.run_study import read_data
from search.spec.reading import require_spec
from search.spec.study_spec import StudySpec
from search.training.earlier import slowness
from search.training.probes import Probes, train_probes
from search.training.simulation import Timetable, middle_of, n_trials, simulate
from search.workers import Outcome
from search.workers.local_pool import warm_up
from search.workers.start import local_slots

_REPETITIONS = 9
_FASTER, _SLOWER = 0.65, 1.25
"""Bounds of the real times of a machine and of large networks, as multiples of those of short trainings."""
_AROUND, _AROUND_S = 0.05, 10.0
"""Around the timeout: a share of it, and the most seconds."""
_TRACKING_S = 3.0
"""Processor time of importing MLflow and creating its database, while the first trials train."""


@dataclass(frozen=True, slots=True)
class Forecast(HtmlResult):
    """The time and memory that a study needs on this machine.

    The range comes from simulations of the study, from what a machine's speed varies by, and from how long earlier
    studies of the home took on this machine.

    Attributes:
        configurations_per_hour: Rate of all slots together, with pruning.
        unpruned_per_hour: The same without pruning.
        forecast_s: Duration of the whole budget in seconds, start-up included: the middle of the range.
        forecast_low_s: The low end of the range.
        forecast_high_s: The high end of the range.
        trials_low: The fewest trials that the study is expected to begin.
        trials_high: The most trials that it is expected to begin.
        memory_mb: Upper limit for the searching process and all slots, in MB; they share some memory.
        slots: Number of trials that train at the same time.
        devices: Device of each slot.
        notes: Remarks on the dataset and the processor.
        folds: Networks that each trial trains, one for each fold; 1 with one split.
        precision: The rule of the precision of matrix products: ``float32``, ``bfloat16`` or ``by_size``.
        bfloat16_share: Share of the configurations that would train in bfloat16.
        spec: The study with what its data, its folds and its record decide, such as its space.
    """

    configurations_per_hour: float
    unpruned_per_hour: float
    forecast_s: float
    forecast_low_s: float
    forecast_high_s: float
    trials_low: int
    trials_high: int
    memory_mb: int
    slots: int
    devices: tuple[str, ...]
    notes: tuple[str, ...] = ()
    folds: int = 1
    precision: PrecisionRule = "float32"
    bfloat16_share: float = 0.0
    spec: StudySpec | None = field(default=None, repr=False)


def plan_study(spec: StudySpec, *, home: Path | None = None) -> Forecast:
    """Forecasts a study from short trainings of a few configurations of its space.

    Args:
        spec: The study, from ``read_spec`` or ``default_spec``.
        home: Folder in which datasets and earlier studies are looked up; nothing in it is written.

    Raises:
        DataError: The dataset cannot be used.
        InputError: A name was given instead of a specification.
        SpecError: The study has the name of MLflow's own experiment.
        TrainingError: A configuration of the space cannot be trained here.
        UnavailableError: The sampler needs a package that is not installed.
    """
    started = time.monotonic()
    require_spec(spec)
    settings = read_settings(home)
    spec, dataset = read_data(spec, settings, warm_up, Observer())
    remarks: list[str] = []
    spec = settle_starts(settings, spec, dataset, remarks.append)
    slots = local_slots(spec, dataset, settings, remarks.append)
    require_fit(spec.space.largest_network(), dataset, slots)
    rule = _precision_rule(spec, settings, slots)
    simulations = [simulate(spec, repetition) for repetition in range(_REPETITIONS)]
    probes = train_probes(spec, [hp for trials in simulations for hp, _ in trials], dataset, slots, rule)
    startup_s = time.monotonic() - started - sum(outcome.duration_s for outcome in probes.outcomes) / len(slots)
    startup_s = max(0.0, startup_s) + _TRACKING_S / count_cores()
    factors = slowness(settings, [slot.device for slot in slots], probes.cost, startup_s, dataset.n_folds)
    forecast = _forecast(spec, simulations, probes, dataset, slots, startup_s, factors)
    shape = Shape.of(dataset, rule)
    in_bfloat16 = [shape.precision(hp) == "bfloat16" for trials in simulations for hp, _ in trials]
    notes = (*forecast.notes, *remarks, *slow_note(rule, lambda: have_bfloat16(slots)))
    n_trials_before = load_study(settings, spec.name).n_trials if is_begun(settings, spec.name) else 0
    if n_trials_before:
        notes += (f"study {spec.name} has {counted(n_trials_before, 'trial')}: the forecast is of its whole budget",)
    if spec.budget == "auto":
        notes += ('the forecast is that of trials alone; budget = "auto" keeps a part of it for new seeds of the best',)
    share = round(statistics.fmean(in_bfloat16), 3)
    return replace(forecast, notes=notes, precision=rule, bfloat16_share=share, spec=spec)


def _precision_rule(spec: StudySpec, settings: Settings, slots: Sequence[Slot]) -> PrecisionRule:
    """The rule that a study would have here: its own, where it was started before."""
    asked = spec.workers.precision
    if asked in (None, "auto") and spec.name in study_names(settings):
        return precision_rule(load_study(settings, spec.name).user_attrs)
    return settle(asked, slots, lambda: have_bfloat16(slots))


def _forecast(
    spec: StudySpec,
    simulations: Sequence[Sequence[tuple[Hyperparameters, int]]],
    probes: Probes,
    dataset: Dataset,
    slots: Sequence[Slot],
    startup_s: float,
    factors: Sequence[float],
) -> Forecast:
    """Applies the cost of the probes to the simulated trials."""
    shape, cost = Shape.of(dataset, probes.precision_rule), probes.cost
    durations_s = [[cost.trial_s(*trial, shape) for trial in trials] for trials in simulations]
    tables = [Timetable.of(trials_s, len(slots)) for trials_s in durations_s]
    epoch_s = statistics.fmean(cost.trial_s(hp, 1, shape) for trials in simulations for hp, _ in trials) - cost.once_s
    seconds, trials, factor = _limits(spec, tables, startup_s, factors, epoch_s)
    full_s = statistics.fmean(cost.trial_s(hp, hp.epochs, shape) for trials in simulations for hp, _ in trials)
    trial_s = statistics.fmean(duration_s for trials_s in durations_s for duration_s in trials_s)
    return Forecast(
        configurations_per_hour=round(3600 * len(slots) / trial_s / factor, 1),
        unpruned_per_hour=round(3600 * len(slots) / full_s / factor, 1),
        forecast_s=round(seconds[1], 1),
        forecast_low_s=round(seconds[0], 1),
        forecast_high_s=round(seconds[2], 1),
        trials_low=trials[0],
        trials_high=trials[2],
        memory_mb=_memory_mb(probes.outcomes, dataset.n_bytes - probes.n_bytes, len(slots)),
        slots=len(slots),
        devices=tuple(slot.device for slot in slots),
        notes=dataset.notes,
        folds=dataset.n_folds,
    )


def _limits(
    spec: StudySpec, tables: Sequence[Timetable], startup_s: float, factors: Sequence[float], epoch_s: float = 0.0
) -> tuple[list[float], list[int], float]:
    """The time at which a study reaches its first limit, and the number of trials.

    Args:
        spec: The study.
        tables: Of at least three simulations.
        startup_s: Seconds before the first trial begins.
        factors: By how much earlier studies took longer than forecast; empty where there are none.
        epoch_s: Mean time of an epoch: none begins that would end after the timeout.

    Returns:
        Seconds, and numbers of trials, each as low, middle, high; and the factor of the middle.
    """
    factor = statistics.median(factors or [1.0])
    scales = (min([_FASTER * factor, *factors]), factor, max([_SLOWER * factor, *factors]))
    ends_s = middle_of([table.until(n_trials(spec)) for table in tables])
    seconds = [scale * (startup_s + end_s) for scale, end_s in zip(scales, ends_s, strict=True)]
    trials: list[int] = []
    if (limit_s := spec.timeout_s) is not None:
        # Slots that are slower begin fewer trials, hence the reversed order.
        left_s = [limit_s / scale - startup_s for scale in reversed(scales)]
        begun = [middle_of([table.begun(time_s) for table in tables])[i] for i, time_s in enumerate(left_s)]
        trials = [int(min(n, n_trials(spec))) for n in begun]
        # The last epochs end before the timeout, and MLflow gets the last runs after it.
        around_s = min(_AROUND_S, max(2.0, limit_s * _AROUND))
        ends = (max(0.0, limit_s - max(around_s, factor * epoch_s)), limit_s, limit_s + around_s)
        seconds = [min(pair) for pair in zip(seconds, ends, strict=True)]
    return seconds, trials if spec.timeout_s else [int(n_trials(spec))] * 3, factor


def _memory_mb(outcomes: Sequence[Outcome], more_bytes: int, n_slots: int) -> int:
    """Memory of this process and the probes, plus the rows that the probes did not have."""
    own = psutil.Process().memory_info().rss
    return ((own + more_bytes) >> 20) + n_slots * max(outcome.memory_mb for outcome in outcomes)
