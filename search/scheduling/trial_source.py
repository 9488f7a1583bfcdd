"""Takes trials from Optuna, as many as the budget and the space still have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.config import count_parameters, layer_sizes
from search.devices.slots import Slot
from search.home.settings import Settings
from search.optimization.samplers import TrialSampler, duplicate_of, is_exhausted
from search.optimization.seeds import trial_seed
from search.scheduling.attempts import Attempt
from search.spec.study_spec import StudySpec
from search.storage.advisory_locks import exclusive_access
from search.storage.attributes import PRUNED_AT
from search.storage.stored_study import StoredStudy
from search.tracking.entries import RunStart, now_ms
from search.tracking.run_names import trial_run_name


class TrialSource:
    """The trials that may still begin.

    Args:
        spec: The study.
        study: Optuna's study of it; its sampler is set.
        settings: Whether other processes take trials of the study too.
        n_features: Values of one flattened input row.
        n_classes: Classes.
        run_tags: Tags that every run of this search carries.

    Attributes:
        is_exhausted: Whether each configuration that there is has a trial.
    """

    def __init__(
        self,
        spec: StudySpec,
        study: StoredStudy,
        settings: Settings,
        n_features: int,
        n_classes: int,
        run_tags: Mapping[str, str],
    ) -> None:
        self._spec, self._study, self._settings, self._run_tags = spec, study, settings, run_tags
        self._n_features, self._n_classes = n_features, n_classes
        self._sampler = TrialSampler(spec, study)
        study.sampler = self._sampler
        self.is_exhausted = False

    def is_over(self) -> bool:
        """Whether no trial may begin any more."""
        return self.is_exhausted or self._left() <= 0

    def _left(self) -> float:
        """What is left of the budget; trials that wait to be trained again are not spent."""
        if self._spec.trials is None:
            return float("inf")
        n_waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        return self._spec.trials - (self._study.n_trials - n_waiting)

    def take(self, slots: Iterable[Slot]) -> list[Attempt]:
        """A trial for each slot, those that wait to be trained again first; fewer where no more is left to take."""
        attempts = []
        with exclusive_access(self._settings, self._study):
            self._study.refresh()
            with self._study.transaction():
                for slot in slots:
                    if self.is_over():
                        break
                    if is_exhausted(self._study, self._spec.space):
                        self.is_exhausted = True
                        break
                    attempts.append(self._take(slot))
        return attempts

    def _take(self, slot: Slot) -> Attempt:
        trial = self._study.ask()
        self.beat([trial])
        hyperparameters = self._spec.space.suggest(trial)
        tags = {"study": self._spec.name, "trial": str(trial.number), "device": slot.device, **self._run_tags}
        params = asdict(hyperparameters) | {
            "seed": trial_seed(self._spec.seed, trial.number),
            "n_parameters": count_parameters(layer_sizes(hyperparameters, self._n_features, self._n_classes)),
        }
        start = RunStart(self._spec.name, trial_run_name(trial.number), now_ms(), params, tags)
        known = self._study.trial(trial.number)
        reported, audited = max(known.intermediate_values, default=0), known.user_attrs.get(PRUNED_AT, 0)
        return Attempt(trial, hyperparameters, start, slot, 1, reported, [], audited)

    def beat(self, trials: Iterable[optuna.Trial]) -> None:
        """Says on a shared database that somebody is at work on these; without a word a trial is nobody's for ever."""
        with self._study.transaction():
            for trial in trials if self._settings.is_shared else ():
                self._study.record_heartbeat(trial.number)

    def duplicate_of(self, attempt: Attempt) -> FrozenTrial | None:
        """A finished trial with the same configuration, where nothing new was found to draw."""
        if attempt.trial.number not in self._sampler.repeated:
            return None
        return duplicate_of(self._study, self._spec.space.params(attempt.hyperparameters))
