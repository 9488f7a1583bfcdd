"""The versions of one registered model: who is champion, who was before, and the files of each."""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, NotFoundError, UnavailableError
from search.finals.sealed_test import read_right
from search.home.settings import Settings, study_slug
from search.home.text import one_line
from search.registry.gate import Reading
from search.registry.packaging import ARTIFACTS

STATE, PENDING, COMPLETE = "promotion.state", "pending", "complete"
MADE_BY = {"made_by": "mlp-search"}
"""Tag of a registered model that a promotion made: an empty one without it is somebody else's."""
_MAX_HISTORY = 1000


@contextmanager
def registry_errors(name: str) -> Iterator[None]:
    """Tells what MLflow's registry raises in one line.

    Raises:
        InputError: A name or an alias that it does not take.
        UnavailableError: Anything else.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InputError(f"model {name!r}: {one_line(error)}") from error
        raise UnavailableError(f"model {name!r}: MLflow's registry: {one_line(error)}") from error


@contextmanager
def model_lock(settings: Settings, name: str) -> Iterator[None]:
    """Lets one process of this home at a time change a model; the others wait."""
    with (settings.locks / f"model-{study_slug(name)}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def every(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """What one of the client's searches finds, beyond the first page of its answer."""
    token = None
    while True:
        page = search(*arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


class Versions:
    """One registered model and one of its aliases.

    The alias is the truth. Its history, a tag of the model, is the list of the versions it has pointed at, without
    those that were rolled back; where a crash left the two apart, the history is made to agree.

    Args:
        client: MLflow's.
        name: The model's name.
        alias: The alias.
    """

    def __init__(self, client: Any, name: str, alias: str) -> None:
        self.client, self.name, self.alias = client, name, alias

    @property
    def _history_tag(self) -> str:
        return f"history.{self.alias}"

    def exists(self) -> bool:
        """Whether the model is registered."""
        return self._model() is not None

    def _model(self) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def champion(self) -> Any | None:
        """The version that the alias points at."""
        model = self._model()
        version = model and model.aliases.get(self.alias)
        return self.client.get_model_version(self.name, version) if version else None

    def aliases(self) -> list[str]:
        """The aliases that the model has."""
        model = self._model()
        return sorted(model.aliases) if model else []

    def all(self) -> list[Any]:
        """Every version, the newest first."""
        quoted = self.name.replace("'", "''")
        found = self.client.search_model_versions(f"name='{quoted}'")
        return sorted(found, key=lambda version: -int(version.version))

    def of_run(self, run_id: str) -> Any | None:
        """The version of a run's model."""
        return next((version for version in self.all() if version.run_id == run_id), None)

    def cut_off(self, *, pointed: bool) -> list[Any]:
        """The versions of promotions that did not come to their end; with the model's lock in hand none will.

        Args:
            pointed: Whether those that an alias points at, or those that none does.
        """
        model = self._model()  # what a search finds does not know its aliases
        aliased = {str(version) for version in model.aliases.values()} if model else set()
        found = [version for version in self.all() if version.tags.get(STATE) == PENDING]
        return [version for version in found if (str(version.version) in aliased) == pointed]

    def noted(self) -> list[str]:
        """The history as its tag has it."""
        model = self._model()
        return [str(version) for version in json.loads(model.tags.get(self._history_tag, "[]"))] if model else []

    def history(self) -> list[str]:
        """The versions that the alias has pointed at, the current one last."""
        model = self._model()
        if model is None or (current := model.aliases.get(self.alias)) is None:
            return []
        current, noted = str(current), self.noted()
        if current in noted:
            return noted[: len(noted) - noted[::-1].index(current)]
        return [*noted, current]

    def point(self, version: str, history: Sequence[str]) -> None:
        """Moves the alias forward, the history first: the move is the last step of a promotion."""
        self.note([*history, version])
        self.client.set_registered_model_alias(self.name, self.alias, version)

    def back(self) -> tuple[str, str]:
        """Moves the alias to the version before; returns that one and the one that it left.

        Raises:
            NotFoundError: There is no version before, or it was deleted.
        """
        history = self.history()
        there = {str(version.version) for version in self.all()}
        before = [version for version in history[:-1] if version in there]
        if not before:
            what = f"version {history[-1]} is the first" if history else "no version has been"
            raise NotFoundError(f"model {self.name!r}: {what} that {self.alias} points at; there is none before")
        self.client.set_registered_model_alias(self.name, self.alias, before[-1])
        self.note(before)
        return before[-1], history[-1]

    def note(self, history: Sequence[str]) -> None:
        """Writes the history's tag."""
        self.client.set_registered_model_tag(self.name, self._history_tag, json.dumps(list(history[-_MAX_HISTORY:])))

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, key, value)

    def reading(self, version: Any) -> Reading:
        """What the sealed test showed of a version."""
        tags, name = version.tags, f"{self.alias} version {version.version}"
        accuracy = float(tags["test_accuracy"]) if tags.get("test_accuracy") else None
        right = None if accuracy is None else read_right(self.client, version.run_id)
        return Reading(tags.get("fingerprint", ""), accuracy, right, name)

    def file(self, version: Any, name: str) -> bytes:
        """One of the files that a version was promoted with.

        Raises:
            UnavailableError: It cannot be fetched.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        source = self.client.get_model_version_download_uri(self.name, version.version)
        with tempfile.TemporaryDirectory() as folder:
            try:
                uri = f"{source}/{ARTIFACTS}/{name}"
                path = download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=self.client.tracking_uri)
                return Path(path).read_bytes()
            except (MlflowException, OSError) as error:
                raise UnavailableError(
                    f"model {self.name!r} version {version.version}: {name} cannot be read ({one_line(error)})"
                ) from error
