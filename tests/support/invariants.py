"""The invariants of a study, checked through Optuna, ``MlflowClient`` and the files, without ``search``."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow import MlflowClient
from mlflow.entities import Run

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass
class Study:
    """A study as Optuna, MLflow and the disk show it.

    Attributes:
        name: Its name.
        home: The home of the search.
        storage: Address of Optuna's database.
        tracking: Address of MLflow's.
        checked: Number of checks of each kind, for the summary.
        seen: The results of finished trials when they were first read.
    """

    name: str
    home: Path
    storage: str
    tracking: str
    checked: Counter[str] = field(default_factory=Counter)
    seen: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        if self.name not in optuna.get_all_study_names(self.storage):
            return []
        return optuna.load_study(study_name=self.name, storage=self.storage).trials

    def attributes(self) -> dict[str, Any]:
        return dict(optuna.load_study(study_name=self.name, storage=self.storage).user_attrs)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.tracking)

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(self.name)
        return list(self.client.search_runs([experiment.experiment_id], max_results=5000)) if experiment else []

    def spooled(self) -> list[Path]:
        """Every file in the spool."""
        return [path for path in (self.home / "spool").rglob("*") if path.is_file()]

    def expect(self, what: str, holds: bool, details: object = "") -> None:
        self.checked[what] += 1
        assert holds, f"{self.name}: not {what}: {details}"

    def after_a_kill(self, budget: int) -> None:
        """Checks what holds at any moment: the budget, and that no finished trial is lost or changed."""
        trials = self.trials() if (self.home / "optuna.db").exists() or "sqlite" not in self.storage else []
        self.expect("within the budget", len(trials) <= budget, len(trials))
        finished = [trial for trial in trials if trial.state.name in FINISHED]
        for trial in finished:
            self.expect("finished once for all", self.seen.setdefault(trial.number, facts(trial)) == facts(trial))
        self.expect("nothing unfinished again", len(self.seen) == len(finished), sorted(self.seen))
        kept = set(self._kept_models()) if finished else set()
        for trial in finished:
            digest = trial.user_attrs["result"].get("model_sha256")
            self.expect("model in MLflow or spool", not digest or (trial.number, digest) in kept, trial.number)

    def _kept_models(self) -> Iterator[tuple[int, str]]:
        """(trial, sha256) of the models that the spool or a run holds."""
        for path in self.spooled():
            if path.name == "entry.json" and path.parent.suffix != ".tmp":
                number, model = json.loads(path.read_text())["number"], path.with_name("model.h5")
                if number is not None and model.exists():
                    yield number, hashlib.sha256(model.read_bytes()).hexdigest()
        for run in self.runs():
            if run.info.run_name.startswith("trial-") and (digest := self.model_digest(run)):
                yield int(run.data.tags["trial"]), digest

    def model_digest(self, run: Run) -> str | None:
        """The sha256 of a run's ``model.h5`` as MLflow serves it."""
        if "model.h5" not in [file.path for file in self.client.list_artifacts(run.info.run_id)]:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = self.client.download_artifacts(run.info.run_id, "model.h5", folder)
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def at_the_end(self, budget: int) -> None:
        """Checks everything: the budget, both databases, every metric history and every file."""
        self.after_a_kill(budget)
        trials, runs = self.trials(), self.runs()
        self.expect("exact budget", [trial.number for trial in trials] == list(range(budget)), len(trials))
        states = Counter(trial.state.name for trial in trials)
        self.expect("nothing RUNNING or WAITING in Optuna", not set(states) - set(FINISHED), states)
        self.expect("no trial failed", not states["FAIL"], states)
        statuses = Counter(run.info.status for run in runs)
        self.expect("nothing RUNNING in MLflow", not statuses["RUNNING"], statuses)
        by_name = {run.info.run_name: run for run in runs}
        self.expect("one run a name", len(by_name) == len(runs), sorted(run.info.run_name for run in runs))
        of_trials = sorted(name for name in by_name if name.startswith("trial-"))
        self.expect("one run a trial", of_trials == [f"trial-{number:04d}" for number in range(budget)], of_trials)
        late = self.attributes()
        for trial in trials:
            run, run_id = by_name[f"trial-{trial.number:04d}"], trial.user_attrs.get("run_id")
            known = late.get(f"run_id:{trial.number}") or run_id
            self.expect("trial knows its run", known == run.info.run_id, (trial.number, known, run.info.run_id))
            self.agree(trial, run)
        for run in runs:
            self.whole(run)
        self.expect("spool empty", not self.spooled(), self.spooled())

    def agree(self, trial: optuna.trial.FrozenTrial, run: Run) -> None:
        """Checks that a trial and its run agree."""
        tags, result = run.data.tags, trial.user_attrs["result"]
        self.expect("same state", tags.get("trial.state") == trial.state.name, (trial.number, tags))
        self.expect("same digest", tags.get("model_sha256") == result["model_sha256"], trial.number)
        searched = {name: str(value) for name, value in trial.params.items()}
        self.expect("same configuration", searched.items() <= run.data.params.items(), trial.number)
        steps = len(self.client.get_metric_history(run.info.run_id, "loss"))
        self.expect("same number of epochs", steps == result["epochs_trained"], (trial.number, steps, result))
        if trial.state.name == "COMPLETE":
            best = max(p.value for p in self.client.get_metric_history(run.info.run_id, "val_accuracy"))
            self.expect("same value", best == trial.value == run.data.metrics["best_val_accuracy"], trial.number)

    def whole(self, run: Run) -> None:
        """Checks that a run has ended with its whole history and the file that its tag names."""
        name, tags = run.info.run_name, run.data.tags
        self.expect("run ended", run.info.status == "FINISHED", (name, run.info.status))
        for metric in CURVES if "refit" not in name else CURVES[:2]:
            steps = sorted(point.step for point in self.client.get_metric_history(run.info.run_id, metric))
            self.expect("history without gap or repetition", steps == list(range(1, len(steps) + 1)), (name, steps))
            self.expect("history not empty", bool(steps), name)
        self.expect("model.h5 is the recorded one", self.model_digest(run) == tags.get("model_sha256"), name)

    def champion(self) -> None:
        """Checks that there is one version, that the alias points at it, and that it has the model of its run."""
        versions = self.client.search_model_versions(f"name = '{self.name}'")
        self.expect("one version", len(versions) == 1, versions)
        champion = self.client.get_model_version_by_alias(self.name, "champion")
        self.expect("alias points at it", champion.version == versions[0].version, champion)
        self.expect("version ready", champion.status == "READY", champion)
        recorded = {run.info.run_id: run.data.tags.get("model_sha256") for run in self.runs()}[champion.run_id]
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(champion.source, dst_path=folder, tracking_uri=self.tracking)
            digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in Path(path).rglob("*.h5")}
        self.expect("champion is its run's model", digests == {recorded}, (digests, recorded))
        self.expect("seal opened once", len(self.attributes()["seal"]) == 1, self.attributes()["seal"])


def facts(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    """The facts of a finished trial that must never change and must agree between two equal studies."""
    result = trial.user_attrs["result"]
    return (trial.number, trial.state.name, trial.values, trial.params, result["params"], result.get("best_epoch"),
            result.get("epochs_trained"), result.get("best_val_accuracy"))  # fmt: skip
