"""Promotion: the winner passes the gate, is registered, and the alias moves to it as the last step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from pipelines.errors import InputError, NotFoundError, SpecError, UnavailableError
from pipelines.evaluation import ALPHA
from search.finals.ensemble import ask_for_ensemble
from search.finals.readings import authorship, reading_of
from search.finals.sealed_test import read_confusion
from search.finals.tested_models import models_tested_on, number_of
from search.finals.winner import find_winner
from search.home.addresses import is_sqlite
from search.home.html import HtmlResult
from search.home.settings import Settings, read_settings
from search.optimization.studies import load_own_study
from search.registry import CHAMPION
from search.registry.gate import LOSS_AS, GateVerdict, pass_gate
from search.registry.registration import keep_predictions, lineage, register, renew_card
from search.registry.versions import COMPLETE, STATE, Versions, is_tested, model_lock, tagged
from search.spec.rules import NAME_RULE, is_name
from search.storage.attributes import GATE
from search.tracking.connection import connect, mlflow_errors, open_home

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class Promotion(HtmlResult):
    """The result of a promotion.

    Attributes:
        model: The registered model.
        promoted: Whether the alias points at the study's winner now.
        reason: The gate's, in a sentence.
        version: The winner's version; None if it was refused.
        test_accuracy: Of the winner; None if it was not evaluated.
        champion_accuracy: Of the champion it was compared with; None if there was none.
        p_value: Of the gate's test; None if nothing was tested.
        majority: Share of the test rows' most frequent class; None if unknown.
        alpha: The significance level of all challengers on the same rows together.
        level: The winner's share of it; None if nothing was tested.
        ordinal: 7 for the 7th model tested on these rows; None if it was not evaluated.
        smallest_difference: Of two accuracies, that the test could show; None if nothing was tested, and for other
            metrics.
        objective: The validation metric that the study ranked by.
        value: That metric on the test rows; None if the winner was not evaluated.
        interval: Its 95% interval; None if unknown.
        champion_value: The same of the champion; None if there was none, or if it is unknown.
        baseline: The same of a model that knows no inputs; None if unknown.
        test: The name of the gate's test; None if nothing was tested.
        baselines: Every metric of the constant prediction and of a linear model on the test rows; none if unknown.
    """

    model: str
    promoted: bool
    reason: str
    version: int | None
    test_accuracy: float | None
    champion_accuracy: float | None
    p_value: float | None
    majority: float | None = None
    alpha: float = ALPHA
    level: float | None = None
    ordinal: int | None = None
    smallest_difference: float | None = None
    objective: str = "val_accuracy"
    value: float | None = None
    interval: tuple[float, float] | None = None
    champion_value: float | None = None
    baseline: float | None = None
    test: str | None = None
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)


def promote(
    name: str,
    *,
    model: str | None = None,
    alias: str = CHAMPION,
    alpha: float = ALPHA,
    force: str | None = None,
    ensemble: bool = False,
    home: Path | None = None,
) -> Promotion:
    """Takes a study's winner through the gate, registers it and moves the alias to it.

    Called again for the same winner it makes no second version. After a crash the alias is where it was or where it
    is to be, and the next call completes the promotion.

    Args:
        name: The study.
        model: The registered model's name; the study's by default.
        alias: The alias that moves.
        alpha: The gate's significance level, of all challengers on the same test rows together.
        force: Why a refusal of the gate is overruled; it is recorded.
        ensemble: Whether the winner's networks of all seeds as one model stand for the study from now on; the model is
            made if it is missing.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Returns:
        The gate's decision; a refusal is not an error.

    Raises:
        NotFoundError: There is no such study, no trial of it is complete, or an ensemble needs finalists first.
        SpecError, InputError: An option breaks a rule, or a file was changed since.
        UnavailableError: A database, the tracking server or the registry cannot be used.
    """
    if not 0 < alpha < 1:
        raise SpecError(f"--alpha: must be above 0 and below 1, got {alpha:g}")
    if force is not None and not force.strip():
        raise SpecError("--force: must give the reason, got an empty text")
    _require_names(name if model is None else model, alias)
    if ensemble:
        ask_for_ensemble(name, home)
    settings = read_settings(home)
    study = load_own_study(settings, name)
    open_home(settings)
    with mlflow_errors(f"model {model or name!r}"):
        versions = Versions(connect(settings), model or name, alias)
        with model_lock(settings, model or name):
            return _Promotion(settings, study, versions, alpha, force).run()


def _require_names(model: str, alias: str) -> None:
    """Refuses what MLflow would refuse only when the version is registered, and models that ``predict`` cannot name."""
    problems = []
    if not is_name(model) or set(model) & {":", "@"}:
        problems.append(f'--model: {NAME_RULE}, and without ":" and "@", got {model!r}: choose another --model NAME')
    if not re.fullmatch(r"(?!(latest|v?\d+)$)[\w-]{1,255}", alias, re.IGNORECASE):
        rule = 'must be letters, digits, "_" and "-", and neither latest nor a version such as 1 or v1'
        problems.append(f"--alias: {rule}, got {alias!r}: choose another")
    if problems:
        raise SpecError(problems)


_DECIDED = ("reason", "p_value", "level", "alpha", "test", "smallest_difference", "champion_accuracy", "champion_value")
"""The keys of a decision that come from the comparison with the version before."""


class _Promotion:
    """One promotion; the caller holds the model's lock."""

    def __init__(
        self, settings: Settings, study: optuna.Study, versions: Versions, alpha: float, force: str | None
    ) -> None:
        self._settings = settings
        self._study = study
        self._versions = versions
        self._alpha = alpha
        self._force = force
        self._winner = find_winner(study)
        self._name = f"study {study.study_name}'s {self._winner.run_name}"
        self._tags = tags = lineage(versions.client, study, self._winner)
        rows = tags.get("test_rows", ""), tags["fingerprint"]
        self._models = models_tested_on(versions.client, *rows) if is_tested(tags) else []

    def run(self) -> Promotion:
        versions, winner = self._versions, self._winner
        self._delete_unfinished()
        champion, version = versions.champion(), versions.of_run(winner.run_id)
        if champion and version and champion.version == version.version:
            self._complete(champion.version)
            verdict = GateVerdict(True, f"{self._name} is {versions.alias} already")
            return self._record(verdict, champion, champion.version, again=True)
        verdict = asked = self._ask_gate(champion)
        if not asked.passed and self._force is not None:
            verdict = replace(asked, passed=True, reason=f"forced ({self._force}), though {asked.reason}")
        if not verdict.passed:
            return self._record(verdict, champion, None)
        author = authorship()
        tags = {"gate": verdict.reason, "promoted_at": author["at"], "promoted_by": author["by"]}
        tags["p_value"] = "" if verdict.p_value is None else f"{verdict.p_value:.6g}"
        if not asked.passed:
            tags["gate.forced"] = str(self._force)
        if version:
            number = str(version.version)
            if asked.passed and "gate.forced" in version.tags:
                versions.client.delete_model_version_tag(versions.name, number, "gate.forced")
            versions.tag(number, tags)
            self._renew_card(number)
        else:
            number = register(self._settings, versions, self._study, winner, self._tags | tags)
        self._move_alias(champion, number)
        self._complete(number)
        return self._record(verdict, champion, number)

    def _delete_unfinished(self) -> None:
        """Deletes versions of other winners whose promotion was cut off.

        The lock excludes promotions of this home alone: in a registry on a server, one may be running elsewhere.
        """
        if is_sqlite(self._settings.registry_uri) and self._versions.model():
            for version in self._versions.unfinished(aliased=False):
                if version.run_id != self._winner.run_id:
                    self._versions.client.delete_model_version(version.name, version.version)

    def _ask_gate(self, champion: ModelVersion | None) -> GateVerdict:
        """The gate's decision."""
        versions, current = self._versions, None
        challenger = versions.reading(self._tags, self._winner.run_id, self._name)
        if champion:
            name = f"{versions.alias} version {champion.version}"
            current = versions.reading(champion.tags, champion.run_id, name, champion)
        if challenger.right is not None and self._metric == "accuracy":
            challenger = replace(challenger, confusion=read_confusion(versions.client, self._winner.run_id))
        others = [run_id for run_id in self._models if not champion or run_id != champion.run_id]
        return pass_gate(challenger, current, self._alpha, number_of(self._winner.run_id, others), self._metric)

    @property
    def _metric(self) -> str:
        """The metric that the gate compares."""
        winner = self._winner
        if winner.objective.metric == "loss" and "test_rmse" in self._tags:
            return LOSS_AS[winner.candidate.hyperparameters.loss or "mse"]
        return winner.objective.metric

    def _move_alias(self, champion: ModelVersion | None, version: str) -> None:
        versions = self._versions
        history, current = versions.history(), versions.champion()
        if current and (champion is None or current.version != champion.version):
            raise UnavailableError(
                f"model {versions.name!r}: another program moved {versions.alias} meanwhile: try again"
            )
        versions.point(version, history)

    def _complete(self, version: str) -> None:
        """Marks a promotion as complete, and adds the figures of a held-out test that was read after it."""
        versions = self._versions
        tags = versions.client.get_model_version(versions.name, version).tags
        if is_tested(self._tags) and not is_tested(tags):
            versions.tag(version, self._tags | keep_predictions(versions.client, self._winner.run_id))
            self._renew_card(version)
        if tags.get(STATE) != COMPLETE:
            versions.tag(version, {STATE: COMPLETE})

    def _renew_card(self, version: str) -> None:
        """Describes a version by the tags that it has now."""
        with suppress(InputError, NotFoundError):  # its data was moved or changed: the card stays as it was
            renew_card(self._settings, self._versions, self._study, self._winner, version)

    def _record(
        self, verdict: GateVerdict, champion: ModelVersion | None, version: str | None, *, again: bool = False
    ) -> Promotion:
        """Records the gate's decision with the study, for the report, and on the winner's run.

        Args:
            verdict: The gate's.
            champion: The version before.
            version: The one that the alias points at now; None after a refusal.
            again: Whether the gate was not asked, since the alias pointed at it already.
        """
        tags, metric = self._tags, self._winner.objective.metric
        test = reading_of(self._study, self._winner.model_sha256) if is_tested(tags) else None
        champion_tags = champion.tags if champion else {}
        promotion = Promotion(
            model=self._versions.name,
            promoted=version is not None,
            reason=verdict.reason,
            version=int(version) if version else None,
            test_accuracy=tagged(tags, "test_accuracy"),
            champion_accuracy=tagged(champion_tags, "test_accuracy"),
            p_value=verdict.p_value,
            majority=tagged(tags, "test_majority"),
            alpha=self._alpha,
            level=verdict.level,
            ordinal=number_of(self._winner.run_id, self._models) if self._models else None,
            smallest_difference=verdict.smallest_difference,
            objective=self._winner.objective.name,
            value=tagged(tags, f"test_{metric}"),
            interval=tuple(test["interval"]) if test else None,
            champion_value=tagged(champion_tags, f"test_{metric}"),
            baseline=tagged(tags, "test_baseline"),
            test=verdict.test,
            baselines=test.get("baselines", {}) if test else {},
        )
        self._keep(promotion, champion_tags if again else None)
        return promotion

    def _keep(self, promotion: Promotion, again: Mapping[str, str] | None) -> None:
        """Records the decision with the study, and of a refusal the promotion before it, and with the run.

        Args:
            promotion: The decision.
            again: The tags of the version that the alias pointed at already; None where the gate was asked.
        """
        before = self._study.user_attrs.get(GATE, {})
        last = before if before.get("promoted") else before.get("last_promoted")
        decision = asdict(promotion) | {"alias": self._versions.alias} | authorship()
        decision["last_promoted"] = None if promotion.promoted else last
        if again is not None and last and all(last.get(key) == decision[key] for key in ("model", "alias", "version")):
            decision |= {key: last[key] for key in _DECIDED if key in last}  # what passed the gate then
        elif again and "gate" in again:  # a promotion that was cut off before this record
            decision |= {"reason": again["gate"], "p_value": tagged(again, "p_value")}
        self._study.set_user_attr(GATE, decision)
        self._versions.client.set_tag(self._winner.run_id, "gate", decision["reason"][:500])
