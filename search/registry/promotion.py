"""Promotion: a winner goes through the gate, is registered, and the alias moves to it as the last step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna

from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError, UnavailableError
from search.finals.sealed_test import latest_reading, now, read_right, user
from search.finals.winner import fetch_model, find_winner, seal_opened
from search.home.addresses import is_sqlite
from search.home.settings import Settings, read_settings
from search.optimization.studies import load_own_study, study_data
from search.registry.gate import ALPHA, GateVerdict, Reading, pass_gate
from search.registry.models import CHAMPION
from search.registry.packaging import example_rows, model_card, pack
from search.registry.versions import COMPLETE, MADE_BY, PENDING, STATE, Versions, model_lock, registry_errors
from search.storage.attributes import FINGERPRINT
from search.tracking.home import open_home
from search.tracking.runs import connect

GATE = "gate"
"""Attribute of a study: what the gate said last."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What came of a promotion.

    Attributes:
        model: The registered model.
        promoted: Whether the alias points at the study's winner now.
        reason: The gate's, in a sentence.
        version: The winner's version; None where it was refused.
        test_accuracy: Of the winner; None where it was not evaluated.
        champion_accuracy: Of the champion that it met; None where there was none.
        p_value: Of McNemar's exact test; None where nothing was tested.
    """

    model: str
    promoted: bool
    reason: str
    version: int | None
    test_accuracy: float | None
    champion_accuracy: float | None
    p_value: float | None


def promote(
    name: str,
    *,
    model: str | None = None,
    alias: str = CHAMPION,
    alpha: float = ALPHA,
    force: str | None = None,
    home: Path | None = None,
) -> Promotion:
    """Takes a study's winner through the gate, registers it and moves the alias to it.

    Called again for the same winner it makes no other version. A crash on the way leaves the alias where it was or
    where it shall be, and the next call finishes.

    Args:
        name: The study.
        model: The registered model's name; the study's where it is not given.
        alias: The alias that moves.
        alpha: The gate's significance level.
        force: Why the gate is passed over; it is recorded.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.

    Returns:
        The gate's verdict; a refusal is no error.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        SpecError, InputError: An option breaks a rule, or a file was changed since.
        UnavailableError: A database, the tracking server or the registry cannot be used.
    """
    if not 0 < alpha < 1:
        raise SpecError(f"--alpha: must be above 0 and below 1, got {alpha:g}")
    if force is not None and not force.strip():
        raise SpecError("--force: must give the reason, got an empty text")
    settings = read_settings(home)
    study = load_own_study(settings, name)
    open_home(settings)
    with registry_errors(model or name):
        promotion = _Promotion(settings, study, model or name, alias, alpha, force)
        with model_lock(settings, model or name):
            return promotion.run()


class _Promotion:
    """One promotion, with the model's lock in hand."""

    def __init__(
        self, settings: Settings, study: optuna.Study, model: str, alias: str, alpha: float, force: str | None
    ) -> None:
        self._settings, self._study, self._alpha, self._force = settings, study, alpha, force
        self._client = connect(settings)
        self._versions = Versions(self._client, model, alias)

    def run(self) -> Promotion:
        self._winner = find_winner(self._study)
        self._reading = self._find_reading()
        versions = self._versions
        self._clear()
        champion, existing = versions.champion(), versions.of_run(self._winner.run_id)
        if champion and existing and champion.version == existing.version:
            self._complete(existing.version)
            reason = f"{self._name} is {versions.alias} already"
            accuracy = existing.tags.get("test_accuracy")
            return self._said(GateVerdict(True, reason, float(accuracy) if accuracy else None), int(existing.version))
        verdict = self._ask_gate(champion)
        if not verdict.passed and self._force is None:
            return self._said(verdict, None)
        version = str(existing.version) if existing else self._register(verdict)
        if existing:
            self._versions.tag(version, self._gate_tags(verdict))
        history = versions.history()
        if (now := versions.champion()) and (champion is None or now.version != champion.version):
            raise UnavailableError(
                f"model {versions.name!r}: another program moved {versions.alias} meanwhile: try again"
            )
        versions.point(version, history)
        self._complete(version)
        return self._said(verdict, int(version))

    @property
    def _name(self) -> str:
        return f"study {self._study.study_name}'s {self._winner.run_name}"

    def _find_reading(self) -> dict[str, Any] | None:
        """The last reading of the sealed test, where it was for this very model."""
        reading = latest_reading(self._study)
        return reading if reading and reading["model_sha256"] == self._winner.model_sha256 else None

    def _ask_gate(self, champion: Any | None) -> GateVerdict:
        challenger = Reading(
            fingerprint=str(self._study.user_attrs[FINGERPRINT]),
            accuracy=float(self._reading["test_accuracy"]) if self._reading else None,
            right=read_right(self._client, self._winner.run_id) if self._reading else None,
            name=self._name,
        )
        return pass_gate(challenger, self._versions.reading(champion) if champion else None, self._alpha)

    def _clear(self) -> None:
        """Takes away what a promotion of another winner left half-made; the lock says that none is under way.

        On a registry that other machines use too, it may be under way there.
        """
        if is_sqlite(self._settings.registry_uri) and self._versions.exists():
            for version in self._versions.cut_off(pointed=False):
                if version.run_id != self._winner.run_id:
                    self._client.delete_model_version(version.name, version.version)

    def _register(self, verdict: GateVerdict) -> str:
        """Makes the version, whole at once, and still without the alias."""
        from mlflow.exceptions import MlflowException

        winner, name = self._winner, self._versions.name
        spec, dataset = study_data(self._study, self._settings)
        tags = self._tags() | self._gate_tags(verdict) | {STATE: PENDING}
        card = model_card(tags, dataset, spec.data.source, asdict(winner.hyperparameters))
        content = fetch_model(self._client, self._settings, self._study.study_name, winner)
        logged = self._log_model(content, dataset, example_rows(spec.data, dataset))
        if not self._versions.exists():
            with suppress(MlflowException):  # another machine was faster; else the next line says what is wrong
                self._client.create_registered_model(name, MADE_BY)
        version = self._client.create_model_version(
            name, logged.artifact_location, winner.run_id, tags, description=card, model_id=logged.model_id
        )
        return str(version.version)

    def _log_model(self, content: bytes, dataset: Dataset, example: Any) -> Any:
        """The winner as a logged model of its run; one that is whole already is taken again, others are cleared."""
        from mlflow.models import Model

        client, winner = self._client, self._winner
        experiment = client.get_run(winner.run_id).info.experiment_id
        query = f"tags.run_id = '{winner.run_id}'"
        for left in client.search_logged_models([experiment], query):
            if str(left.status) == "READY":
                return left
            client.delete_logged_model(left.model_id)
        tags = {"study": self._study.study_name, "run_id": winner.run_id, "model_sha256": winner.model_sha256}
        logged = client.create_logged_model(experiment, winner.run_name, winner.run_id, tags)
        with TemporaryDirectory() as folder:
            target = Path(folder, "model")
            pack(target, content, dataset, example, Model(model_id=logged.model_id, run_id=winner.run_id))
            client.log_model_artifacts(logged.model_id, str(target))
        return client.finalize_logged_model(logged.model_id, "READY")

    def _tags(self) -> dict[str, str]:
        """The lineage of the winner."""
        winner, attributes = self._winner, self._study.user_attrs
        run_tags = self._client.get_run(winner.run_id).data.tags
        tags = {
            "study": self._study.study_name,
            "trial": str(winner.trial),
            "role": winner.role,
            "run_id": winner.run_id,
            "seed": str(winner.seed),
            "seeds": ", ".join(map(str, winner.seeds)),
            "fingerprint": str(attributes[FINGERPRINT]),
            "git_commit": run_tags.get("mlflow.source.git.commit", ""),
            "model_sha256": winner.model_sha256,
            "val_accuracy": f"{winner.val_accuracy:.6f}",
            "seal_opened": str(seal_opened(attributes)),
        }
        if self._reading:
            low, high = self._reading["interval"]
            tags |= {"test_accuracy": repr(self._reading["test_accuracy"]), "test_interval": f"{low:.4f} to {high:.4f}"}
            tags["test_loss"] = repr(self._reading["test_loss"])
        return tags

    def _gate_tags(self, verdict: GateVerdict) -> dict[str, str]:
        """What the gate said, and who passed it."""
        tags = {"gate": self._reason(verdict), "promoted_at": now(), "promoted_by": user()}
        tags["p_value"] = "" if verdict.p_value is None else f"{verdict.p_value:.6g}"
        return tags | ({} if self._force is None else {"gate.forced": self._force})

    def _reason(self, verdict: GateVerdict) -> str:
        if verdict.passed or self._force is None:
            return verdict.reason
        return f"forced ({self._force}), though {verdict.reason}"

    def _complete(self, version: str) -> None:
        """The last step; a second time it changes nothing, except that a test that was read since is noted."""
        tags = self._client.get_model_version(self._versions.name, version).tags
        if self._reading and not tags.get("test_accuracy"):
            self._versions.tag(version, self._tags())
        if tags.get(STATE) != COMPLETE:
            self._versions.tag(version, {STATE: COMPLETE})

    def _said(self, verdict: GateVerdict, version: int | None) -> Promotion:
        """Records what the gate said with the study, which a report shows, and on the winner's run."""
        accuracy = float(self._reading["test_accuracy"]) if self._reading else None
        said = (self._reason(verdict), version, accuracy, verdict.champion_accuracy, verdict.p_value)
        promotion = Promotion(self._versions.name, version is not None, *said)
        record = asdict(promotion) | {"alias": self._versions.alias, "at": now(), "by": user()}
        self._study.set_user_attr(GATE, record)
        self._client.set_tag(self._winner.run_id, "gate", promotion.reason[:500])
        return promotion
