"""The provenance of a training: the dataset, the machine and the commit, as MLflow and the report show them."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from pipelines.data.datasets import Dataset
from pipelines.data.targets import majority_share
from pipelines.objectives import OBJECTIVES
from search.home.settings import Settings
from search.home.text import redact
from search.optimization.baselines import Baselines
from search.optimization.run_records import run_ids_of_trials
from search.optimization.studies.loading import is_begun, load_study
from search.spec import StudySpec
from search.tracking.connection import connect, mlflow_errors
from search.tracking.experiment_view import plain, view_tags
from search.tracking.history import find_experiment
from search.tracking.runs import DatasetInput, Runs
from search.workers import Pool


def open_runs(settings: Settings, spec: StudySpec, dataset: Dataset) -> Runs:
    """Opens the runs of a study's experiment; a study begins where there is a server once this has returned.

    Raises:
        SpecError: The study is new, and an experiment of its name has runs of another home or program. In a home's own
            database they are what is left of a study there.
        UnavailableError: The tracking server cannot be reached or refuses the experiment.
    """
    searched = ", ".join(spec.space.distributions()) or "nothing, every dimension is fixed"
    kind = "a regression" if dataset.task == "regression" else f"{dataset.n_outputs} classes"
    rows = f"{len(dataset.training.y)} training and {len(dataset.validation.y)} validation rows"
    if dataset.n_folds > 1:
        rows = f"{dataset.n_scored} rows in {dataset.n_folds} folds, whose means rank the trials"
    description = (
        f"Search over {searched} for an MLP on **{plain(dataset.name)}**: {rows},"
        f" {kind}; the test rows are held out."
        f" Sampler {spec.sampler}, pruner {spec.pruner}, seed {spec.seed}."
    )
    source = dataset_input(dataset, spec.data.source)
    axes = tuple(spec.space.searched)
    params = (*axes, *(name for name in spec.space.dimensions if name not in axes))
    views = view_tags(OBJECTIVES[spec.metric], params, axes)
    is_new = not is_begun(settings, spec.name)
    if not is_new:
        _restore_name(settings, spec.name)
    return Runs(settings, spec.name, description, source, views, is_new=is_new and not settings.has_own_tracking)


def _restore_name(settings: Settings, study: str) -> None:
    """Gives the experiment of a study its name again; see ``find_experiment``."""
    with mlflow_errors(f"MLflow at {redact(settings.tracking_uri)}"):
        client = connect(settings)
        if client.get_experiment_by_name(study):
            return
        if found := find_experiment(client, study, run_ids_of_trials(load_study(settings, study))):
            client.rename_experiment(found.experiment_id, study)


def dataset_input(dataset: Dataset, source: str) -> DatasetInput:
    """The dataset as MLflow shows it."""
    profile = {"training_rows": len(dataset.training.y), "validation_rows": len(dataset.validation.y)}
    profile |= {"folds": dataset.n_folds} if dataset.n_folds > 1 else {}
    preprocessing = json.dumps(dataset.preprocessing.to_json(), indent=1)
    return DatasetInput(dataset.name, dataset.fingerprint, source, profile, preprocessing)


def facts(dataset: Dataset, pool: Pool, baselines: Baselines) -> dict[str, object]:
    """Facts for the report: the study's data, and the machine that searched it last.

    Args:
        dataset: The data.
        pool: The pool that trains its trials.
        baselines: Their scores on the validation rows; none where they are not known yet.
    """
    return {
        "dataset": {
            "name": dataset.name,
            "training_rows": len(dataset.training.y),
            "validation_rows": len(dataset.validation.y),
            "folds": dataset.n_folds,
            "features": dataset.training.x[0].size,
            "task": dataset.task,
            "classes": len(dataset.class_names),
            "majority": majority_of(dataset),
            "notes": list(dataset.notes),
            **({"baselines": {name: dict(scores) for name, scores in baselines.items()}} if baselines else {}),
        },
        "machine": machine([slot.device for slot in pool.slots]),
        "git_commit": git_commit(),
    }


def machine(devices: Sequence[str]) -> dict[str, object]:
    """Facts on this machine, and the device of each slot."""
    return {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total >> 20,
        "devices": list(devices),
    }


def majority_of(dataset: Dataset) -> float | None:
    """Accuracy of always predicting the validation rows' most frequent class; None in a regression.

    With folds it is the mean over them, as the values beside it are.
    """
    rows = dataset.scored
    if dataset.task == "regression":
        return None
    if dataset.fold_of is None:
        return majority_share(rows.y, rows.weight)
    weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight
    is_right = rows.y == np.bincount(rows.y, weight).argmax()
    folds = (dataset.fold_of == number for number in range(dataset.n_folds))
    return float(np.mean([np.average(is_right[fold], weights=weight[fold]) for fold in folds]))


def run_tags(dataset: Dataset) -> dict[str, str]:
    """Tags of every run: the dataset and the commit."""
    tags = {"dataset.fingerprint": dataset.fingerprint, "mlflow.source.name": "mlp-search"}
    commit = git_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


@functools.cache
def git_commit() -> str:
    """The commit of this package's checkout; "" where it was installed from a wheel or git is missing."""
    # Installed in an environment inside another project, this package must not find that project's repository.
    command = ["git", f"--git-dir={Path(__file__).parents[2] / '.git'}", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
