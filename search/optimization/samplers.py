"""Optuna's samplers as a study asks for them, seeded for each trial."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from operator import attrgetter

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import UnavailableError
from search.optimization.seeds import draw_seed
from search.spec import StudySpec
from search.spec.space import SearchSpace
from search.storage import StoredStudy
from search.storage.attributes import ENQUEUED, GRID_POINT, LIKED

ATTEMPTS = 20
"""Draws before a finite space is searched for a configuration without a trial; in others a repeat is accepted then."""
RECENT = 500
"""Number of the last trials that TPE looks at; of earlier ones it sees the best."""
_BEST = 25  # as many as TPE draws from, at most
_MANY_STEPS = 64


def make_sampler(spec: StudySpec, seed: int) -> BaseSampler:
    """One of Optuna's samplers.

    Raises:
        UnavailableError: The sampler needs a package that is not installed.
    """
    if spec.sampler == "gp" and find_spec("torch") is None:
        raise UnavailableError("search.sampler: gp needs PyTorch, which is not installed: pip install 'mlp-search[gp]'")
    return {
        "tpe": lambda: TPESampler(seed=seed),
        "random": lambda: RandomSampler(seed=seed),
        # The grid is shuffled by the seed: all trials of a study must go through one order.
        "grid": lambda: GridSampler(spec.space.grid(), seed=spec.seed),
        "gp": lambda: GPSampler(seed=seed),
        "cmaes": lambda: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    }[spec.sampler]()


class TrialSampler(BaseSampler):
    """Draws each trial's configuration with a sampler whose seed follows from the trial's number.

    A trial's configuration depends on the study's seed, its number and the trials that it may learn from: an
    interrupted study continues as if it had not been interrupted, and several searching processes never draw with the
    same random numbers. The study's ``[[start]]`` configurations come first; a configuration that a trial has already
    is drawn again, and where no draw is new, a finite space is searched from the last one on. The random draws before
    TPE has learned stay near the configurations of the earlier studies that a study is ``like``.

    Args:
        spec: The study.
        study: The whole study; Hyperband shows its samplers only a part.
        past: The trials that a sampler may learn from; None for all.

    Attributes:
        repeated: Numbers of trials that got the configuration of another trial: an infinite space had no new draw, or
            a finite space is exhausted.
    """

    def __init__(
        self, spec: StudySpec, study: StoredStudy, past: Callable[[], list[FrozenTrial]] | None = None
    ) -> None:
        self._spec = spec
        self._study = study
        self._past = past
        self._distributions = spec.space.distributions()
        liked = spec.start[: study.user_attrs.get(LIKED)] if spec.like and spec.sampler == "tpe" else ()
        self._at_random = spec.space.near(liked) if liked else self._distributions
        self._widened = {name: _widened(distribution) for name, distribution in self._distributions.items()}
        self._tried: set[tuple[object, ...]] = set()
        self._n_known = 0
        self.repeated: set[int] = set()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All searched dimensions: they are known before the first trial."""
        return self._distributions

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """The grid sampler reserves its point here."""
        is_given = self._spec.is_start(trial.number) or ENQUEUED in trial.system_attrs
        if not is_given and not self._is_drawn(trial):
            self._inner(trial, 0).before_trial(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, object]:
        """The whole configuration of a trial."""
        # Other processes of a shared database may have drawn since the last look, too.
        trials = self._study.get_trials(deepcopy=False)
        space = self._spec.space
        self._tried |= _keys(space, (t for t in trials[self._n_known :] if t.number != trial.number))
        self._n_known = len(trials)
        if self._is_drawn(trial):  # it is trained again
            return self._drawn_before(trial)
        if ENQUEUED in trial.system_attrs:
            enqueued: dict[str, object] = trial.system_attrs[ENQUEUED]
            self._tried.add(space.key(enqueued))
            return enqueued
        for params in self._candidates(study, trial):
            if space.key(params) not in self._tried:
                self._tried.add(space.key(params))
                return params
        self.repeated.add(trial.number)
        return params

    def _is_drawn(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() >= self._distributions.keys() and bool(self._distributions)

    def _drawn_before(self, trial: FrozenTrial) -> dict[str, object]:
        """The configuration of a trial that is trained again."""
        key = self._spec.space.key(trial.params)
        earlier = (t for t in self._study.get_trials(deepcopy=False) if t.number < trial.number)
        if key in _keys(self._spec.space, earlier):
            self.repeated.add(trial.number)
        self._tried.add(key)
        return dict(trial.params)

    def _candidates(self, study: optuna.Study, trial: FrozenTrial) -> Iterator[dict[str, object]]:
        """Configurations, of which the first new one is taken; the last one where none is new."""
        space = self._spec.space
        if self._spec.is_start(trial.number):
            yield space.params(self._spec.start[trial.number])
        n_points = space.size() if self._spec.sampler == "grid" else None
        for attempt in range(n_points or ATTEMPTS):
            params = self._draw(study, trial, attempt)
            yield params
        if space.size():
            yield from space.following(params)

    def _draw(self, study: optuna.Study, trial: FrozenTrial, attempt: int) -> dict[str, object]:
        inner = self._inner(trial, attempt)
        if isinstance(inner, GridSampler):  # it always returns the point that before_trial reserved
            trial = copy.copy(self._study.trial(trial.number))
            point = (trial.system_attrs.get(GRID_POINT, 0) + attempt) % (self._spec.space.size() or 1)
            trial.system_attrs = {**trial.system_attrs, GRID_POINT: point}
        study = self._as_of_start(study)
        if isinstance(inner, TPESampler):  # given the space, it need not infer it from every trial
            space = self._widened if self._n_known > RECENT else self._distributions
            trials = self._study.get_trials(deepcopy=False) if self._past is None else self._past()
            drawn = inner.sample_relative(_window(self._study, trials), trial, space)
            params = {name: _rounded(value, self._distributions[name]) for name, value in drawn.items()}
        else:
            params = dict(inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial)))
        for name, distribution in self._at_random.items():
            if name not in params:
                params[name] = inner.sample_independent(study, trial, name, distribution)
        return params

    def _as_of_start(self, study: optuna.Study) -> optuna.Study:
        """The study that Optuna gave, with the trials that the sampler may learn from."""
        if self._past is None:
            return study
        shown = {trial.number for trial in study.get_trials(deepcopy=False)}
        return self._study.view([trial for trial in self._past() if trial.number in shown])

    def _inner(self, trial: FrozenTrial, attempt: int) -> BaseSampler:
        return make_sampler(self._spec, draw_seed(self._spec.seed, trial.number, attempt))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> object:
        """A random value; Optuna asks for it only for a trial of another program."""
        sampler = RandomSampler(draw_seed(self._spec.seed, trial.number))
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def is_exhausted(study: optuna.Study, space: SearchSpace) -> bool:
    """Whether every configuration of the space has a trial, and no trial waits to be trained again."""
    size, trials = space.size(), study.get_trials(deepcopy=False)
    if size is None or len(trials) < size or any(trial.state == TrialState.WAITING for trial in trials):
        return False
    return len(_keys(space, trials)) >= size


def exhausted_note(spec: StudySpec) -> str:
    """The line for a study that ends because of ``is_exhausted``."""
    return (
        f"study {spec.name} has tried all {spec.space.size()} configurations of its space; to search further, start"
        " another study with a larger space"
    )


def _keys(space: SearchSpace, trials: Iterable[FrozenTrial]) -> set[tuple[object, ...]]:
    """Keys of the trials' configurations; another program may have added trials that have none yet."""
    return {space.key(trial.params) for trial in trials if trial.params.keys() >= space.searched.keys()}


def duplicate_of(trials: Iterable[FrozenTrial], space: SearchSpace, params: Mapping[str, object]) -> FrozenTrial | None:
    """The first finished one of some trials with the same searched values; None where there is none."""
    key = space.key(params)
    finished = (trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED))
    return next((trial for trial in finished if key in _keys(space, [trial])), None)


def _widened(distribution: BaseDistribution) -> BaseDistribution:
    """A long range of integers as a range of floats: TPE computes the density of each step by itself, in Python."""
    if not isinstance(distribution, IntDistribution):
        return distribution
    low, high, step = distribution.low, distribution.high, distribution.step
    if (high - low) / step < _MANY_STEPS:
        return distribution
    return FloatDistribution(low - step / 2, high + step / 2, log=distribution.log)


def _rounded(value: object, distribution: BaseDistribution) -> object:
    """The value of a distribution that is nearest to a value of its ``widened`` form."""
    if not isinstance(distribution, IntDistribution):
        return value
    steps = round((value - distribution.low) / distribution.step)
    return min(max(distribution.low + steps * distribution.step, distribution.low), distribution.high)


def _window(study: StoredStudy, trials: list[FrozenTrial]) -> optuna.Study:
    """The part of a long study that TPE looks at: its last trials, and the best of all, from which it draws.

    TPE writes what it has drawn to the trial before that is recorded; here this is dropped, so that other processes
    see a trial no sooner than it has its configuration.
    """
    older = [trial for trial in trials[:-RECENT] if trial.state == TrialState.COMPLETE]
    select = heapq.nlargest if study.direction == StudyDirection.MAXIMIZE else heapq.nsmallest
    best = select(_BEST, older, key=attrgetter("value"))
    return study.view(sorted(best, key=attrgetter("number")) + trials[-RECENT:], keeps_writes=False)
