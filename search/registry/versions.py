"""The versions of one registered model: its champion, the champions before, and the files of each version."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipelines.errors import NotFoundError
from pipelines.evaluation.predictions import Predictions
from search.finals.sealed_test import PREDICTIONS_FILE, read_predictions, read_right
from search.home.locks import open_lock
from search.home.settings import Settings, study_slug
from search.registry.gate import Reading
from search.tracking.history import read_artifact, versions_with

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

STATE, PENDING, COMPLETE = "promotion.state", "pending", "complete"
"""Tag of a version and its values: it is pending until the alias points at it and all its tags are set."""
MADE_BY = {"made_by": "mlp-search"}
"""Tag of a registered model that a promotion made: an empty model without it is another program's."""
RECORD_FILE = "record.json"
"""The file that is kept beside the model file of a version."""
KEPT = "test_predictions"
"""Tag of a version that has the predictions of the held-out test as one of its files."""
ARTIFACTS = "artifacts"
"""The folder of an MLflow model that holds both files."""
_MAX_HISTORY = 1000


@contextmanager
def model_lock(settings: Settings, name: str) -> Iterator[None]:
    """Lets one process of this home at a time change a model; the others wait."""
    with open_lock(settings.locks / f"model-{study_slug(name)}.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_tested(tags: Mapping[str, str]) -> bool:
    """Whether a version that has, or is to have, these tags was evaluated on the held-out test."""
    return bool(tags.get("test_accuracy") or tags.get("test_value"))


def tagged(tags: Mapping[str, str], key: str) -> float | None:
    """A figure of the held-out test by a version's tags; None if they do not have it, or another program's text."""
    with suppress(ValueError):
        return float(tags[key]) if tags.get(key) else None
    return None


class Versions:
    """One registered model and one of its aliases.

    The alias is the truth. Its history, a tag of the model, lists the versions it has pointed at, without those that
    were rolled back; if a crash made the two disagree, the history is corrected.

    Args:
        client: MLflow's client.
        name: The model's name.
        alias: The alias.
    """

    def __init__(self, client: MlflowClient, name: str, alias: str) -> None:
        self.client = client
        self.name = name
        self.alias = alias
        self._history_tag = f"history.{alias}"

    def model(self) -> RegisteredModel | None:
        """The registered model; None if there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def aliases(self) -> dict[str, str]:
        """The version that each alias of the model points at."""
        model = self.model()
        return {alias: str(version) for alias, version in model.aliases.items()} if model else {}

    def champion(self) -> ModelVersion | None:
        """The version that the alias points at."""
        version = self.aliases().get(self.alias)
        return self.client.get_model_version(self.name, version) if version else None

    def all(self) -> list[ModelVersion]:
        """Every version, the newest first."""
        return sorted(versions_with(self.client, "name", self.name), key=lambda version: -int(version.version))

    def numbered(self, number: str) -> ModelVersion:
        """The version of a number.

        Raises:
            NotFoundError: There is none.
        """
        found = {str(version.version): version for version in self.all()}
        if number not in found:
            there = ", ".join(found) or "none: promote a study first"
            raise NotFoundError(f"model {self.name!r}: must have the version {number!r}; there is {there}")
        return found[number]

    def of_run(self, run_id: str) -> ModelVersion | None:
        """The version of a run's model."""
        return next((version for version in self.all() if version.run_id == run_id), None)

    def unfinished(self, *, aliased: bool) -> list[ModelVersion]:
        """The versions of promotions that were cut off; the caller holds the model's lock, so that none is running.

        Args:
            aliased: Whether to return those that an alias points at, or those that none does.
        """
        targets = set(self.aliases().values())  # the results of a search lack their aliases
        pending = [version for version in self.all() if version.tags.get(STATE) == PENDING]
        return [version for version in pending if (str(version.version) in targets) == aliased]

    def recorded_history(self) -> list[str]:
        """The history as its tag has it; none where the tag was changed in MLflow to what is no list."""
        try:
            found = json.loads(self._history_text())
        except ValueError:
            return []
        return list(map(str, found)) if isinstance(found, list) else []

    def has_history(self) -> bool:
        """Whether there is a history, readable or not."""
        return self._history_text() not in ("", "[]")

    def _history_text(self) -> str:
        model = self.model()
        return str(model.tags.get(self._history_tag, "")) if model else ""

    def history(self) -> list[str]:
        """The versions that the alias has pointed at, the current one last; it may have been deleted since."""
        current, recorded = self.aliases().get(self.alias), self.recorded_history()
        if current is None:
            return recorded
        if current in recorded:
            return recorded[: len(recorded) - recorded[::-1].index(current)]
        return [*recorded, current]

    def point(self, version: str, history: Sequence[str]) -> None:
        """Moves the alias forward; the history is written first, since the move completes a promotion."""
        self.record_history([*history, version])
        self.client.set_registered_model_alias(self.name, self.alias, version)

    def back(self) -> tuple[str, str | None]:
        """Moves the alias to the version before; returns that version and the one that the alias left.

        An alias whose version was deleted points at none: it leaves None.

        Raises:
            NotFoundError: There is no version before, or it was deleted.
        """
        current, history = self.aliases().get(self.alias), self.history()
        existing = {str(version.version) for version in self.all()}
        before = [version for version in (history[:-1] if current else history) if version in existing]
        while before and before[-1] == current:  # it pointed at the same version twice in a row
            before.pop()
        if not before:
            what = f"version {current} is the first" if current else "no version is there"
            rest = "; there is none before" if len(set(history)) < 2 else "; those before were deleted"
            raise NotFoundError(f"model {self.name!r}: {what} that {self.alias} points at{rest}: promote a study")
        self.client.set_registered_model_alias(self.name, self.alias, before[-1])
        self.record_history(before)
        return before[-1], current

    def record_history(self, history: Sequence[str]) -> None:
        """Writes the history's tag."""
        self.client.set_registered_model_tag(self.name, self._history_tag, json.dumps(list(history[-_MAX_HISTORY:])))

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)

    def reading(self, tags: Mapping[str, str], run_id: str, name: str, version: ModelVersion | None = None) -> Reading:
        """The result of a model on the held-out test.

        Args:
            tags: Those that its version has, or is to have.
            run_id: The run that trained it.
            name: The model's name in a reason.
            version: Its version, which may have the predictions too; None before it is registered.
        """
        fingerprint, test_rows = tags.get("fingerprint", ""), tags.get("test_rows", "")
        if not is_tested(tags):
            return Reading(name, fingerprint, None, test_rows=test_rows)
        place = f"{PREDICTIONS_FILE} of {name}"
        if version and tags.get(KEPT):
            content: bytes | None = self.file(version, PREDICTIONS_FILE)
        else:
            content = read_predictions(self.client, run_id)
        kept = Predictions.from_npz(content, place) if content else None
        right = None
        if kept is None:
            right = read_right(self.client, run_id)
        elif not kept.is_regression:
            right = kept.right
        return Reading(name, fingerprint, right, test_rows=test_rows, predictions=kept)

    def file(self, version: ModelVersion, name: str) -> bytes:
        """One of the files that a version was promoted with.

        Raises:
            UnavailableError: It cannot be read.
        """
        uri = f"{self.client.get_model_version_download_uri(self.name, version.version)}/{ARTIFACTS}/{name}"
        return read_artifact(self.client, uri, f"{name} of model {self.name!r} version {version.version}")
